// What a client does that asks for sealing (api/wire/SPEC.md section 9), with a
// server made of sealer.mjs behind the fake socket.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { memoryCursors } from '../src/cursors.js';
import { memoryKeys } from '../src/seal/store.js';
import { message, settle, until, world } from './fake.mjs';
import { kdf, nameHash, nonce, ratchet, Server, Session } from './sealer.mjs';
import { DAY, id, KEY, moduli, ready, sealing, server, text, WELCOME, workers } from './sealing.mjs';

test('a handshake, and what is sealed then is handled and acked', async () => {
  const w = await ready();
  assert.deepEqual(w.socket.sent[0], { type: 'hello', seal: 'crt', seal_held: [] });
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

test('the keys are kept before the confirmation is sent', async () => {
  const store = memoryKeys();
  let release;
  const put = (...args) => new Promise((r) => (release = r)).then(() => store.put(...args));
  const w = sealing({ sealKeys: { ...store, put } });
  await w.greet();
  const shaken = w.shake();
  await until(() => release);
  await settle();
  assert.deepEqual(w.sent('seal_confirm'), []);
  release();
  await shaken;
  const [record] = store.load('ws://host.test  c1');
  assert.equal(record.generation, 1);
  assert.equal(record.chain.extractable, false);
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

const CLEAR = {
  message: message(2), 'a live message': message(2, { seq: undefined, id: 'live' }), gap: { type: 'gap', from: '2', to: '2', reason: 'expired' },
  tombstone: { type: 'tombstone', id: '1', seq: '1' }, joined: { type: 'member_joined', group: 'g', client_id: 'x' },
  left: { type: 'member_left', group: 'g', client_id: 'x' }, typing: { type: 'typing', conversation_id: 'g', sender_id: 'x' },
};
for (const [name, m] of Object.entries(CLEAR)) {
  test(`in clear where the server seals: ${name} is refused, whatever is allowed elsewhere`, async () => {
    const w = await ready({ allowPlain: true });
    w.direct(1);
    w.socket.say(m);
    await until(() => w.client.state === 'FAILED');
    await settle();
    assert.deepEqual(w.got.map((g) => g.seq), [1n]);
    assert.deepEqual(['gap', 'tombstone', 'member', 'typing'].flatMap((e) => w.events(e)), []);
  });
}

test('what was not stored sealed comes sealed for the connection, under new keys too', async () => {
  const w = await ready();
  w.tell(message(1, { replayed: true }));
  w.tell(message(2, { seq: undefined, id: 'live' }));
  w.tell({ type: 'typing', conversation_id: 'g', sender_id: 'x' });
  await w.seen(3);
  assert.deepEqual(w.got.map((m) => [m.seq, m.sealed, m.replayed]), [[1n, true, true], [null, true, false]]);
  assert.equal(w.events('typing').length, 1);
  assert.deepEqual(w.events('sealed').map((e) => [e.mode, e.place, e.failed]), [['session', 1n, false], ['session', null, false], ['session', null, false]]);
  await w.pass(DAY);
  const before = w.session;
  await until(() => w.sent('seal_hello').length === 2);
  w.socket.sayBytes(before.seal(JSON.stringify(message(2)))); // still under the keys of before
  await w.shake();
  w.tell(message(3));
  await w.seen(5);
  assert.deepEqual(w.got.map((m) => m.seq), [1n, null, 2n, 3n]);
  w.socket.sayBytes(before.seal(JSON.stringify(message(4)))); // they are done with
  await until(() => w.client.state === 'RECONNECTING');
});

for (const [name, bad] of Object.entries({
  'a hole': (w) => (w.session.seal('lost'), w.session.seal(JSON.stringify(message(2)))),
  'a changed bit': (w) => flipped(w.session.seal(JSON.stringify(message(2)))),
  'no message': (w) => w.session.seal('{}'),
  'no content': (w) => w.session.seal('{"type":"pong"}'),
  'another format': (w) => w.session.seal(JSON.stringify(message(2)), 3),
  'keys of another': (w) => new Session(w.member.who, 2, w.member.session).seal(JSON.stringify(message(2))),
})) {
  test(`a session frame that is ${name} ends the connection, not the client`, async () => {
    const store = memoryKeys();
    const w = await ready({ sealKeys: store });
    w.tell(message(1));
    await w.seen(1);
    w.socket.sayBytes(bad(w));
    await until(() => w.client.state === 'RECONNECTING');
    await w.clock.advance(1000);
    await w.greet({ cursor: '1' });
    w.session = new Session(w.member.who, 1, w.member.session); // anew for each connection
    w.tell(message(2));
    await until(() => w.got.length === 2);
    assert.deepEqual(w.got.map((m) => m.seq), [1n, 2n]);
    assert.equal(store.load('ws://host.test  c1')[0].session.extractable, false);
  });
}

const flipped = (b) => (b[b.length - 1] ^= 1, b);

test('keys that were kept without one for sessions are dropped, and new ones made', async () => {
  const store = memoryKeys();
  await ready({ sealKeys: store });
  const key = 'ws://host.test  c1';
  const { session, ...old } = store.load(key)[0];
  store.put(key, 'keys 1', old);
  const w = sealing({ sealKeys: store });
  w.generation = 1;
  await w.greet();
  assert.deepEqual(w.socket.sent[0].seal_held, []);
  await w.shake();
  assert.deepEqual(store.load(key).map((r) => r.generation), [2]);
});

test('after a reload the keys are still there: no handshake, and old frames open', async () => {
  const store = memoryKeys();
  const a = await ready({ sealKeys: store });
  const channel = { channel: 11n, epoch: 1, name: 'room', secret: randomBytes(32) };
  a.socket.sayBytes(a.sealer.rekey(a.shard, 1, channel));
  await a.seen(1);
  a.socket.end(1006);
  const b = sealing({ sealKeys: store });
  Object.assign(b, { generation: 1, shard: a.shard });
  await b.greet();
  assert.deepEqual(b.socket.sent[0], { type: 'hello', seal: 'crt', seal_held: [1] });
  b.direct(1);
  b.socket.sayBytes(b.sealer.channel(channel, 2n, text(2)));
  await b.seen(2);
  assert.deepEqual(b.got.map((m) => m.seq), [1n, 2n]);
  assert.deepEqual(b.sent('seal_hello'), []);
});

for (const m of [message(1), { ...message(1), seq: undefined }, { type: 'tombstone', id: '1', seq: '1' }, { type: 'typing', conversation_id: 'g', sender_id: 'x' }]) {
  for (const allowPlain of [false, true]) {
    test(`in clear before welcome, which may offer sealing: ${m.type} is refused, plain allowed: ${allowPlain}`, async () => {
      const w = sealing({ allowPlain });
      await until(() => w.socket?.readyState === 0);
      w.socket.accept();
      w.socket.say(m);
      await settle();
      assert.equal(w.client.state, 'FAILED');
      assert.deepEqual([w.got, w.events('tombstone'), w.events('typing')], [[], [], []]);
    });
  }
}

test('keys of another client under the same key are passed over', async () => {
  const store = memoryKeys();
  const a = await ready({ sealKeys: store });
  const b = sealing({ sealKeys: store });
  Object.assign(b, { generation: 1, shard: a.shard });
  await b.greet({ realm: 'another' });
  b.direct(1);
  await b.seen(1);
  assert.equal(b.events('sealed')[0].failed, true);
  await b.shake();
  assert.deepEqual(b.member.who, nameHash('another', 'c1'));
});

test('where hello could not say whose keys are held there is a handshake, whatever is held', async () => {
  const store = memoryKeys();
  await ready({ sealKeys: store });
  const b = sealing({ sealKeys: store }, { url: 'ws://host.test/ws' });
  b.generation = 1;
  await b.greet();
  assert.equal(b.socket.sent[0].seal_held, undefined);
  await b.shake();
  b.direct(1);
  await b.seen(1);
  assert.deepEqual(b.got.map((m) => m.seq), [1n]);
});

test('after a reconnect the ring goes on, and a generation that is not held is asked for', async () => {
  const w = await ready();
  w.direct(1);
  await w.seen(1);
  const first = w.shard;
  w.socket.end(1006);
  await w.clock.advance(1000);
  await w.greet({ seal_generation: 9, cursor: '1' });
  assert.deepEqual(w.socket.sent[0].seal_held, [1]);
  await w.shake();
  w.socket.sayBytes(w.sealer.direct(first, 1, 2n, text(2)));
  w.direct(3);
  await w.seen(3);
  assert.deepEqual(w.got.map((m) => m.seq), [1n, 2n, 3n]);
});

test('keys of earlier periods and generations are forgotten once what follows is acked', async () => {
  const store = memoryKeys();
  const kept = () => store.load('ws://host.test  c1').map((r) => [r.generation, r.period]);
  const w = await ready({ sealKeys: store });
  w.direct(1);
  await w.seen(1);
  await w.clock.advance(60);
  assert.deepEqual(kept(), [[1, 7]]);
  w.shard = { ...w.shard, period: 8, members: w.shard.members.map((m) => ({ ...m, chain: ratchet(m.chain) })) };
  w.direct(2);
  await w.seen(2);
  assert.deepEqual(kept(), [[1, 7]]);
  await w.clock.advance(60);
  await until(() => kept()[0][1] === 8);
  await w.pass(DAY);
  await w.shake();
  w.direct(3);
  await w.seen(3);
  assert.deepEqual(kept(), [[1, 8], [2, 7]]);
  await w.clock.advance(60);
  await until(() => kept().length === 1);
  assert.deepEqual(kept(), [[2, 7]]);
});

test('a new handshake is made after a day, counted over connections', async () => {
  const store = memoryKeys();
  const w = await ready({ sealKeys: store });
  for (const half of [1, 2]) {
    await w.pass(DAY / 2 - 10_000 * half);
    assert.equal(w.sent('seal_hello').length, half === 1 ? 1 : 0);
    w.socket.end(1006);
    await w.clock.advance(1000);
    await w.greet();
  }
  await w.pass(30_000);
  await w.shake();
  assert.deepEqual(store.load('ws://host.test  c1').map((r) => r.generation), [1, 2]);
});

test('a handshake that is refused ends the connection where there are no keys, and else comes again', async () => {
  const refuse = (w) => w.socket.say({ type: 'error', code: 50300, message: 'the store is away' });
  const w = sealing();
  await w.greet();
  await until(() => w.sent('seal_hello').length === 1);
  refuse(w);
  assert.equal(w.client.state, 'RECONNECTING');
  const r = await ready();
  await r.pass(DAY);
  await until(() => r.sent('seal_hello').length === 2);
  refuse(r);
  await r.pass(3_500_000);
  assert.equal(r.client.state, 'CONNECTED');
  r.tell({ type: 'member_joined', group: 'g', client_id: 'x' });
  await until(() => r.events('member').length === 1);
  assert.equal(r.sent('seal_hello').length, 2);
  await r.pass(100_000);
  await until(() => r.sent('seal_hello').length === 3);
});

test('a handshake that is not answered ends the connection, not the client', async () => {
  const w = sealing();
  await w.greet();
  await until(() => w.sent('seal_hello').length > 0);
  const first = w.socket;
  first.say({ type: 'sealed', generation: 1 }); // of nothing that was asked
  await w.clock.advance(10_000);
  assert.equal(first.closed.code, 4900);
  await w.clock.advance(1000);
  await w.greet();
  first.say({ type: 'seal_welcome', data: '' });
  await w.shake();
});

test('a seal_welcome that nobody asked for is passed over', async () => {
  const w = await ready();
  w.socket.say({ type: 'seal_welcome', data: 'AA' });
  w.direct(1);
  await w.seen(1);
  assert.equal(w.client.state, 'CONNECTED');
});

test('a connect key: who we are is known from welcome on', async () => {
  const w = sealing({}, { url: 'ws://host.test/ws' });
  await w.greet({ client_id: 'new', realm: 'bank' });
  await w.shake();
  assert.deepEqual(w.member.who, nameHash('bank', 'new'));
  w.direct(1);
  await w.seen(1);
  assert.deepEqual(w.got.map((m) => m.seq), [1n]);
});

test('a path that names nobody: the token does, so that keys are still named after a reload', async () => {
  const store = memoryKeys();
  const token = `e30.${Buffer.from('{"sub":"c1"}').toString('base64url')}.c2ln`;
  const at = { url: 'ws://host.test/ws' };
  const a = await ready({ sealKeys: store, token }, at);
  const b = sealing({ sealKeys: store, token }, at);
  Object.assign(b, { generation: 1, shard: a.shard });
  await b.greet();
  assert.deepEqual(b.socket.sent[0].seal_held, [1]);
  b.direct(1);
  await b.seen(1);
  assert.deepEqual(b.got.map((m) => m.seq), [1n]);
  // Frames on the heels of welcome wait for the keys.
  const d = sealing({ sealKeys: store, token }, at);
  await until(() => d.socket?.readyState === 0);
  d.socket.accept();
  d.socket.say({ ...WELCOME, seal: 'crt', seal_key: KEY, seal_generation: 1 });
  d.socket.sayBytes(b.sealer.direct(a.shard, 1, 1n, text(1)));
  await d.seen(1);
  assert.deepEqual(d.got.map((m) => m.seq), [1n]);
  // A token that is about somebody else costs one attempt.
  const c = sealing({ sealKeys: store, token }, at);
  await c.greet({ client_id: 'c2' });
  assert.equal(c.client.state, 'RECONNECTING');
  await c.clock.advance(1000);
  await c.greet({ client_id: 'c2' });
  assert.deepEqual(c.socket.sent[0].seal_held, []);
  await c.shake();
});

test('a path that names nobody: where the token says whose keys to name, the cursor is said too', async () => {
  const sealKeys = memoryKeys();
  const cursors = memoryCursors();
  const token = `e30.${Buffer.from('{"sub":"c1"}').toString('base64url')}.c2ln`;
  const at = { url: 'ws://host.test/ws' };
  const a = await ready({ sealKeys, cursors, token }, at);
  assert.equal(a.socket.sent[0].cursor, undefined);
  a.direct(1);
  await a.seen(1);
  await a.clock.advance(60);
  await a.client.close();
  const b = sealing({ sealKeys, cursors, token }, at);
  b.generation = 1;
  await b.greet();
  const { seal_held: held, cursor, incarnation } = b.socket.sent[0];
  assert.deepEqual({ held, cursor, incarnation }, { held: [1], cursor: '1', incarnation: WELCOME.incarnation });
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
    const key = kdf(w.member.up, Buffer.concat([Buffer.from('CRT-BE/1 up'), f.subarray(24, 32), w.member.who]));
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
