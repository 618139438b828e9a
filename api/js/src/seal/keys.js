// The key schedule (crt/SPEC.md section 4) on WebCrypto. A key is a CryptoKey
// that nobody can export: scripts of the page may use it, not copy it.
//
// One exception: WebCrypto derives no HKDF key from an HKDF key, so the bytes of
// the next chain key pass through memory for a moment, and are overwritten as
// soon as they are imported. The engine may have copied them meanwhile.

import { concat, OpenError, u32 } from './bytes.js';

const { subtle } = globalThis.crypto;
const HKDF_USES = ['deriveKey', 'deriveBits'];
/** For one frame, and on one connection for frames that do not open (section 4). */
export const MAX_STEPS = 1 << 16;
const MARK = 1024; // every so many periods a chain key is kept, see Chain

const hkdf = (info, salt = new Uint8Array(0)) => ({ name: 'HKDF', hash: 'SHA-256', salt, info: concat(info) });

export const sha256 = async (b) => new Uint8Array(await subtle.digest('SHA-256', b));

/** The client's name hash (section 1). */
export async function nameHash(realm, id) {
  const r = concat(realm);
  const i = concat(id);
  return sha256(concat('CRT-BE/1 client', u32(r.length), r, u32(i.length), i));
}

/** A key to derive from. Takes the bytes: they are overwritten. */
export async function baseKey(bytes) {
  const key = await subtle.importKey('raw', bytes, 'HKDF', false, HKDF_USES);
  bytes.fill(0);
  return key;
}

/** An AES-256-GCM key of 32 bytes, which are overwritten. */
export async function bodyKey(bytes) {
  const key = await subtle.importKey('raw', bytes, 'AES-GCM', false, ['decrypt']);
  bytes.fill(0);
  return key;
}

/** KDF of section 1 with an AES-256-GCM key for a result. */
export const deriveAES = (base, info, salt, uses = ['decrypt']) =>
  subtle.deriveKey(hkdf(info, salt), base, { name: 'AES-GCM', length: 256 }, false, uses);

/** KDF with an HMAC key for a result. */
export const deriveHMAC = (base, info, salt) =>
  subtle.deriveKey(hkdf(info, salt), base, { name: 'HMAC', hash: 'SHA-256', length: 256 }, false, ['sign']);

/** KDF with a key to derive from for a result. */
export const deriveBase = async (base, info, salt) =>
  baseKey(new Uint8Array(await subtle.deriveBits(hkdf(info, salt), base, 256)));

export async function unseal(key, iv, additionalData, sealed) {
  try {
    return new Uint8Array(await subtle.decrypt({ name: 'AES-GCM', iv, additionalData }, key, sealed));
  } catch {
    throw new OpenError();
  }
}

export const seal = async (key, iv, additionalData, text) =>
  new Uint8Array(await subtle.encrypt({ name: 'AES-GCM', iv, additionalData }, key, text));

export const zeroNonce = () => new Uint8Array(12);

/**
 * A chain key at the lowest period that may still be opened. Later ones are
 * derived from it; those at every 1024th period and the last one used are kept,
 * so that neither a replay over many periods nor a header that lies about its
 * period makes the same steps again and again.
 */
export class Chain {
  #marks = new Map(); // period -> key
  #last;
  steps = 0; // made since it was

  constructor(period, key) {
    this.period = period;
    this.key = key;
    this.#last = period;
    this.#marks.set(period, key);
  }

  async at(period) {
    if (period < this.period || period - this.period > MAX_STEPS) throw new OpenError();
    let from = this.period;
    for (const p of this.#marks.keys()) if (p <= period && p > from) from = p;
    let key = this.#marks.get(from);
    for (let p = from; p < period; p++) {
      key = await deriveBase(key, 'CRT-BE/1 ratchet');
      this.steps++;
      if ((p + 1) % MARK === 0) this.#marks.set(p + 1, key);
    }
    if (this.#last % MARK !== 0 && this.#last !== this.period) this.#marks.delete(this.#last);
    this.#last = period;
    this.#marks.set(period, key);
    return key;
  }

  /** Makes earlier periods unreadable. */
  async forget(period) {
    if (period <= this.period) return;
    this.key = await this.at(period);
    this.period = period;
    for (const p of [...this.#marks.keys()]) if (p < period) this.#marks.delete(p);
  }
}

/** A few keys kept ready, the oldest given up. Only what has opened something is kept: headers lie. */
export class Cache {
  #kept = new Map();
  #size;

  constructor(size) {
    this.#size = size;
  }

  /** Calls use with the key, made if it is not there, and keeps it once use has not thrown. */
  async with(name, make, use) {
    const there = this.#kept.get(name);
    const key = there ?? (await make());
    const result = await use(key);
    if (!there) {
      if (this.#kept.size >= this.#size) this.#kept.delete(this.#kept.keys().next().value);
      this.#kept.set(name, key);
    }
    return result;
  }

  /** Forgets the keys whose names the test is true of. */
  drop(test) {
    for (const name of [...this.#kept.keys()]) if (test(name)) this.#kept.delete(name);
  }
}
