// A client that seals, and the server that it talks to, made of sealer.mjs behind
// the fake socket: for the tests of sealing.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { serve } from '../src/seal/port.js';
import { memoryKeys } from '../src/seal/store.js';
import { until, world } from './fake.mjs';
import { makeC, nameHash, pack, Sealer, Server, Session } from './sealer.mjs';

export const DAY = 24 * 3_600_000;
export const server = new Server();
export const KEY = server.public.toString('base64url');
export const others = [0, 1].map(() => ({ who: randomBytes(32), chain: randomBytes(32), c: makeC() }));
export const moduli = [makeC(), makeC(), makeC()];
export const id = (n) => (BigInt(n) << 22n) | 1n;
export const text = (n, data = n) => pack([id(n), 0, 't', data]);

/** A client, a server that makes handshakes with it, and a sealer for its slot. */
export function sealing(options = {}, { mode = 'crt', url, Worker } = {}) {
  const w = world({ seal: mode, serverKey: KEY, sealKeys: memoryKeys(), ...options }, url, { Worker });
  w.sealer = new Sealer();
  w.got = [];
  w.client.on('*', (m) => void w.got.push(m));
  w.generation = 0;
  /** As welcome, with what the server says of sealing. */
  w.greet = async (more = {}) => {
    await until(() => w.socket?.readyState === 0, 'a socket');
    w.socket.accept();
    w.socket.say({ ...WELCOME, seal: mode, seal_key: KEY, seal_generation: w.generation, ...more });
    await until(() => w.client.state !== 'CONNECTING', 'connected');
    return w.socket;
  };
  w.sent = (type, s = w.socket) => s.sent.filter((m) => m.type === type);
  /** Answers the handshake under way. */
  w.shake = async (more = {}) => {
    const s = w.socket;
    const before = w.sent('seal_confirm').length;
    await until(() => w.sent('seal_hello').length > before, 'seal_hello');
    const hello = Buffer.from(w.sent('seal_hello').at(-1).data, 'base64url');
    w.generation++;
    const c = moduli[w.generation - 1];
    const grant = mode === 'crt' ? { shard: 5n, slot: 1, slots: 3, slotBytes: 64, c } : {};
    const a = server.answer(hello, { generation: w.generation, period: 7, ...grant, ...more });
    w.shard = { shard: 5n, period: 7, members: [others[0], { who: hello.subarray(4, 36), chain: a.chain, c }, others[1]] };
    w.member = { who: hello.subarray(4, 36), chain: a.chain, up: a.up, session: a.session, period: 7 };
    s.say({ type: 'seal_welcome', data: a.welcome.toString('base64url') });
    await until(() => w.sent('seal_confirm').length > before || w.client.state === 'FAILED', 'seal_confirm');
    if (w.client.state === 'FAILED') return;
    assert.equal(w.sent('seal_confirm').at(-1).data, a.confirm.toString('base64url'));
    s.say({ type: 'sealed', generation: w.generation });
    w.session = w.sessionOf(a.session);
    await until(() => w.events('keys').at(-1)?.generation === w.generation, 'keys');
  };
  /** Seals for the connection under that key. */
  w.sessionOf = (key, generation = w.generation) => new Session(w.member.who, generation, key, w.nonce());
  w.nonce = () => Buffer.from(w.sent('hello')[0].seal_nonce, 'base64url');
  w.direct = (seq, n = seq) => w.socket.sayBytes(w.sealer.direct(w.shard, 1, BigInt(seq), text(n)));
  w.tell = (m) => w.socket.sayBytes(w.session.seal(JSON.stringify(m)));
  /** Time goes on, and the server answers the pings. */
  w.pass = async (ms) => {
    for (let left = ms; left > 0; left -= 25_000) {
      await w.clock.advance(Math.min(left, 25_000));
      w.socket.say({ type: 'pong' });
    }
  };
  w.seen = (n) => until(() => w.events('sealed').length >= n, `${n} sealed frames`);
  w.acks = () => w.sent('ack');
  return w;
}

export const WELCOME = { type: 'welcome', client_id: 'c1', session: 's', generation: '1', incarnation: 'aa', cursor: '0', heartbeat: 1, backlog: 0 };

export async function ready(...args) {
  const w = sealing(...args);
  await w.greet();
  await w.shake();
  return w;
}

// A worker that is none: the other side of the port, messages cloned on the way.
export function workers(engine = () => undefined) {
  const made = [];
  class Worker {
    constructor(url, options) {
      Object.assign(this, { url, options, onmessage: null, onerror: null });
      made.push(this);
      this.scope = { postMessage: (m) => this.#to(m, () => this.onmessage) };
      queueMicrotask(() => serve(this.scope, engine()));
    }
    postMessage(m) {
      this.#to(m, () => this.scope.onmessage);
    }
    #to(m, handler) {
      const data = structuredClone(m);
      setImmediate(() => !this.terminated && handler()({ data }));
    }
    terminate() {
      this.terminated = true;
    }
  }
  return { made, Worker };
}
