// Reads the vectors of crt/testdata/vectors, the same that the Go package reads.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { decodeText } from '../src/seal/bytes.js';
import { AEAD, CRT, Handshake } from '../src/seal/handshake.js';
import { baseKey, nameHash } from '../src/seal/keys.js';
import { Keys, Ring } from '../src/seal/ring.js';
import { Receiver } from '../src/seal/session.js';
import { Sender } from '../src/seal/up.js';
import { webPair } from './sealer.mjs';

const dir = new URL('../../../crt/testdata/vectors/', import.meta.url);
const files = readdirSync(dir).filter((f) => f.endsWith('.json'));
const vectors = files.map((f) => JSON.parse(readFileSync(new URL(f, dir))));
test('there are vectors', () => {
  const refused = vectors.filter((v) => v.error).length;
  assert.ok(refused >= 30 && files.length - refused >= 15, `${files.length} vectors, of which ${refused} are to be refused`);
});
for (const v of vectors) {
  test(`${v.name}: ${v.error ?? v.about}`, () => {
    assert.ok(check[v.kind], `unknown kind ${v.kind}`);
    return check[v.kind](v);
  });
}

const unhex = (s) => new Uint8Array(Buffer.from(s, 'hex'));
const hex = (b) => Buffer.from(b).toString('hex');

// Keys can't be exported: two are the same where the same comes of them.
async function sameKey(key, secret) {
  const nothing = new Uint8Array(0);
  const of = async (k) => hex(await crypto.subtle.deriveBits({ name: 'HKDF', hash: 'SHA-256', salt: nothing, info: nothing }, k, 256));
  assert.equal(key.extractable, false);
  assert.equal(await of(key), await of(await baseKey(unhex(secret))));
}

async function keysOf({ who, generation, period, chain, shard, slot, slots, slot_bytes: slotBytes, c }) {
  return new Keys({
    kind: 'keys', who: unhex(who), mode: c === '' ? AEAD : CRT, generation, period, chain: await baseKey(unhex(chain)),
    shard: BigInt(shard), slot, slots, slotBytes, c: unhex(c), made: 0,
  });
}

async function ringOf({ keys, channels = [] }) {
  const r = new Ring();
  for (const k of keys.toReversed()) r.add(await keysOf(k));
  for (const c of channels) r.addChannel({ ...c, channel: BigInt(c.channel), secret: await baseKey(unhex(c.secret)) });
  return r;
}

const check = {
  async open(v) {
    const opened = ringOf(v).then((r) => r.open(unhex(v.frame ?? '')));
    if (v.error) return assert.rejects(opened, { message: 'sunzi: this does not open' });
    const o = await opened;
    const { channel, seq, message, cover } = v.want;
    if (channel) {
      assert.deepEqual([String(o.channel.channel), o.channel.epoch, o.channel.name], [channel.channel, channel.epoch, channel.name]);
      await sameKey(o.channel.secret, channel.secret);
    } else {
      assert.equal(o.channel, undefined);
      assert.equal(o.seq ? String(o.seq) : undefined, seq);
      assert.equal(o.message && hex(o.message), message ?? (cover ? undefined : ''));
    }
  },

  async handshake(v) {
    const random = unhex(v.random);
    const h = new Handshake(v.mode, unhex(v.server));
    const who = await nameHash(v.realm, v.id);
    const hello = await h.hello(who, { random: random.subarray(0, 16), pair: await webPair(Buffer.from(random.subarray(16, 48))) });
    const finished = h.finish(unhex(v.welcome));
    // Suite 2 is not for browsers: its welcome is one to a hello that was never said.
    if (v.error || v.suite !== 1) return assert.rejects(finished, { message: 'sunzi: the handshake failed' });
    assert.equal(hex(hello), v.hello);
    const { grant, chain, up, session, confirm } = await finished;
    const { generation, period, shard, slot, slots, slot_bytes: slotBytes, c } = v.grant;
    assert.deepEqual(grant, { generation, period, shard: BigInt(shard), slot, slots, slotBytes, c: unhex(c) });
    assert.equal(hex(confirm), v.confirm);
    await sameKey(chain, v.chain);
    await sameKey(up, v.up);
    await sameKey(session, v.session);
  },

  async up(v) {
    const s = await Sender.make({ who: unhex(v.who), up: await baseKey(unhex(v.chain)), begins: v.period }, unhex(v.connection), unhex(v.sender));
    for (const { format, text, frame } of v.messages) assert.equal(hex(await s.seal(text, format)), frame);
  },

  async session(v) {
    const r = new Receiver({ who: unhex(v.who), generation: v.period, session: await baseKey(unhex(v.chain)) }, unhex(v.connection));
    const bad = v.error ? v.messages.pop() : null; // the last is to be refused
    for (const { format, text, frame } of v.messages) {
      const o = await r.open(unhex(frame));
      assert.deepEqual([o.format, new TextDecoder().decode(o.text)], [format, text]);
    }
    if (bad) await assert.rejects(r.open(unhex(bad.frame)), { message: 'sunzi: this does not open' });
  },

  text(v) {
    if (v.error) assert.throws(() => decodeText(v.text));
    else assert.equal(hex(decodeText(v.text)), v.bytes ?? '');
  },

  async who(v) {
    assert.equal(hex(await nameHash(v.realm ?? '', v.id ?? '')), v.who);
  },
};
