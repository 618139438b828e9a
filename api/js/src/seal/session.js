// What one connection is told, sealed for it alone (crt/SPEC.md section 5.7).

import { concat, equal, OpenError } from './bytes.js';
import { nonce, parseFrame, SESSION } from './frame.js';
import { deriveAES, sha256, unseal } from './keys.js';
import { JSON_TEXT } from './up.js';

const DOMAIN = 5;
const MSGPACK_TEXT = 2;

/** Opens one connection's frames, each once and in order. */
export class Receiver {
  #record;
  #nonce;
  #sender = null;
  #key = null;
  #next = 0n;

  /** The record of a generation: its session key. The nonce is what hello said. */
  constructor(record, nonce) {
    this.#record = record;
    this.#nonce = nonce;
  }

  /** Answers { format, text }. After an error nothing of the connection can be trusted. Throws OpenError, for whatever cause. */
  async open(bytes) {
    const { who, generation, session } = this.#record;
    const f = parseFrame(bytes);
    const ours = f.mode === SESSION && f.period === generation && f.batch === this.#next;
    if (!ours || (this.#sender && !equal(this.#sender, f.sealer))) throw new OpenError();
    if (!equal(await sha256(f.body), f.bodyHash)) throw new OpenError();
    const key = this.#key ?? (await deriveAES(session, concat('CRT-BE/1 session', f.sealer, who, this.#nonce)));
    const plain = await unseal(key, nonce(f.head, DOMAIN), concat(f.head.subarray(0, 44), who), f.body);
    const [format] = plain;
    if (format !== JSON_TEXT && format !== MSGPACK_TEXT) throw new OpenError();
    this.#sender ??= f.sealer.slice();
    this.#key = key;
    this.#next++;
    return { format, text: plain.subarray(1) };
  }
}
