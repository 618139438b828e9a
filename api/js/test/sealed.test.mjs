// What a client does that asks for sealing (api/wire/SPEC.md section 9), with a
// server made of sealer.mjs behind the fake socket.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { memoryKeys } from '../src/seal/store.js';
import { message, until, world } from './fake.mjs';
import { kdf, nameHash, nonce, Server } from './sealer.mjs';
import { DAY, id, KEY, moduli, ready, sealing, text, WELCOME, workers } from './sealing.mjs';

test('a handshake, and what is sealed then is handled and acked', async () => {
  const w = await ready();
  const { seal_nonce: ours, ...hello } = w.socket.sent[0];
  assert.deepEqual(hello, { type: 'hello', seal: 'crt', seal_held: [] });
  assert.match(ours, /^[\w-]{22}$/);
  assert.equal(w.socket.binaryType, 'arraybuffer');
  assert.deepEqual(w.shard.members[1].who, nameHash('', 'c1'));
  w.direct(1);
  await w.seen(1);
  assert.deepEqual(w.got.map(({ ack, fail, ...m }) => m), [{
    id: String(id(1)), seq: 1n, ts: Date.UTC(2026, 0, 1) + 1, topic: 't', data: 1, replayed: true, priority: 3, collapseKey: null,
    attachment: null, expires: null, sealed: true,
  }]);
  await w.clock.advance(60);
  assert.deepEqual(w.acks(), [{ type: 'ack', seq: '1' }]);
  const [{ bytes, ...told }] = w.events('sealed');
  assert.deepEqual(told, { place: 1n, cover: false, failed: false, mode: 'direct', group: null });
  assert.equal(bytes.length, 76 + 3 * 64);
  assert.deepEqual(w.client.sealStatus, { generation: 1, opened: 1, covers: 0, decryptFailed: 0 });
});

test('sealed and plain keep their order', async () => {
  const w = await ready();
  const order = [];
  w.client.on('*', (m) => void order.push(String(m.seq)));
  for (const e of ['gap', 'tombstone', 'replay_complete', 'member']) w.client.when(e, () => order.push(e));
  w.direct(1);
  w.tell({ type: 'gap', from: '2', to: '3', reason: 'expired' });
  w.direct(4);
  w.socket.say({ type: 'replay_complete', seq: '4' });
  w.socket.sayBytes(w.sealer.envelope(w.shard, 1, 5n, text(5)));
  w.tell({ type: 'member_joined', group: 'g', client_id: 'x' });
  w.direct(6);
  await w.seen(6);
  await w.clock.advance(60);
  assert.deepEqual(order, ['1', 'gap', '4', 'replay_complete', '5', 'member', '6']);
  assert.deepEqual(w.got.map((m) => m.replayed), [true, true, false, false]);
  assert.equal(w.acks().at(-1).seq, '6');
});

test('covers belong to no place, and are counted', async () => {
  const w = await ready();
  w.socket.sayBytes(w.sealer.direct(w.shard, 0, 9n, text(9)));
  w.direct(1);
  await w.seen(2);
  assert.deepEqual(w.events('sealed').map((e) => [e.place, e.cover]), [[null, true], [1n, false]]);
  assert.equal(w.client.sealStatus.covers, 1);
  assert.deepEqual(w.got.map((m) => m.seq), [1n]);
});

test('a channel: its secret comes sealed, its messages with and without a place', async () => {
  const w = await ready();
  const channel = { channel: 11n, epoch: 1, name: 'room', secret: randomBytes(32) };
  w.socket.sayBytes(w.sealer.rekey(w.shard, 1, channel));
  w.socket.sayBytes(w.sealer.channel(channel, 1n, text(1)));
  w.socket.sayBytes(w.sealer.channel(channel, null, text(2)));
  await w.seen(3);
  assert.deepEqual(w.got.map((m) => [m.seq, m.data]), [[1n, 1], [null, 2]]);
  assert.deepEqual(w.events('sealed').map((e) => [e.mode, e.group]), [['rekey', 'room'], ['channel', null], ['channel', null]]);
});

test('places whose frames do not open are dead letters with the code -1', async () => {
  const w = await ready();
  const broken = (seq) => {
    const b = w.sealer.direct(w.shard, 1, BigInt(seq), text(seq));
    b[100] ^= 1;
    w.socket.sayBytes(b);
  };
  w.direct(1);
  broken(2);
  broken(3);
  w.direct(4);
  await w.seen(4);
  await w.clock.advance(60);
  assert.deepEqual(w.acks().at(-1), { type: 'ack', seq: '4', failed: [{ seq: '2', code: -1 }, { seq: '3', code: -1 }] });
  assert.deepEqual(w.got.map((m) => m.seq), [1n, 4n]);
  assert.deepEqual(w.events('failed').map((e) => [e.seq, e.code, e.message]), [[2n, -1, null], [3n, -1, null]]);
  assert.equal(w.client.sealStatus.decryptFailed, 2);
  broken(5);
  w.socket.say({ type: 'replay_complete', seq: '5' });
  await w.seen(5);
  await w.clock.advance(60);
  assert.deepEqual(w.acks().at(-1), { type: 'ack', seq: '5', failed: [{ seq: '5', code: -1 }] });
  w.direct(7);
  await until(() => w.client.state === 'RECONNECTING');
  assert.deepEqual(w.got.map((m) => m.seq), [1n, 4n], 'a count is used up by the place it explains');
});

test('a frame that opens and holds no message is a dead letter in its place', async () => {
  const w = await ready();
  w.socket.sayBytes(w.sealer.direct(w.shard, 1, 1n, Buffer.of(0xc1)));
  w.direct(2);
  await w.seen(2);
  await w.clock.advance(60);
  assert.deepEqual(w.acks().at(-1), { type: 'ack', seq: '2', failed: [{ seq: '1', code: -1 }] });
});

test('what was seen is not handled again, and acked', async () => {
  const w = await ready();
  w.direct(1);
  w.direct(1);
  w.direct(2);
  await w.seen(3);
  await w.clock.advance(60);
  assert.deepEqual(w.got.map((m) => m.seq), [1n, 2n]);
  assert.equal(w.acks().at(-1).seq, '2');
});

test('another server key than the pinned one ends it, whatever else is allowed', async () => {
  for (const allowPlain of [false, true]) {
    const w = sealing({ allowPlain });
    await w.greet({ seal_key: new Server().public.toString('base64url') });
    assert.equal(w.client.state, 'FAILED');
    assert.match(w.events('state').at(-1).reason, /another identity key/);
    assert.deepEqual(w.socket.sent.map((m) => m.type), ['hello']);
    assert.deepEqual(w.events('welcome'), []);
  }
});

test('a server that does not hold the pinned key ends it', async () => {
  const w = sealing();
  await w.greet();
  await until(() => w.sent('seal_hello').length > 0);
  const hello = Buffer.from(w.sent('seal_hello')[0].data, 'base64url');
  const { welcome } = new Server().answer(hello, { generation: 1, period: 0, shard: 1n, slots: 1, slotBytes: 64, c: moduli[0] });
  w.socket.say({ type: 'seal_welcome', data: welcome.toString('base64url') });
  await until(() => w.client.state === 'FAILED');
  assert.deepEqual(w.sent('seal_confirm'), []);
});

test('a server that does not seal is refused, unless plain is allowed', async () => {
  const none = { seal: undefined, seal_key: undefined, seal_generation: undefined };
  const w = sealing();
  await w.greet(none);
  assert.equal(w.client.state, 'FAILED');
  const p = sealing({ allowPlain: true });
  const s = await p.greet(none);
  s.say(message(1));
  await p.clock.advance(60);
  assert.deepEqual(p.got.map((m) => [m.seq, m.sealed]), [[1n, false]]);
  assert.deepEqual(p.sent('seal_hello'), []);
});

test('what waits sealed opens where the server offers no sealing any more', async () => {
  const a = await ready({ allowPlain: true });
  a.socket.end(1006);
  await a.clock.advance(10_000);
  const s = await a.greet({ seal: undefined, seal_key: undefined, seal_generation: undefined });
  a.direct(1);
  s.say(message(2));
  await a.seen(1);
  await until(() => a.got.length === 2, 'both are handled');
  assert.deepEqual(a.got.map((m) => [m.seq, m.sealed]), [[1n, true], [2n, false]]);
  assert.deepEqual(a.sent('seal_hello'), []);
});

test('a hello that may have come too late is no refusal', async () => {
  const w = sealing();
  await until(() => w.socket?.readyState === 0, 'a socket');
  const { socket } = w;
  socket.accept();
  await w.clock.advance(800);
  socket.say({ ...WELCOME });
  await until(() => w.client.state !== 'CONNECTING', 'the end');
  assert.equal(w.client.state, 'RECONNECTING');
  await w.clock.advance(10_000);
  await w.greet();
  await w.shake();
});

test('binary messages that are no frames are for nobody', async () => {
  const w = await ready();
  w.socket.sayBytes([0x81, 0xa4]);
  w.socket.sayBytes([]);
  w.direct(1);
  await w.seen(1);
  assert.equal(w.client.sealStatus.decryptFailed, 0);
  const plain = world();
  const s = await plain.welcome();
  s.sayBytes(Buffer.from('CB'));
  assert.equal(plain.client.state, 'CONNECTED');
  assert.deepEqual(s.sent, [{ type: 'hello' }]);
});

// Opens what a client of mode aead sent.
function reader(w) {
  let next = 0n;
  return (b) => {
    const f = Buffer.from(b);
    assert.equal(f.readBigUInt64BE(16), next);
    const key = kdf(w.member.up, Buffer.concat([Buffer.from('CRT-BE/1 up'), f.subarray(24, 32), w.member.who, Buffer.from('s')])); // WELCOME's session
    const open = createDecipheriv('aes-256-gcm', key, nonce(next++, 0, 4)).setAAD(Buffer.concat([f.subarray(0, 44), w.member.who]));
    open.setAuthTag(f.subarray(-16));
    return JSON.parse(Buffer.concat([open.update(f.subarray(76, -16)), open.final()]).subarray(1));
  };
}

test('aead: messages come sealed for us alone, and what we send is sealed', async () => {
  const w = await ready({}, { mode: 'aead' });
  const read = reader(w);
  w.socket.sayBytes(w.sealer.down(w.member, 1n, text(1)));
  w.socket.sayBytes(w.sealer.down(w.member, 0n, text(2)));
  await w.seen(2);
  assert.deepEqual(w.got.map((m) => m.seq), [1n, null]);
  await w.clock.advance(60);
  w.client.typing('room');
  w.client.markRead(1n);
  await until(() => w.socket.sent.length === 6);
  const from = 3;
  assert.deepEqual(w.socket.sent.slice(0, from).map((m) => m.type), ['hello', 'seal_hello', 'seal_confirm']);
  assert.deepEqual(w.socket.sent.slice(from).map(read).map((m) => m.type), ['ack', 'typing', 'read']);
});

test('aead: the last ack goes out before the socket is closed', async () => {
  const w = await ready({}, { mode: 'aead' });
  const s = w.socket;
  w.socket.sayBytes(w.sealer.down(w.member, 1n, text(1)));
  await w.seen(1);
  const closed = w.client.close();
  assert.equal(s.closed, null);
  await closed;
  assert.equal(s.closed.code, 1000);
  assert.deepEqual(reader(w)(s.sent.at(-1)), { type: 'ack', seq: '1' });
});

test('aead: with new keys the sender begins anew, right after the confirmation', async () => {
  const w = await ready({}, { mode: 'aead' });
  await w.pass(DAY);
  await w.shake();
  w.client.typing('room');
  await until(() => w.socket.sent.at(-1) instanceof Uint8Array);
  assert.deepEqual(reader(w)(w.socket.sent.at(-1)), { type: 'typing', conversation_id: 'room' });
});

test('aead: what is sent is in clear where sealUp says so', async () => {
  const w = await ready({ sealUp: false }, { mode: 'aead' });
  w.client.typing('room');
  assert.deepEqual(w.sent('typing'), [{ type: 'typing', conversation_id: 'room' }]);
});

test('with a worker: the same, in the same order', async () => {
  const { made, Worker } = workers();
  const w = await ready({}, { Worker });
  assert.deepEqual(made.map((m) => [m.url.endsWith('/seal/entry.js'), m.options.type]), [[true, 'module']]);
  const channel = { channel: 11n, epoch: 1, name: 'room', secret: randomBytes(32) };
  w.direct(1);
  w.socket.sayBytes(w.sealer.rekey(w.shard, 1, channel));
  w.socket.sayBytes(w.sealer.channel(channel, 2n, text(2)));
  w.tell({ type: 'gap', from: '3', to: '3', reason: 'expired' });
  w.direct(4);
  await w.seen(5);
  assert.deepEqual(w.got.map((m) => m.seq), [1n, 2n, 4n]);
  await w.client.close();
  assert.equal(made[0].terminated, true);
});

test('a worker that dies ends the connection, and the next one has another', async () => {
  const { made, Worker } = workers();
  const w = await ready({}, { Worker });
  made[0].onerror({ message: 'out of memory' });
  assert.equal(w.client.state, 'RECONNECTING');
  await w.clock.advance(1000);
  await w.greet();
  w.direct(1);
  await w.seen(1);
  assert.deepEqual(w.got.map((m) => m.seq), [1n]);
  assert.equal(made.length, 2);
});

test('a worker that dies while something is to be sealed: nothing is sent in its place', async () => {
  const { made, Worker } = workers();
  const w = await ready({}, { mode: 'aead', Worker });
  const s = w.socket;
  s.sayBytes(w.sealer.down(w.member, 1n, text(1)));
  await w.seen(1);
  made[0].onerror({ message: 'out of memory' });
  await until(() => s.closed);
  assert.deepEqual(s.sent.map((m) => m.type), ['hello', 'seal_hello', 'seal_confirm']);
  assert.equal(w.client.state, 'RECONNECTING');
});

test('where no worker may be made the page does it', async () => {
  class Forbidden {
    constructor() {
      throw new DOMException('cross-origin', 'SecurityError');
    }
  }
  class Blocked {
    constructor() {
      queueMicrotask(() => this.onerror({}));
    }
    terminate() {}
  }
  for (const Worker of [Forbidden, Blocked]) {
    const w = await ready({}, { Worker });
    w.direct(1);
    await w.seen(1);
    assert.deepEqual(w.got.map((m) => m.seq), [1n]);
  }
});

test('a store that fails is told, and stops nothing', async () => {
  const w = sealing({ sealKeys: 'indexeddb' }); // the fake platform has none
  await w.greet();
  await w.shake();
  w.direct(1);
  await w.seen(1);
  assert.deepEqual(w.got.map((m) => m.seq), [1n]);
});

test('options of sealing that cannot work are refused at once', () => {
  for (const more of [
    { seal: 'rot13', serverKey: KEY }, { seal: 'crt' }, { seal: 'crt', serverKey: 'AA' }, { seal: 'crt', serverKey: `${KEY}=` },
    { seal: 'crt', serverKey: KEY, sealKeys: {} },
  ]) assert.throws(() => world(more, undefined, { start: false }), TypeError);
  world({ seal: 'none' }, undefined, { start: false });
});

test('aead: on keys that are held everything after welcome is sealed', async () => {
  const store = memoryKeys();
  const a = await ready({ sealKeys: store, sealUp: true }, { mode: 'aead' });
  a.socket.end(1006);
  const b = sealing({ sealKeys: store, sealUp: true }, { mode: 'aead' });
  Object.assign(b, { generation: 1, member: a.member });
  b.client.markRead(7n);
  await b.greet();
  await until(() => b.socket.sent.length === 2);
  assert.deepEqual(reader(b)(b.socket.sent[1]), { type: 'read', seq: '7' });
});
