// What a server says sealed for one connection, and what it must not say in clear
// (api/wire/SPEC.md section 9).
import test from 'node:test';
import assert from 'node:assert/strict';
import { memoryKeys } from '../src/seal/store.js';
import { message, settle, until } from './fake.mjs';
import { DAY, ready, sealing } from './sealing.mjs';

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
  'keys of another': (w) => w.sessionOf(w.member.session, 2).seal(JSON.stringify(message(2))),
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
    w.session = w.sessionOf(w.member.session, 1); // anew for each connection
    w.tell(message(2));
    await until(() => w.got.length === 2);
    assert.deepEqual(w.got.map((m) => m.seq), [1n, 2n]);
    assert.equal(store.load('ws://host.test  c1')[0].session.extractable, false);
  });
}

test('what an earlier connection was told is told on no later one', async () => {
  const w = await ready({ sealKeys: memoryKeys() });
  const typing = { type: 'typing', conversation_id: 'g', sender_id: 'x' };
  const recorded = w.session.seal(JSON.stringify(typing));
  w.socket.sayBytes(recorded);
  await until(() => w.events('typing').length === 1);
  const nonces = [w.nonce()];
  w.socket.end(1006);
  await w.clock.advance(1000);
  await w.greet();
  nonces.push(w.nonce());
  assert.equal(nonces[0].length, 16);
  assert.notDeepEqual(nonces[0], nonces[1]);
  w.socket.sayBytes(recorded); // the first frame under these keys, whole
  await until(() => w.client.state === 'RECONNECTING');
  assert.equal(w.events('typing').length, 1);
});

const flipped = (b) => (b[b.length - 1] ^= 1, b);

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
