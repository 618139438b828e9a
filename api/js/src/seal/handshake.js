// The client's side of the handshake, suite 1 (crt/SPEC.md section 3).

import { allZero, concat } from './bytes.js';
import { isShard, TAG, view } from './frame.js';
import { baseKey, deriveAES, deriveBase, deriveHMAC, sha256, unseal, zeroNonce } from './keys.js';
import { modulus } from './slot.js';

const { subtle } = globalThis.crypto;
const SUITE = 1; // browsers have no ML-KEM in WebCrypto
const WELCOME = 36; // bytes before the sealed grant
const GRANT = 32; // bytes before c
export const CRT = 1;
export const AEAD = 2;

/** The one error of a handshake that does not come about. */
export class HandshakeError extends Error {
  constructor() {
    super('sunzi: the handshake failed');
  }
}

/** One handshake. made is for tests: { pair, random } instead of fresh ones. */
export class Handshake {
  #mode;
  #server;
  #pair;
  #hello;

  constructor(mode, server) {
    this.#mode = mode;
    this.#server = server;
  }

  /** Answers SEAL_HELLO. */
  async hello(who, made) {
    this.#pair = made?.pair ?? (await subtle.generateKey('X25519', false, ['deriveBits']));
    const random = made?.random ?? crypto.getRandomValues(new Uint8Array(16));
    const e = new Uint8Array(await subtle.exportKey('raw', this.#pair.publicKey));
    this.#hello = concat(Uint8Array.of(1, SUITE, this.#mode, 0), who, random, e);
    return this.#hello;
  }

  /** Takes SEAL_WELCOME: { grant, chain, up, session, confirm }. The handshake is used up. */
  async finish(welcome) {
    try {
      return await this.#finish(welcome);
    } catch {
      throw new HandshakeError();
    } finally {
      this.#pair = null;
    }
  }

  async #finish(welcome) {
    const head = [1, SUITE, this.#mode, 0];
    if (welcome.length < WELCOME + GRANT + TAG || head.some((v, i) => welcome[i] !== v)) throw new HandshakeError();
    const clear = welcome.subarray(0, WELCOME);
    const th = await sha256(concat('CRT-BE/1 handshake', this.#hello, clear, this.#server));
    const ours = [await this.#agree(clear.subarray(4)), await this.#agree(this.#server)];
    const shared = await baseKey(concat(...ours));
    for (const secret of ours) secret.fill(0);
    const kw = await deriveAES(shared, 'CRT-BE/1 welcome', th);
    const grant = parseGrant(this.#mode, await unseal(kw, zeroNonce(), th, welcome.subarray(WELCOME)));
    const kc = await deriveHMAC(shared, 'CRT-BE/1 confirm', th);
    const mac = new Uint8Array(await subtle.sign('HMAC', kc, await sha256(welcome)));
    return {
      grant,
      chain: await deriveBase(shared, 'CRT-BE/1 chain', th),
      up: await deriveBase(shared, 'CRT-BE/1 up chain', th),
      session: await deriveBase(shared, 'CRT-BE/1 session chain', th),
      confirm: concat(Uint8Array.of(1), mac.subarray(0, 16)),
    };
  }

  async #agree(bytes) {
    const theirs = await subtle.importKey('raw', bytes, 'X25519', false, []);
    const secret = new Uint8Array(await subtle.deriveBits({ name: 'X25519', public: theirs }, this.#pair.privateKey, 256));
    if (allZero(secret)) throw new HandshakeError(); // engines that do not refuse it themselves
    return secret;
  }
}

function parseGrant(mode, b) {
  const d = view(b);
  const g = {
    generation: d.getUint32(0),
    period: d.getUint32(4),
    shard: d.getBigUint64(8),
    slot: d.getUint16(16),
    slots: d.getUint16(18),
    slotBytes: d.getUint16(20),
    c: b.slice(GRANT),
  };
  if (!allZero(b.subarray(22, GRANT))) throw new HandshakeError();
  if (mode === AEAD) {
    if (b.length !== GRANT || !allZero(b.subarray(8))) throw new HandshakeError();
    return g;
  }
  if (g.slot >= g.slots || !isShard(g.slots, g.slotBytes) || 2 * g.c.length !== g.slotBytes) {
    throw new HandshakeError();
  }
  modulus(g.c); // its form is checked before anything is confirmed
  return g;
}
