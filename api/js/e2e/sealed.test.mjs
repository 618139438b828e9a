// Sealing in a real browser: its WebCrypto, its workers and IndexedDB, under the
// live page's policy. The server here is the tests' own, made of test/sealer.mjs.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { launch, open } from './browser.mjs';
import { accept, frame, unframe } from './rfc6455.mjs';
import { makeC, pack, Sealer, Server, Session, slotText } from '../test/sealer.mjs';

const dist = new URL('../dist/', import.meta.url);
const console_ = readFileSync(new URL('../../console/console.go', import.meta.url), 'utf8');
const POLICY = [...console_.match(/const Policy = ([^]*?)\n\n/)[1].matchAll(/"([^"]*)"/g)].map((m) => m[1]).join('');

const identity = new Server();
const sealer = new Sealer();
const mine = makeC();
const shard = { shard: 5n, period: 7, members: [0, 1, 2].map(() => ({ who: randomBytes(32), chain: randomBytes(32), c: makeC() })) };
const channel = { channel: 11n, epoch: 1, name: 'room', secret: randomBytes(32) };
const text = (n) => pack([(BigInt(n) << 22n) | 1n, 0, 't', { n }]);

const http = createServer((req, res) => {
  const name = req.url.slice('/client/'.length);
  res.setHeader('Access-Control-Allow-Origin', '*');
  if (!req.url.startsWith('/client/')) {
    res.setHeader('Content-Type', 'text/html');
    if (req.url === '/guarded') res.setHeader('Content-Security-Policy', POLICY);
    return res.end('<!doctype html><title>t</title>');
  }
  res.setHeader('Content-Type', 'text/javascript');
  res.end(readFileSync(new URL(name, dist)));
});
const heard = []; // everything that clients said
let generation = 0;
let acked = 0;
let key; // of sessions

http.on('upgrade', (req, socket) => {
  accept(req, socket);
  socket.on('error', () => {});
  const say = (m) => socket.write(m instanceof Uint8Array ? frame(2, m) : frame(1, Buffer.from(JSON.stringify(m))));
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let f; (f = unframe(rest)); rest = rest.subarray(f.length)) {
      if (f.opcode === 8) socket.end(frame(8, f.payload));
      else if (f.opcode === 1) hear(say, JSON.parse(f.payload));
    }
  });
});

function hear(say, m) {
  heard.push(m);
  if (m.type === 'hello') {
    const seal = { seal: 'crt', seal_key: identity.public.toString('base64url'), seal_generation: generation };
    say({ type: 'welcome', client_id: 'c1', session: 's', generation: '1', incarnation: 'aa', cursor: String(acked), heartbeat: 25_000, backlog: 0, ...seal });
    if (m.seal_held?.includes(generation)) send(say);
  } else if (m.type === 'seal_hello') {
    const hello = Buffer.from(m.data, 'base64url');
    const a = identity.answer(hello, { generation: ++generation, period: 7, shard: 5n, slot: 1, slots: 3, slotBytes: 64, c: mine });
    shard.members[1] = { who: hello.subarray(4, 36), chain: a.chain, c: mine };
    key = a.session;
    say({ type: 'seal_welcome', data: a.welcome.toString('base64url') });
  } else if (m.type === 'seal_confirm') {
    say({ type: 'sealed', generation });
    send(say, true);
  } else if (m.type === 'ack') acked = Number(m.seq);
}

// Seven places: six messages and a gap, in all the ways that they come.
function send(say, rekey = false) {
  const at = (n) => BigInt(acked + n);
  const session = new Session(shard.members[1].who, generation, key, Buffer.from(heard.findLast((m) => m.type === 'hello').seal_nonce, 'base64url'));
  const told = (m) => session.seal(JSON.stringify(m));
  const broken = sealer.direct(shard, 1, at(5), text(5));
  broken[99] ^= 1;
  for (const m of [
    sealer.direct(shard, 1, at(1), text(1)),
    sealer.direct(shard, 0, 9n, text(9)), // a cover for us
    sealer.envelope(shard, 1, at(2), text(2)),
    told({ type: 'gap', from: String(at(3)), to: String(at(3)), reason: 'expired' }),
    ...(rekey ? [sealer.rekey(shard, 1, channel)] : []),
    sealer.channel(channel, at(4), text(4)),
    broken,
    sealer.slotted({ mode: 1, ...shard, texts: { 1: slotText(1, at(6), text(6)) }, lane: 1 }),
    told({ type: 'message', seq: String(at(7)), id: '7', ts: 1, topic: 't', data: { n: 7 } }), // was stored in clear
    { type: 'replay_complete', seq: String(at(7)) },
  ]) say(m);
}

let browser;
let origin;
before(async () => {
  browser = await launch();
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  origin = `http://127.0.0.1:${http.address().port}`;
});
after(async () => {
  await browser?.close();
  http.closeAllConnections();
  http.close();
});

/** Receives in the page until replay_complete; answers what was told, in order. */
const receive = (page, library, options = {}) => page.evaluate(async ([url, key, more]) => {
  const { connect } = globalThis.Sunzi ?? (await import(url));
  const order = [];
  const client = connect('/ws/c1', { token: 'T', seal: 'crt', serverKey: key, ...more });
  client.on('*', (m) => void order.push(`${m.seq} ${JSON.stringify(m.data)} ${m.sealed}`));
  client.when('gap', (g) => order.push(`gap ${g.from}`));
  client.when('failed', (f) => order.push(`failed ${f.seq} ${f.code}`));
  client.when('error', (e) => order.push(`error ${e.error.message}`));
  await new Promise((done, failed) => {
    client.when('replay_complete', done);
    client.when('state', (s) => s.to === 'FAILED' && failed(s.error));
  });
  const { sealStatus } = client;
  const ended = client.close();
  await ended;
  return { order, sealStatus };
}, [library, identity.public.toString('base64url'), options]);

/** Connects, and stays until IndexedDB has no secret of a channel. */
const forget = (page, library) => page.evaluate(async ([url, key]) => {
  const { connect } = await import(url);
  const client = connect('/ws/c1', { token: 'T', seal: 'crt', serverKey: key });
  const kinds = () => new Promise((resolve) => {
    indexedDB.open('sunzi-seal', 1).onsuccess = (e) => {
      const all = e.target.result.transaction('keys').objectStore('keys').getAll();
      all.onsuccess = () => resolve(all.result.map((r) => r.kind));
    };
  });
  while ((await kinds()).includes('channel')) await new Promise((r) => setTimeout(r, 20));
  await client.close();
  return kinds();
}, [library, identity.public.toString('base64url')]);

const told = (first) => [
  `${first} {"n":1} true`, `${first + 1} {"n":2} true`, `gap ${first + 2}`, `${first + 3} {"n":4} true`, `failed ${first + 4} -1`, `${first + 5} {"n":6} true`,
  `${first + 6} {"n":7} true`,
];

async function fresh(t) {
  Object.assign(heard, { length: 0 });
  generation = acked = 0;
  const context = await browser.newContext();
  t.after(() => context.close());
  return context;
}

test('sealed messages arrive in order, through a worker, under the live page’s policy', { timeout: 60_000 }, async (t) => {
  const context = await fresh(t);
  const problems = [];
  const page = await open(context, `${origin}/guarded`, problems);
  const workers = [];
  page.on('worker', (w) => workers.push(w.url()));
  const { order, sealStatus } = await receive(page, '/client/sunzi.js');
  assert.deepEqual(order, told(1));
  assert.deepEqual(sealStatus, { generation: 1, opened: 8, covers: 1, decryptFailed: 1 });
  assert.deepEqual(workers, [`${origin}/client/sunzi-seal.js`]);
  assert.deepEqual(heard.find((m) => m.failed), { type: 'ack', seq: '7', failed: [{ seq: '5', code: -1 }] });
  assert.deepEqual(problems, []);

  // They are kept, and scripts can't export them.
  const kept = await page.evaluate(() => new Promise((resolve) => {
    indexedDB.open('sunzi-seal', 1).onsuccess = (e) => {
      const all = e.target.result.transaction('keys').objectStore('keys').getAll();
      all.onsuccess = () => resolve(all.result.map((r) => [r.kind, (r.chain ?? r.secret).extractable || r.session?.extractable === true]));
    };
  }));
  assert.deepEqual(kept.sort(), [['channel', false], ['keys', false]]);

  // After a reload the keys come out of IndexedDB; a secret that was not brought
  // again goes with the replay's end.
  await page.reload();
  heard.length = 0;
  assert.deepEqual((await receive(page, '/client/sunzi.js')).order, told(8));
  assert.deepEqual(heard[0].seal_held, [1]);
  assert.ok(!heard.some((m) => m.type === 'seal_hello'));
  assert.deepEqual(await forget(page, '/client/sunzi.js'), ['keys']);
  assert.deepEqual(problems, []);
});

test('a library from another origin seals on the page’s thread', { timeout: 60_000 }, async (t) => {
  const context = await fresh(t);
  const page = await open(context, `${origin}/plain`, []);
  const { order } = await receive(page, `${origin.replace('127.0.0.1', 'localhost')}/client/sunzi.js`, { sealKeys: 'memory' });
  assert.deepEqual(order, told(1));
  assert.equal(page.workers().length, 0);
});

test('the IIFE finds the sealing code beside itself', { timeout: 60_000 }, async (t) => {
  const context = await fresh(t);
  const page = await open(context, `${origin}/plain`, []);
  const workers = [];
  page.on('worker', (w) => workers.push(w.url()));
  await page.addScriptTag({ url: `${origin}/client/sunzi.iife.js` });
  assert.deepEqual((await receive(page, null)).order, told(1));
  assert.deepEqual(workers, [`${origin}/client/sunzi-seal.js`]);
});
