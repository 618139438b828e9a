// What the client promises, outcome by outcome.
import test from 'node:test';
import assert from 'node:assert/strict';
import { GiveUp } from '../src/token.js';
import { message, settle, world } from './fake.mjs';

const acks = (s) => s.sent.filter((m) => m.type === 'ack');

test('connects, says hello and is welcomed', async () => {
  const w = world({ device: 'd1' });
  const s = await w.welcome();
  assert.deepEqual(s.protocols, ['sunzi.v1.json', 'bearer.T']);
  assert.deepEqual(s.sent[0], { type: 'hello', device: 'd1' });
  assert.deepEqual(w.states(), ['CONNECTING', 'CONNECTED']);
  assert.equal((await w.client.ready()).client_id, 'c1');
});

test('handles in order, one at a time, and acks together after 50 ms', async () => {
  const w = world();
  const got = [];
  let inside = 0;
  w.client.on('t', async (m) => {
    assert.equal(++inside, 1);
    await settle();
    inside--;
    got.push(m.seq);
  });
  const s = await w.welcome();
  for (const n of [1, 2, 3]) s.say(message(n));
  await w.clock.advance(49);
  assert.deepEqual(acks(s), []);
  await w.clock.advance(60);
  assert.deepEqual(got, [1n, 2n, 3n]);
  assert.deepEqual(acks(s), [{ type: 'ack', seq: '3' }]);
});

test('acks at once after 32 messages', async () => {
  const w = world();
  const s = await w.welcome();
  for (let n = 1; n <= 32; n++) s.say(message(n));
  await w.clock.advance(0);
  await w.clock.advance(0);
  assert.equal(acks(s).at(-1)?.seq, '32');
});

test('drops what it has seen, and acks it again', async () => {
  const w = world();
  const got = [];
  w.client.on('*', (m) => got.push(m.seq));
  const s = await w.welcome();
  s.say(message(1));
  s.say(message(1));
  await w.clock.advance(60);
  s.say(message(1));
  await w.clock.advance(60);
  assert.deepEqual(got, [1n]);
  assert.equal(acks(s).length, 2);
});

test('a save comes after the handler and before the ack', async () => {
  const order = [];
  const cursors = { load: () => null, save: async (key, c) => void order.push(`save ${key} ${c.seq}`) };
  const w = world({ cursors });
  w.client.on('*', () => order.push('handled'));
  const s = await w.welcome();
  const { send } = s;
  s.send = (text) => (order.push(JSON.parse(text).type), send.call(s, text));
  s.say(message(1));
  await w.clock.advance(60);
  assert.deepEqual(order, ['save ws://host.test  c1 0', 'handled', 'save ws://host.test  c1 1', 'ack']);
});

test('a kept cursor is told in hello, and what it covers is not handled again', async () => {
  const cursors = { load: () => ({ incarnation: 'aaaaaaaaaaaaaaaa', seq: '7' }), save() {} };
  const w = world({ cursors });
  const got = [];
  w.client.on('*', (m) => got.push(m.seq));
  const s = await w.welcome({ cursor: '6' });
  assert.deepEqual(s.sent[0], { type: 'hello', cursor: '7', incarnation: 'aaaaaaaaaaaaaaaa' });
  s.say(message(7));
  s.say(message(8));
  await w.clock.advance(60);
  assert.deepEqual(got, [8n]);
});

test('another incarnation makes the cursor forgotten', async () => {
  const cursors = { load: () => ({ incarnation: 'bbbbbbbbbbbbbbbb', seq: '700' }), save() {} };
  const w = world({ cursors });
  const got = [];
  w.client.on('*', (m) => got.push(m.seq));
  const s = await w.welcome({ cursor: '0' });
  s.say(message(1));
  await w.clock.advance(60);
  assert.deepEqual(got, [1n]);
  assert.deepEqual(acks(s), [{ type: 'ack', seq: '1' }]);
});

test('a handler that throws three times makes a dead letter, and the next one follows', async () => {
  const w = world();
  const got = [];
  w.client.on('*', (m) => {
    got.push(m.seq);
    if (m.seq === 1n) throw new Error('poison');
  });
  const s = await w.welcome();
  s.say(message(1));
  s.say(message(2));
  await w.clock.advance(1000);
  assert.deepEqual(got, [1n, 1n, 1n, 2n]);
  assert.deepEqual(acks(s).flatMap((a) => a.failed ?? []), [{ seq: '1', code: 1 }]);
  assert.equal(acks(s).at(-1).seq, '2');
  assert.equal(w.reported.length, 3);
  assert.deepEqual(w.events('failed').map((e) => [e.id, e.error.message]), [['id1', 'poison']]);
});

test('a gap moves the cursor and is told in its place', async () => {
  const w = world();
  const seen = [];
  w.client.on('*', (m) => seen.push(m.seq));
  w.client.when('gap', (g) => seen.push(`${g.from}-${g.to} ${g.reason}`));
  const s = await w.welcome();
  s.say(message(1));
  s.say({ type: 'gap', from: '2', to: '4', reason: 'expired' });
  s.say(message(5));
  await w.clock.advance(60);
  assert.deepEqual(seen, [1n, '2-4 expired', 5n]);
  assert.equal(acks(s).at(-1).seq, '5');
});

test('a tombstone takes back what still waits', async () => {
  const w = world();
  const got = [];
  let release;
  w.client.on('*', (m) => {
    got.push(m.seq);
    if (m.seq === 1n) return new Promise((r) => (release = r));
  });
  const s = await w.welcome();
  s.say(message(1));
  s.say(message(2));
  s.say({ type: 'tombstone', id: 'id2', seq: '2' });
  s.say(message(3));
  await settle();
  release();
  await w.clock.advance(60);
  assert.deepEqual(got, [1n, 3n]);
  assert.deepEqual(w.events('tombstone'), [{ id: 'id2', seq: 2n }]);
  assert.equal(acks(s).at(-1).seq, '3');
});

test('manual acks move the cursor only past what is acked without a hole', async () => {
  const w = world({ ack: 'manual' });
  const held = [];
  w.client.on('*', (m) => held.push(m));
  const s = await w.welcome();
  for (const n of [1, 2, 3]) s.say(message(n));
  await settle();
  held[1].ack();
  await w.clock.advance(60);
  assert.deepEqual(acks(s), []);
  held[0].ack();
  await w.clock.advance(60);
  assert.equal(acks(s).at(-1).seq, '2');
  held[2].fail(9);
  await w.clock.advance(60);
  assert.deepEqual(acks(s).at(-1), { type: 'ack', seq: '3', failed: [{ seq: '3', code: 9 }] });
});

test('live-only messages have no sequence and are not acked; old ones are dropped', async () => {
  const w = world();
  const got = [];
  let release;
  w.client.on('*', (m) => {
    got.push(m.id);
    if (m.id === 'slow') return new Promise((r) => (release = r));
  });
  const s = await w.welcome();
  s.say(message(1, { seq: undefined, id: 'slow' }));
  s.say(message(1, { seq: undefined, id: 'stale' }));
  await w.clock.advance(300_001);
  release();
  await settle();
  assert.deepEqual(got, ['slow']);
  assert.deepEqual(acks(s), []);
});

test('base64 data arrives as bytes', async () => {
  const w = world();
  let data;
  w.client.on('*', (m) => (data = m.data));
  const s = await w.welcome();
  s.say(message(1, { data: undefined, data_base64: 'AP+A' }));
  await settle();
  assert.deepEqual(data, new Uint8Array([0, 255, 128]));
});

test('the iterator acks one message by asking for the next', async () => {
  const w = world();
  const s = await w.welcome();
  const it = w.client.messages('t');
  s.say(message(1));
  s.say(message(2));
  assert.equal((await it.next()).value.seq, 1n);
  await w.clock.advance(60);
  assert.deepEqual(acks(s), []);
  assert.equal((await it.next()).value.seq, 2n);
  await w.clock.advance(60);
  assert.equal(acks(s).at(-1).seq, '1');
  await it.return();
  await w.clock.advance(60);
  assert.equal(acks(s).at(-1).seq, '2');
  assert.equal((await it.next()).done, true);
});

test('close codes: below 4100 stops, 4100s wait, 4200s come back at once', async () => {
  for (const [code, state, delay] of [
    [1000, 'RECONNECTING', 125],
    [1006, 'RECONNECTING', 125],
    [4002, 'FAILED', undefined],
    [4004, 'FAILED', undefined],
    [4100, 'RECONNECTING', 125],
    [4201, 'RECONNECTING', 0],
  ]) {
    const w = world();
    const s = await w.welcome();
    await w.clock.advance(5_000);
    s.end(code, 'why');
    const told = w.events('state').find((e) => e.code === code);
    assert.equal(told.to, state, code);
    assert.equal(told.retryInMs, delay, code);
    assert.equal(told.reason, 'why');
  }
});

test('a draining server says when to come back', async () => {
  const w = world();
  (await w.welcome()).end(4200, '1500');
  await w.clock.advance(1499);
  assert.equal(w.sockets.length, 1);
  await w.clock.advance(1);
  assert.equal(w.sockets.length, 2);
});

test('the backoff grows to its cap, never gives up, and is reset by a stay', async () => {
  const w = world();
  await settle();
  for (let i = 0; i < 30; i++) {
    w.socket.end(1006);
    await w.clock.advance(5_000);
  }
  const delays = w.events('state').filter((e) => e.to === 'RECONNECTING').map((e) => e.retryInMs);
  assert.deepEqual(delays.slice(0, 6), [125, 250, 500, 1000, 2000, 2500]);
  assert.equal(delays.at(-1), 2500);
  assert.equal(w.sockets.length, 31);
  const s = await w.welcome();
  await w.clock.advance(5_000);
  s.end(1006);
  assert.equal(w.events('state').at(-1).retryInMs, 125);
});

test('maxFailures ends it', async () => {
  const w = world({ retry: { maxFailures: 3 } });
  for (let i = 0; i < 3; i++) {
    await w.clock.advance(5_000);
    w.socket.end(1006);
  }
  assert.equal(w.client.state, 'FAILED');
  await assert.rejects(w.client.ready());
});

test('a refused token is replaced once, then the client fails', async () => {
  const whys = [];
  const w = world({ token: async (why) => (whys.push(why), `T${whys.length}`) });
  await settle();
  w.socket.accept();
  w.socket.end(4001, 'invalid or expired token');
  await w.clock.advance(1);
  assert.equal(w.socket.protocols[1], 'bearer.T2');
  w.socket.end(4001, 'invalid or expired token');
  assert.equal(w.client.state, 'FAILED');
  assert.deepEqual(whys, ['connect', 'rejected']);
});

test('a token that is only a string is not tried twice', async () => {
  const w = world();
  await settle();
  w.socket.end(4001, 'invalid or expired token');
  assert.equal(w.client.state, 'FAILED');
});

test('a token that ended during the connection is fetched as expired', async () => {
  const whys = [];
  const w = world({ token: (why) => (whys.push(why), 'T') });
  (await w.welcome()).end(4003, 'token expired');
  await w.clock.advance(1);
  await w.welcome();
  assert.deepEqual(whys, ['connect', 'expired']);
});

test('a token callback that throws is asked again, unless it gives up', async () => {
  let calls = 0;
  const w = world({
    token: () => {
      if (++calls === 1) throw new Error('no network');
      throw new GiveUp('logged out');
    },
  });
  await settle();
  assert.equal(w.client.state, 'RECONNECTING');
  await w.clock.advance(5000);
  assert.equal(w.client.state, 'FAILED');
  assert.equal(w.events('state').at(-1).reason, 'logged out');
});

test('a warned client refreshes on the open connection', async () => {
  let n = 0;
  const w = world({ token: () => `T${++n}` });
  const s = await w.welcome();
  s.say({ type: 'token_expiring', in: 60000 });
  await settle();
  assert.deepEqual(s.sent.at(-1), { type: 'refresh', token: 'T2' });
  s.say({ type: 'refreshed', expires: 5 });
  await settle();
  assert.equal(w.client.refreshStatus.status, 'ok');
  assert.equal(w.events('token')[0].token, 'T2');
  s.end(1006);
  await w.clock.advance(5000);
  assert.equal(w.socket.protocols[1], 'bearer.T2');
});

test('a refresh without an answer reconnects with the new token', async () => {
  let n = 0;
  const w = world({ token: () => `T${++n}` });
  const s = await w.welcome();
  s.say({ type: 'token_expiring', in: 60000 });
  await w.clock.advance(10_000);
  await settle();
  assert.equal(s.readyState, 2);
  assert.equal(w.sockets.length, 2);
  assert.equal(w.socket.protocols[1], 'bearer.T2');
  assert.deepEqual(w.client.refreshStatus.status, 'failed');
  assert.equal(w.client.refreshStatus.failures, 1);
});

// Answers pings, as a server does.
function setIntervalPong(w, s) {
  const { send } = s;
  s.send = (text) => {
    send.call(s, text);
    if (JSON.parse(text).type === 'ping') s.say({ type: 'pong' });
  };
  return () => (s.send = send);
}

test('pings after 30 s of silence and reconnects when nothing answers', async () => {
  const w = world();
  const s = await w.welcome();
  await w.clock.advance(29_999);
  assert.equal(s.sent.filter((m) => m.type === 'ping').length, 0);
  await w.clock.advance(1);
  assert.equal(s.sent.filter((m) => m.type === 'ping').length, 1);
  await w.clock.advance(5_000);
  assert.equal(s.closed.code, 4900);
  assert.equal(w.client.state, 'RECONNECTING');
});

test('an answered ping keeps the connection', async () => {
  const w = world();
  const s = await w.welcome();
  setIntervalPong(w, s);
  await w.clock.advance(300_000);
  assert.equal(w.client.state, 'CONNECTED');
  assert.equal(w.sockets.length, 1);
});

test('a page that is looked at again probes its connection', async () => {
  const w = world();
  const s = await w.welcome();
  await w.clock.advance(5_000);
  w.document.fire('visibilitychange');
  assert.equal(s.sent.at(-1).type, 'ping');
  await w.clock.advance(2_500);
  assert.notEqual(w.client.state, 'CONNECTED');
});

test('online, and a page from the cache, end a wait at once and reset the backoff', async () => {
  for (const fire of [(w) => w.window.fire('online'), (w) => w.window.fire('pageshow', { persisted: true })]) {
    const w = world();
    await settle();
    for (let i = 0; i < 5; i++) {
      w.socket.end(1006);
      await w.clock.advance(5000);
    }
    w.socket.end(1006);
    const before = w.sockets.length;
    fire(w);
    await settle();
    assert.equal(w.sockets.length, before + 1);
    w.socket.end(1006);
    assert.equal(w.events('state').at(-1).retryInMs, 125);
  }
});

test('an offline browser is tried slowly', async () => {
  const w = world();
  const s = await w.welcome();
  w.online = false;
  s.end(1006);
  await w.clock.advance(29_999);
  assert.equal(w.sockets.length, 1);
  await w.clock.advance(1);
  assert.equal(w.sockets.length, 2);
});

test('a second tab is told apart from other ends, and can take over', async () => {
  const w = world();
  (await w.welcome()).end(4007, 'replaced');
  assert.equal(w.events('state').at(-1).replaced, true);
  assert.equal(w.window.listening, 0);
  w.client.start();
  await w.welcome();
  assert.equal(w.client.state, 'CONNECTED');
});

test('a connect key learns its ID and token, and comes back with that token', async () => {
  const w = world({ token: 'connect-key' }, 'ws://host.test/ws');
  const s = await w.welcome({ client_id: 'new', token: 'OWN', token_expires: 9 });
  assert.equal(w.client.clientId, 'new');
  assert.deepEqual(w.events('token')[0], { token: 'OWN', expires: 9, clientId: 'new' });
  s.end(1006);
  await w.clock.advance(5000);
  assert.equal(w.socket.protocols[1], 'bearer.OWN');
});

test('no welcome within ten seconds is a failed attempt', async () => {
  const w = world();
  await settle();
  w.socket.accept();
  await w.clock.advance(10_000);
  assert.equal(w.client.state, 'RECONNECTING');
});

test('close leaves nothing behind', async () => {
  const w = world();
  const s = await w.welcome();
  s.say(message(1));
  await settle();
  await w.client.close();
  assert.equal(acks(s).at(-1).seq, '1');
  assert.equal(s.closed.code, 1000);
  assert.equal(w.client.state, 'CLOSED');
  assert.equal(w.clock.pending, 0);
  assert.equal(w.window.listening + w.document.listening, 0);
});

test('without an ID in the path the cursor is looked up once welcome names it', async () => {
  let found;
  const cursors = { load: () => new Promise((r) => (found = r)), save() {} };
  const w = world({ cursors }, 'ws://host.test/ws');
  const got = [];
  w.client.on('*', (m) => got.push(m.seq));
  const s = await w.welcome({ cursor: '6' });
  assert.deepEqual(s.sent[0], { type: 'hello' });
  s.say(message(7));
  s.say(message(8));
  assert.equal(w.client.state, 'CONNECTING');
  found({ incarnation: 'aaaaaaaaaaaaaaaa', seq: '7' });
  await settle();
  assert.deepEqual(got, [8n]);
  assert.equal(w.client.state, 'CONNECTED');
});

test('what was handed out and not acked by hand is not handed out again', async () => {
  const w = world({ ack: 'manual' });
  const held = [];
  w.client.on('*', (m) => held.push(m));
  const s = await w.welcome();
  s.say(message(1));
  s.end(1006);
  await w.clock.advance(125);
  await w.welcome();
  w.socket.say(message(1, { replayed: true }));
  await settle();
  assert.equal(held.length, 1);
  await w.clock.advance(60);
  assert.deepEqual(acks(w.socket), [], 'a replay is no word of the application');
  held[0].ack();
  await w.clock.advance(60);
  assert.deepEqual(acks(w.socket), [{ type: 'ack', seq: '1' }]);
});

test('a cursor store that fails is told and stops nothing', async () => {
  const fail = () => {
    throw new Error('full disk');
  };
  const w = world({ cursors: { load: fail, save: fail } });
  const got = [];
  w.client.on('*', (m) => got.push(m.seq));
  const s = await w.welcome();
  s.say(message(1));
  await w.clock.advance(60);
  assert.deepEqual(got, [1n]);
  assert.equal(acks(s).at(-1).seq, '1');
  assert.ok(w.events('error').every((e) => e.error.message === 'full disk'));
});

test('what is stored only after an earlier ack went out is acked too', async () => {
  const saves = [];
  const cursors = { load: () => null, save: () => new Promise((r) => saves.push(r)) };
  const w = world({ cursors });
  const s = await w.welcome();
  saves.shift()();
  s.say(message(1));
  s.say(message(2));
  await settle();
  saves.shift()(); // stores 1; 2 was handled meanwhile
  await w.clock.advance(60);
  assert.deepEqual(acks(s), [{ type: 'ack', seq: '1' }]);
  saves.shift()();
  await w.clock.advance(60);
  assert.equal(acks(s).at(-1).seq, '2');
});

test('a handler that ends between hello and welcome is acked', async () => {
  const w = world();
  let release;
  w.client.on('*', () => new Promise((r) => (release = r)));
  const s = await w.welcome();
  s.say(message(1));
  s.end(1006);
  await w.clock.advance(125);
  w.socket.accept();
  release();
  await settle();
  await w.welcome();
  await w.clock.advance(60);
  assert.deepEqual(acks(w.socket), [{ type: 'ack', seq: '1' }]);
});

test('a dead letter that could not be told is told after the next welcome', async () => {
  const w = world();
  w.client.on('*', () => {
    throw Object.assign(new Error('poison'), { code: 9 });
  });
  const s = await w.welcome();
  s.say(message(1));
  await w.clock.advance(10);
  s.end(1006);
  await w.clock.advance(1000);
  const next = await w.welcome({ cursor: '1' });
  await w.clock.advance(60);
  assert.deepEqual(acks(next), [{ type: 'ack', seq: '1', failed: [{ seq: '1', code: 9 }] }]);
});

test('a message that is not of the protocol ends the connection, not the client', async () => {
  const w = world();
  const s = await w.welcome();
  s.onmessage({ data: '{"type":"message","seq":"x"}' });
  assert.equal(w.client.state, 'RECONNECTING');
  assert.ok(w.events('state').at(-1).error);
});

test('unknown types are passed over', async () => {
  const w = world();
  const s = await w.welcome();
  s.say({ type: 'from_the_future' });
  assert.equal(w.client.state, 'CONNECTED');
});

test('typing, read and member events', async () => {
  const w = world();
  const s = await w.welcome();
  assert.equal(w.client.typing('c', 'Ann'), true);
  w.client.markRead(5n);
  assert.deepEqual(s.sent.slice(1), [
    { type: 'typing', conversation_id: 'c', sender_name: 'Ann' },
    { type: 'read', seq: '5' },
  ]);
  s.say({ type: 'member_joined', group: 'g', client_id: 'c2' });
  assert.deepEqual(w.events('member'), [{ joined: true, group: 'g', clientId: 'c2' }]);
});

test('a listener that throws is reported and disturbs nobody', async () => {
  const w = world();
  w.client.when('welcome', () => {
    throw new Error('mine');
  });
  await w.welcome();
  assert.equal(w.client.state, 'CONNECTED');
  assert.equal(w.reported.length, 1);
});

test('options that cannot work are refused at once', () => {
  assert.throws(() => world({}, 'ftp://host.test/ws'), TypeError);
  assert.throws(() => world({ token: null }), TypeError);
  assert.throws(() => world({ ack: 'later' }), TypeError);
  assert.throws(() => world({ cursors: {} }), TypeError);
});
