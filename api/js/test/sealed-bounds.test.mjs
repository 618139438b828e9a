// What a client forgets, and what it does not let itself be made to do.
import test from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Engine } from '../src/seal/engine.js';
import { memoryKeys } from '../src/seal/store.js';
import { until } from './fake.mjs';
import { ready, sealing, text, workers } from './sealing.mjs';

test('a secret that was not brought again is gone from the store after the replay', async () => {
  const store = memoryKeys();
  const kept = () => [...store.load(storeKey)].filter((r) => r.kind === 'channel').map((r) => [r.channel, r.epoch]);
  let storeKey;
  const sealKeys = { ...store, load: (key) => store.load((storeKey = key)) };
  const a = await ready({ sealKeys });
  const rooms = [[11n, 1], [11n, 2], [12n, 1]].map(([channel, epoch]) => ({ channel, epoch, name: 'room', secret: randomBytes(32) }));
  for (const c of rooms) a.socket.sayBytes(a.sealer.rekey(a.shard, 1, c));
  await a.seen(3);
  assert.deepEqual(kept(), [[11n, 1], [11n, 2], [12n, 1]]);
  a.socket.say({ type: 'replay_complete', seq: '0' });
  await until(() => kept().length === 2, 'the earlier epoch is gone');
  assert.deepEqual(kept(), [[11n, 2], [12n, 1]]);
  a.socket.end(1006);
  const b = sealing({ sealKeys });
  Object.assign(b, { generation: 1, shard: a.shard });
  await b.greet();
  b.socket.sayBytes(b.sealer.rekey(b.shard, 1, rooms[2]));
  await b.seen(1);
  assert.equal(kept().length, 2);
  b.socket.say({ type: 'replay_complete', seq: '0' });
  await until(() => kept().length === 1, 'the other channel is gone');
  assert.deepEqual(kept(), [[12n, 1]]);
});

test('forged periods cost a bounded number of steps, and then the connection', async () => {
  const { Worker } = workers(() => new Engine(1000));
  const w = await ready({}, { Worker });
  const forged = (ahead) => {
    const frame = w.sealer.direct(w.shard, 1, 9n, text(9));
    frame.writeUInt32BE(7 + ahead, 12);
    w.socket.sayBytes(frame);
  };
  forged(1000); // as many as are allowed
  w.direct(1);
  await w.seen(2);
  forged(1);
  await until(() => w.client.state === 'RECONNECTING', 'the end');
  assert.deepEqual(w.got.map((m) => m.seq), [1n]);
});
