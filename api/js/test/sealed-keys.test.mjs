// Sealing keys: handshakes, what hello says of them, reloads, and what is forgotten.
import test from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { memoryCursors } from '../src/cursors.js';
import { memoryKeys } from '../src/seal/store.js';
import { settle, until } from './fake.mjs';
import { nameHash, ratchet } from './sealer.mjs';
import { DAY, KEY, ready, sealing, text, WELCOME } from './sealing.mjs';

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
  assert.deepEqual({ ...b.socket.sent[0], seal_nonce: '' }, { type: 'hello', seal: 'crt', seal_held: [1], seal_nonce: '' });
  b.direct(1);
  b.socket.sayBytes(b.sealer.channel(channel, 2n, text(2)));
  await b.seen(2);
  assert.deepEqual(b.got.map((m) => m.seq), [1n, 2n]);
  assert.deepEqual(b.sent('seal_hello'), []);
});

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
