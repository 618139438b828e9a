// Opening and sealing, against the sealer of sealer.mjs.
import test from 'node:test';
import assert from 'node:assert/strict';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { decodeText } from '../src/seal/bytes.js';
import { Engine } from '../src/seal/engine.js';
import { parseFrame } from '../src/seal/frame.js';
import { CRT, AEAD, Handshake } from '../src/seal/handshake.js';
import { baseKey, Chain, nameHash } from '../src/seal/keys.js';
import { toMessage as read } from '../src/seal/message.js';
import { unpack } from '../src/seal/msgpack.js';
import { Keys, Ring } from '../src/seal/ring.js';
import { Sender } from '../src/seal/up.js';
import { kdf, makeC, nameHash as plainHash, nonce, pack, ratchet, Sealer, Server, sha, slotText } from './sealer.mjs';

const bytes = (b) => new Uint8Array(b);
const SLOTS = 4;
const members = Array.from({ length: SLOTS }, (_, i) => ({ who: plainHash('bank', `c${i}`), chain: randomBytes(32), c: makeC() }));
const shard = { shard: 5n, period: 7, members };

/** The shard a period later. */
const step = (s) => ({ ...s, period: s.period + 1, members: s.members.map((m) => ({ ...m, chain: ratchet(m.chain) })) });

const record = async (slot, more = {}) => ({
  kind: 'keys', who: bytes(members[slot].who), mode: CRT, generation: 1, period: 7, chain: await baseKey(bytes(members[slot].chain)),
  shard: 5n, slot, slots: SLOTS, slotBytes: 64, c: bytes(members[slot].c), made: 1, session: await baseKey(randomBytes(32)), ...more,
});

async function ring(slot) {
  const r = new Ring();
  r.add(new Keys(await record(slot)));
  return r;
}

const toMessage = (packed, seq) => read(bytes(packed), seq);

const refused = (promise) => assert.rejects(promise, { message: 'sunzi: this does not open' });

test('the name hash parts realm and ID', async () => {
  assert.deepEqual(await nameHash('bank', 'c1'), bytes(plainHash('bank', 'c1')));
  assert.notDeepEqual(await nameHash('ban', 'kc1'), await nameHash('bank', 'c1'));
});

test('each member takes its own message out of the same bytes, the others a cover', async () => {
  const s = new Sealer();
  const frame = bytes(s.direct(shard, 2, 9n, Buffer.from('hello')));
  for (let i = 0; i < SLOTS; i++) {
    const o = await (await ring(i)).open(frame);
    assert.equal(o.mode, 'direct');
    if (i === 2) assert.deepEqual([o.seq, Buffer.from(o.message).toString()], [9n, 'hello']);
    else assert.deepEqual([o.seq, o.message], [0n, undefined]);
  }
});

test('slots of 1024 and 2048 bits', async () => {
  for (const n of [128, 256]) {
    const m = { who: plainHash('', 'x'), chain: randomBytes(32), c: makeC(n) };
    const other = { ...m, who: plainHash('', 'y'), c: makeC(n) };
    const frame = new Sealer().slotted({
      mode: 1, shard: 1n, period: 0, members: [other, m], slotBytes: n, texts: { 1: slotText(1, 3n, Buffer.alloc(n - 26, 7), n) },
    });
    const r = new Ring();
    r.add(new Keys(await record(0, {
      who: bytes(m.who), period: 0, chain: await baseKey(bytes(m.chain)), shard: 1n, slot: 1, slots: 2, slotBytes: n, c: bytes(m.c),
    })));
    assert.equal((await r.open(bytes(frame))).message.length, n - 26);
  }
});

test('an envelope opens for its receiver alone, and only with its own body', async () => {
  const s = new Sealer();
  const frame = bytes(s.envelope(shard, 1, 4n, Buffer.alloc(5000, 1)));
  assert.equal((await (await ring(1)).open(frame)).message.length, 5000);
  assert.equal((await (await ring(0)).open(frame)).message, undefined);
});

test('who knows the key of a body can give a neighbour no other one', async () => {
  const s = new Sealer();
  const ck = randomBytes(32);
  const [frame, other] = [1, 2].map((v) => bytes(s.envelope(shard, 1, 4n, Buffer.alloc(5000, v), ck)));
  assert.ok((await (await ring(1)).open(frame)).message);
  const mixed = frame.slice();
  mixed.set(other.subarray(76 + SLOTS * 64), 76 + SLOTS * 64);
  await refused((await ring(1)).open(mixed));
  mixed.set(other.subarray(44, 76), 44);
  await refused((await ring(1)).open(mixed));
});

test('a channel opens with the secret that a rekey frame brought, in its epoch', async () => {
  const s = new Sealer();
  const channel = { channel: 11n, epoch: 2, name: '孙子', secret: randomBytes(32) };
  const r = await ring(3);
  const o = await r.open(bytes(s.rekey(shard, 3, channel)));
  assert.deepEqual([o.channel.channel, o.channel.epoch, o.channel.name], [11n, 2, '孙子']);
  assert.equal(o.channel.secret.extractable, false);
  await refused(r.open(bytes(s.channel(channel, 6n, Buffer.from('x')))));
  r.addChannel(o.channel);
  for (const seq of [6n, null, 7n]) {
    const got = await r.open(bytes(s.channel(channel, seq, Buffer.from('to all'))));
    assert.deepEqual([got.seq, Buffer.from(got.message).toString()], [seq, 'to all']);
  }
  await refused(r.open(bytes(s.channel({ ...channel, epoch: 3 }, 6n, Buffer.from('x')))));
});

test('mode down opens under a generation of mode aead alone', async () => {
  const who = plainHash('', 'x');
  const chain = randomBytes(32);
  const frame = bytes(new Sealer().down({ who, chain, period: 0 }, 0n, Buffer.from('now')));
  const r = new Ring();
  r.add(new Keys(await record(0, { who: bytes(who), mode: AEAD, period: 0, chain: await baseKey(bytes(chain)), c: new Uint8Array(0) })));
  const o = await r.open(frame);
  assert.deepEqual([o.seq, Buffer.from(o.message).toString()], [0n, 'now']);
  await refused((await ring(0)).open(frame));
});

test('later key periods open, earlier ones do not once they are forgotten', async () => {
  const s = new Sealer();
  const later = step(step(step(shard)));
  const k = new Keys(await record(0));
  const r = new Ring();
  r.add(k);
  const old = bytes(s.direct(shard, 0, 1n, Buffer.from('old')));
  const next = bytes(s.direct(later, 0, 2n, Buffer.from('new')));
  for (const frame of [next, old, next]) assert.ok((await r.open(frame)).message);
  await k.forget(10);
  assert.equal(k.record.period, 10);
  assert.ok((await r.open(next)).message);
  await refused(r.open(old));
});

test('a period further ahead than 65,536 is refused without a step', async () => {
  const chain = new Chain(0, await baseKey(randomBytes(32)));
  await refused(chain.at(65_537));
  await refused(chain.at(-1));
});

test('the chain is the same on whatever way a period is reached', async () => {
  const secret = randomBytes(32);
  let raw = secret;
  for (let i = 0; i < 3; i++) raw = ratchet(raw);
  const chain = new Chain(1022, await baseKey(bytes(secret)));
  const bits = async (key) => Buffer.from(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(0), info: new Uint8Array(0) }, key, 256));
  const want = kdf(raw, Buffer.alloc(0));
  for (const p of [1025, 1023, 1025, 1022, 1024, 1025]) {
    const key = await chain.at(p);
    if (p === 1025) assert.deepEqual(await bits(key), want);
  }
  assert.equal((await chain.at(1025)).extractable, false);
});

test('every single-bit flip of a frame is refused', async () => {
  const s = new Sealer();
  const small = { ...shard, members: members.slice(0, 1) };
  const r = new Ring();
  r.add(new Keys(await record(0, { slots: 1 })));
  const frame = bytes(s.envelope(small, 0, 1n, Buffer.from('text')));
  assert.ok((await r.open(frame)).message);
  for (let bit = 0; bit < frame.length * 8; bit++) {
    if (bit === 13 * 8 || (bit > 14 * 8 + 1 && bit < 15 * 8)) continue; // periods ahead, as far as is stepped: refused after a while
    const flipped = frame.slice();
    flipped[bit >> 3] ^= 1 << (bit & 7);
    await refused(r.open(flipped));
  }
});

test('lengths are looked at before anything is made of them', () => {
  const frame = bytes(new Sealer().direct(shard, 0, 1n, Buffer.from('x')));
  assert.equal(parseFrame(frame).x.length, SLOTS * 64);
  const patched = (at, ...v) => {
    const b = frame.slice();
    b.set(v, at);
    return b;
  };
  for (const b of [
    frame.subarray(0, 75),
    frame.subarray(0, frame.length - 1),
    new Uint8Array([...frame, 0]),
    patched(0, 0x44),
    patched(2, 2),
    patched(3, 0),
    patched(3, 7),
    patched(32, 0, 0),
    patched(32, 4, 1), // 1025 slots
    patched(34, 0, 32), // 256 bits
    patched(34, 255, 255),
    patched(38, 1),
    patched(40, 255, 255, 255, 255),
    patched(3, 4), // a channel frame with an x
  ]) assert.throws(() => parseFrame(b), { message: 'sunzi: this does not open' });
});

test('a prefix stands before a channel frame with a place, and nowhere else', async () => {
  const s = new Sealer();
  const r = await ring(0);
  const direct = s.direct(shard, 0, 1n, Buffer.from('x'));
  await refused(r.open(bytes(Buffer.concat([Buffer.from('CP'), Buffer.alloc(8, 1), direct]))));
  await refused(r.open(bytes(Buffer.from('CP'))));
  await refused(r.open(new Uint8Array(0)));
});

test('texts that break the rules of slots are refused', async () => {
  const s = new Sealer();
  const r = await ring(0);
  const empty = Buffer.alloc(0);
  const noEnd = slotText(1, 1n, Buffer.alloc(3));
  noEnd[12] = 0;
  for (const [mode, text, body] of [
    [1, slotText(2, 1n, Buffer.alloc(32)), empty], // a type of another mode
    [1, slotText(0, 1n, empty), empty], // a cover with a place
    [1, slotText(0, 0n, Buffer.of(1)), empty], // a cover with data
    [1, slotText(1, 0n, Buffer.of(1)), empty], // a message without a place
    [1, noEnd, empty],
    [1, slotText(4, 1n, empty), empty],
    [2, slotText(2, 1n, Buffer.alloc(31)), Buffer.alloc(20)],
    [3, slotText(3, 1n, Buffer.alloc(32)), Buffer.alloc(20)], // a secret with a place
  ]) await refused(r.open(bytes(s.slotted({ mode, ...shard, texts: { 0: text }, body }))));
});

test('a handshake ends with the same keys on both sides', async () => {
  const server = new Server();
  const c = makeC();
  for (const [mode, grant] of [
    [CRT, { generation: 3, period: 4, shard: 5n, slot: 1, slots: 2, slotBytes: 64, c }],
    [AEAD, { generation: 3, period: 4 }],
  ]) {
    const h = new Handshake(mode, bytes(server.public));
    const hello = await h.hello(bytes(members[0].who));
    assert.equal(hello.length, 84);
    const { welcome, confirm, chain } = server.answer(Buffer.from(hello), grant);
    const done = await h.finish(bytes(welcome));
    assert.deepEqual(done.confirm, bytes(confirm));
    assert.equal(done.grant.generation, 3);
    assert.equal(done.chain.extractable, false);
    const salt = new Uint8Array(0);
    const bits = await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt, info: salt }, done.chain, 256);
    assert.deepEqual(Buffer.from(bits), kdf(chain, salt));
    await assert.rejects(h.finish(bytes(welcome)), { message: 'sunzi: the handshake failed' }, 'used twice');
  }
});

test('a handshake with another server, or changed on its way, fails', async () => {
  const server = new Server();
  const grant = { generation: 1, period: 0, shard: 5n, slot: 1, slots: 2, slotBytes: 64, c: makeC() };
  const even = Buffer.from(grant.c);
  even[31] ^= 1;
  for (const [pinned, change, g] of [
    [new Server(), (w) => w, grant],
    [server, (w) => w.subarray(0, w.length - 1), grant],
    [server, (w) => w.fill(0, 4, 36), grant], // an all-zero result
    [server, (w) => (w[w.length - 1] ^= 1, w), grant],
    [server, (w) => (w[0] = 2, w), grant],
    [server, (w) => (w[1] = 2, w), grant],
    [server, (w) => (w[2] = 2, w), grant],
    [server, (w) => w, { ...grant, slot: 2 }],
    [server, (w) => w, { ...grant, slots: 2000 }],
    [server, (w) => w, { ...grant, slotBytes: 128 }],
    [server, (w) => w, { ...grant, c: even }],
    [server, (w) => w, { ...grant, c: Buffer.alloc(0), slotBytes: 0, slots: 0, slot: 0 }],
  ]) {
    const h = new Handshake(CRT, bytes(pinned.public));
    const hello = await h.hello(bytes(members[0].who));
    const { welcome } = server.answer(Buffer.from(hello), g);
    await assert.rejects(h.finish(bytes(change(welcome))), { message: 'sunzi: the handshake failed' });
  }
});

test('what is sent is sealed under a sender of its own, with numbers that grow', async () => {
  const chain = randomBytes(32);
  const who = plainHash('', 'x');
  const s = await Sender.make({ who: bytes(who), up: await baseKey(bytes(chain)), begins: 2 }, 'its name');
  for (const batch of [0n, 1n]) {
    const f = Buffer.from(await s.seal('{"type":"ping"}'));
    assert.deepEqual([f[3], f.readBigUInt64BE(16), f.readUInt32BE(12), f.readUInt32BE(40)], [6, batch, 2, f.length - 76]);
    assert.deepEqual(f.subarray(44, 76), sha(f.subarray(76)));
    const key = kdf(chain, Buffer.concat([Buffer.from('CRT-BE/1 up'), f.subarray(24, 32), who, Buffer.from('its name')]));
    const open = createDecipheriv('aes-256-gcm', key, nonce(batch, 0, 4)).setAAD(Buffer.concat([f.subarray(0, 44), who]));
    open.setAuthTag(f.subarray(-16));
    const text = Buffer.concat([open.update(f.subarray(76, -16)), open.final()]);
    assert.equal(text.toString(), '\x01{"type":"ping"}');
  }
});

test('base64 is repaired as the field sends it', () => {
  for (const [text, want] of [
    ['AP8Q', [0, 255, 16]], ['_-8=', [255, 239]], ['/+8', [255, 239]], ['A P\n8\tQ', [0, 255, 16]],
    ['AA=', [0]], ['AA', [0]], ['\u{feff}AA==\u00a0', [0]], ['', []],
  ]) assert.deepEqual(decodeText(text), bytes(want), text);
  for (const text of ['A', 'AAAAA', 'AA!A', 'AP8Q*']) assert.throws(() => decodeText(text), text);
});

test('a message inside a seal is the message that comes in clear', () => {
  const id = (1000n << 22n) | 5n;
  assert.deepEqual(toMessage(pack([id, 7, 'order', { a: [1, -2, 1.5, null, true], b: 1n << 63n }, 600, 5, 'k', { url: 'u' }]), 3n), {
    id: String(id), seq: 3n, ts: Date.UTC(2026, 0, 1) + 1007, topic: 'order', data: { a: [1, -2, 1.5, null, true], b: 2 ** 63 },
    replayed: false, priority: 5, collapseKey: 'k', attachment: { url: 'u' }, expires: Date.UTC(2026, 0, 1) + 1607,
  });
  const short = toMessage(pack([id]), null);
  assert.deepEqual([short.topic, short.data, short.priority, short.expires, short.attachment], ['', null, 3, null, null]);
  assert.deepEqual(toMessage(pack([id, null, 't', Buffer.of(0, 255)]), 1n).data, bytes([0, 255]));
  assert.deepEqual(Object.keys(toMessage(pack([id, 0, '', JSON.parse('{"__proto__":1}')]), 1n).data), ['__proto__']);
  for (const v of [[], {}, ['x'], [-1], [1.5], [id, 'x'], [id, 0, 5], [id, 0, '', [Buffer.of(1)]], [id, 0, '', 1, 'x'], [id, 0, '', 1, 1, 1, 1, []]]) {
    assert.throws(() => toMessage(pack(v), 1n), JSON.stringify(v, (_, e) => (typeof e === 'bigint' ? String(e) : e)));
  }
});

test('msgpack: all forms of a value, and nothing else', () => {
  const hex = (s) => unpack(bytes(Buffer.from(s, 'hex')));
  for (const [s, want] of [
    ['cc05', 5], ['cd0005', 5], ['ce00000005', 5], ['cf0000000000000005', 5], ['d0fb', -5], ['d1fffb', -5], ['d2fffffffb', -5],
    ['d3fffffffffffffffb', -5], ['fb', -5], ['ca3fc00000', 1.5], ['cb7ff0000000000000', Infinity], ['cfffffffffffffffff', 18446744073709551615n],
    ['d3001fffffffffffff', 2 ** 53 - 1], ['d30020000000000000', 2n ** 53n], ['a161', 'a'], ['d90161', 'a'], ['da000161', 'a'], ['db0000000161', 'a'],
    ['c40101', bytes([1])], ['c5000101', bytes([1])], ['c60000000101', bytes([1])], ['9101', [1]], ['dc000101', [1]], ['dd0000000101', [1]],
    ['81a16101', { a: 1 }], ['de0001a16101', { a: 1 }], ['df00000001a16101', { a: 1 }], ['82a16101a16102', { a: 2 }], ['a3efbbbf', '\ufeff'],
  ]) assert.deepEqual(hex(s), want, s);
  for (const s of ['', 'c1', 'd40001', 'c7010101', '8101a161', 'a2c3', 'a1ff', '0101', 'dd7fffffff', 'dfffffffff', 'dbffffffff', 'c6ffffffff', '91'.repeat(200) + 'c0', '81c001']) {
    assert.throws(() => hex(s), s);
  }
});

test('keys are forgotten once what was sealed under them is acked', async () => {
  const s = new Sealer();
  const e = new Engine();
  const later = step(shard);
  await e.begin({ realm: 'bank', id: 'c0', mode: CRT, server: randomBytes(32), records: [await record(0), await record(1)] });
  const open = async (b) => e.open(bytes(b));
  const text = pack([1n << 22n]);
  assert.equal((await open(s.direct(shard, 0, 1n, text))).message.id, String(1n << 22n));
  assert.deepEqual(await e.acked(2n), { put: [], remove: [] });
  assert.equal((await open(s.direct(later, 0, 3n, text))).seq, 3n);
  assert.ok((await open(s.direct(shard, 0, 1n, text))).message, 'still there');
  const { put } = await e.acked(3n);
  assert.deepEqual(put.map((r) => [r.kind, r.period]), [['keys', 8]]);
  assert.equal((await open(s.direct(shard, 0, 1n, text))).failed, true);
  assert.deepEqual(await e.acked(9n), { put: [], remove: [] });
});

test('after the replay a channel has the one secret that came last on the connection', async () => {
  const s = new Sealer();
  const e = new Engine();
  const epoch = (n, channel = 11n) => ({ channel, epoch: n, name: 'g', secret: randomBytes(32) });
  const [one, two, three, other] = [epoch(1), epoch(2), epoch(3), epoch(5, 12n)];
  const text = pack([1n << 22n]);
  const open = async (b) => e.open(bytes(b));
  const opens = async (c) => !(await open(s.channel(c, 2n, text))).failed;
  const gone = ({ remove }) => remove.map((r) => [r.kind, r.channel, r.epoch]);
  const begin = (records) => e.begin({ realm: 'bank', id: 'c0', mode: CRT, server: randomBytes(32), records: [...keys, ...records] });
  const keys = [await record(0)];
  await begin([]);
  const records = [];
  for (const c of [one, two, other]) records.push(...(await open(s.rekey(shard, 0, c))).put);
  await begin(records);
  assert.deepEqual(await open(s.rekey(shard, 0, two)).then(gone), [], 'while the replay goes on');
  assert.ok((await opens(one)) && (await opens(two)) && (await opens(other)));
  assert.deepEqual(gone(e.replayed()), [['channel', 11n, 1], ['channel', 12n, 5]]);
  assert.deepEqual([await opens(one), await opens(two), await opens(other)], [false, true, false]);
  assert.deepEqual(await open(s.rekey(shard, 0, three)).then(gone), [['channel', 11n, 2]]);
  assert.deepEqual(await open(s.rekey(shard, 0, one)).then(gone), [['channel', 11n, 3]], 'a later push may be of an earlier epoch');
  assert.deepEqual([await opens(one), await opens(two), await opens(three)], [true, false, false]);
});

test('another generation opens beside the one before, until its first place is acked', async () => {
  const s = new Sealer();
  const e = new Engine();
  const c = makeC();
  const chain = randomBytes(32);
  const second = { ...shard, members: members.map((m, i) => (i === 0 ? { ...m, chain, c } : m)) };
  const records = [await record(0), await record(0, { generation: 2, chain: await baseKey(bytes(chain)), c: bytes(c) })];
  await e.begin({ realm: 'bank', id: 'c0', mode: CRT, server: randomBytes(32), records });
  const text = pack([1n << 22n]);
  for (const [at, seq] of [[shard, 1n], [second, 2n]]) assert.equal((await e.open(bytes(s.direct(at, 0, seq, text)))).seq, seq);
  assert.deepEqual((await e.acked(1n)).remove, []);
  assert.deepEqual((await e.acked(2n)).remove.map((r) => r.generation), [1]);
});
