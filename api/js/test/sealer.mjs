// A sealer of its own, written from crt/SPEC.md on node's crypto module and
// BigInt, so that the library is not tested against itself. Small and slow.
import {
  checkPrimeSync, createCipheriv, createHash, createHmac, createPrivateKey, createPublicKey, diffieHellman,
  generateKeyPairSync, hkdfSync, randomBytes,
} from 'node:crypto';

export const sha = (b) => createHash('sha256').update(b).digest();
export const kdf = (secret, info, salt = Buffer.alloc(0)) => Buffer.from(hkdfSync('sha256', secret, salt, info, 32));
export const u16 = (n) => be(BigInt(n), 2);
export const u32 = (n) => be(BigInt(n), 4);
export const u64 = (n) => be(BigInt(n), 8);
export const num = (b) => BigInt(`0x${Buffer.from(b).toString('hex')}`);

export function be(v, n) {
  return Buffer.from(v.toString(16).padStart(2 * n, '0'), 'hex');
}

export function gcm(key, nonce, aad, text) {
  const c = createCipheriv('aes-256-gcm', key, nonce).setAAD(aad);
  return Buffer.concat([c.update(text), c.final(), c.getAuthTag()]);
}

export function nameHash(realm, id) {
  const r = Buffer.from(realm);
  const i = Buffer.from(id);
  return sha(Buffer.concat([Buffer.from('CRT-BE/1 client'), u32(r.length), r, u32(i.length), i]));
}

/** A random c whose m = 2^(8n) − c is prime. */
export function makeC(n = 64) {
  for (;;) {
    const c = randomBytes(n / 2);
    c[0] |= 0x80;
    c[c.length - 1] |= 1;
    if (checkPrimeSync(modulus(c), { checks: 8 })) return c;
  }
}

export const modulus = (c) => (1n << BigInt(16 * c.length)) - num(c);
export const ratchet = (ck) => kdf(ck, 'CRT-BE/1 ratchet');

function inverse(a, m) {
  let [r, s, x, y] = [m, a % m, 0n, 1n];
  while (s > 0n) [r, s, x, y] = [s, r % s, y, x - (r / s) * y];
  return ((x % m) + m) % m;
}

/** The number below the product of the moduli that has these residues: formula (1). */
export function combine(moduli, residues) {
  const M = moduli.reduce((a, b) => a * b, 1n);
  return moduli.reduce((x, m, i) => (x + residues[i] * (M / m) * inverse(M / m, m)) % M, 0n);
}

/** A header of 76 bytes. */
export function header({ mode, shard = 0n, period = 0, batch = 0n, sealer, slots = 0, slotBytes = 0, lane = 0, length = 0, hash }) {
  const zero = Buffer.alloc(2);
  return Buffer.concat([
    Buffer.from('CB'), Buffer.of(1, mode), u64(shard), u32(period), u64(batch), sealer,
    u16(slots), u16(slotBytes), u16(lane), zero, u32(length), hash ?? sha(Buffer.alloc(0)),
  ]);
}

export const nonce = (batch, lane, domain) => Buffer.concat([u64(batch), u16(lane), u16(domain)]);

/** The text of a slot. */
export function slotText(type, seq, data, slotBytes = 64) {
  const text = Buffer.alloc(slotBytes - 16);
  text[0] = type;
  u64(seq).copy(text, 1);
  data.copy(text, 9);
  text[9 + data.length] = 0x80;
  return text;
}

export class Sealer {
  id = randomBytes(8);
  batch = 0n;

  /**
   * A frame with an x. members: by slot { who, chain, c }, chain being that of
   * the period; texts: by slot a slot's text, a cover where there is none.
   */
  slotted({ mode, shard, period, members, texts = {}, body = Buffer.alloc(0), lane = 0, slotBytes = 64 }) {
    const batch = this.batch++;
    const head = header({
      mode, shard, period, batch, sealer: this.id, slots: members.length, slotBytes, lane, length: body.length, hash: sha(body),
    });
    const residues = members.map(({ who, chain, c }, i) => {
      const m = be(modulus(c), slotBytes);
      const key = kdf(chain, Buffer.concat([Buffer.from('CRT-BE/1 slot'), this.id, who, sha(m)]));
      const text = texts[i] ?? slotText(0, 0n, Buffer.alloc(0), slotBytes);
      return num(gcm(key, nonce(batch, lane, 1), Buffer.concat([head, who]), text));
    });
    const x = be(combine(members.map((m) => modulus(m.c)), residues), members.length * slotBytes);
    return Buffer.concat([head, x, body]);
  }

  direct(shard, slot, seq, message) {
    return this.slotted({ mode: 1, ...shard, texts: { [slot]: slotText(1, seq, message) } });
  }

  envelope(shard, slot, seq, message, ck = randomBytes(32)) {
    const body = gcm(ck, Buffer.alloc(12), Buffer.from([0x43, 0x42, 1, 2]), message);
    return this.slotted({ mode: 2, ...shard, texts: { [slot]: slotText(2, seq, ck) }, body });
  }

  rekey(shard, slot, { channel, epoch, name, secret }) {
    const text = Buffer.concat([u64(channel), u32(epoch), Buffer.from(name)]);
    const body = gcm(kdf(secret, 'CRT-BE/1 rekey'), Buffer.alloc(12), Buffer.from([0x43, 0x42, 1, 3]), text);
    return this.slotted({ mode: 3, ...shard, texts: { [slot]: slotText(3, 0n, secret) }, body });
  }

  /** seq null: without a prefix. */
  channel({ channel, epoch, secret }, seq, message) {
    const key = kdf(secret, Buffer.concat([Buffer.from('CRT-BE/1 channel'), this.id]));
    const frame = this.#single({ mode: 4, shard: channel, period: epoch }, key, 2, message, Buffer.alloc(0));
    return seq === null ? frame : Buffer.concat([Buffer.from('CP'), u64(seq), frame]);
  }

  down({ who, chain, period }, seq, message) {
    const key = kdf(chain, Buffer.concat([Buffer.from('CRT-BE/1 down'), this.id, who]));
    return this.#single({ mode: 5, period }, key, 3, Buffer.concat([u64(seq), message]), who);
  }

  #single(h, key, domain, text, more) {
    const batch = this.batch++;
    const head = header({ ...h, batch, sealer: this.id, length: text.length + 16 }).subarray(0, 44);
    const body = gcm(key, nonce(batch, 0, domain), Buffer.concat([head, more]), text);
    return Buffer.concat([head, sha(body), body]);
  }
}

/** What one connection is told, sealed for it alone. */
export class Session {
  id = randomBytes(8);
  batch = 0n;

  constructor(who, generation, key, nonce) {
    Object.assign(this, { who, generation, key, nonce });
  }

  seal(text, format = 1) {
    const batch = this.batch++;
    const key = kdf(this.key, Buffer.concat([Buffer.from('CRT-BE/1 session'), this.id, this.who, this.nonce]));
    const head = header({ mode: 7, period: this.generation, batch, sealer: this.id, length: text.length + 17 }).subarray(0, 44);
    const body = gcm(key, nonce(batch, 0, 5), Buffer.concat([head, this.who]), Buffer.concat([Buffer.of(format), Buffer.from(text)]));
    return Buffer.concat([head, sha(body), body]);
  }
}

// X25519 keys, raw.
const PKCS8 = Buffer.from('302e020100300506032b656e04220420', 'hex');
const SPKI = Buffer.from('302a300506032b656e032100', 'hex');
const privateKey = (raw) => createPrivateKey({ key: Buffer.concat([PKCS8, raw]), format: 'der', type: 'pkcs8' });
const publicKey = (raw) => createPublicKey({ key: Buffer.concat([SPKI, raw]), format: 'der', type: 'spki' });
const rawPublic = (key) => createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-32);

/** A server with an identity of its own, which answers handshakes. */
export class Server {
  key = generateKeyPairSync('x25519').privateKey;
  public = rawPublic(this.key);

  /** { welcome, confirm, chain, up, session } for a SEAL_HELLO. */
  answer(hello, { generation, period, shard = 0n, slot = 0, slots = 0, slotBytes = 0, c = Buffer.alloc(0) }) {
    const e = generateKeyPairSync('x25519').privateKey;
    const theirs = publicKey(hello.subarray(52, 84));
    const ss = Buffer.concat([e, this.key].map((k) => diffieHellman({ privateKey: k, publicKey: theirs })));
    const clear = Buffer.concat([Buffer.from([1, hello[1], hello[2], 0]), rawPublic(e)]);
    const th = sha(Buffer.concat([Buffer.from('CRT-BE/1 handshake'), hello, clear, this.public]));
    const grant = Buffer.concat([u32(generation), u32(period), u64(shard), u16(slot), u16(slots), u16(slotBytes), Buffer.alloc(10), c]);
    const welcome = Buffer.concat([clear, gcm(kdf(ss, 'CRT-BE/1 welcome', th), Buffer.alloc(12), th, grant)]);
    const mac = createHmac('sha256', kdf(ss, 'CRT-BE/1 confirm', th)).update(sha(welcome)).digest();
    const [chain, up, session] = ['chain', 'up chain', 'session chain'].map((info) => kdf(ss, `CRT-BE/1 ${info}`, th));
    return { welcome, confirm: Buffer.concat([Buffer.of(1), mac.subarray(0, 16)]), chain, up, session };
  }
}

/** An X25519 pair for WebCrypto of a secret's 32 bytes. */
export async function webPair(secret) {
  const { subtle } = globalThis.crypto;
  return {
    privateKey: await subtle.importKey('pkcs8', Buffer.concat([PKCS8, secret]), 'X25519', false, ['deriveBits']),
    publicKey: await subtle.importKey('raw', rawPublic(privateKey(secret)), 'X25519', true, []),
  };
}

/** MessagePack, as much of it as tests write. */
export function pack(v) {
  if (v === null || v === undefined) return Buffer.of(0xc0);
  if (typeof v === 'boolean') return Buffer.of(v ? 0xc3 : 0xc2);
  if (typeof v === 'bigint') return v < 0n ? Buffer.concat([Buffer.of(0xd3), be(v + (1n << 64n), 8)]) : Buffer.concat([Buffer.of(0xcf), u64(v)]);
  if (typeof v === 'number' && !Number.isInteger(v)) {
    const b = Buffer.alloc(9, 0xcb);
    b.writeDoubleBE(v, 1);
    return b;
  }
  if (typeof v === 'number') return v >= 0 && v < 128 ? Buffer.of(v) : v >= -32 && v < 0 ? Buffer.of(256 + v) : pack(BigInt(v));
  if (typeof v === 'string') return Buffer.concat([Buffer.of(0xd9, Buffer.byteLength(v)), Buffer.from(v)]);
  if (v instanceof Uint8Array) return Buffer.concat([Buffer.of(0xc5), u16(v.length), v]);
  if (Array.isArray(v)) return Buffer.concat([Buffer.of(0xdc), u16(v.length), ...v.map(pack)]);
  const entries = Object.entries(v);
  return Buffer.concat([Buffer.of(0xde), u16(entries.length), ...entries.flatMap(([k, e]) => [pack(k), pack(e)])]);
}
