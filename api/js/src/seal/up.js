// What a client of mode aead sends, sealed (crt/SPEC.md section 5.6).

import { concat, u32 } from './bytes.js';
import { TAG, UP } from './frame.js';
import { deriveAES, seal, sha256 } from './keys.js';

const DOMAIN = 4;
export const JSON_TEXT = 1;

/** Seals one connection's messages, in order. */
export class Sender {
  #who;
  #period;
  #key;
  #sender;
  #batch = 0n;

  /**
   * The record of a generation of mode aead: its up key, and the period at which it
   * begins. session is the server's name of the connection. made is for tests: the
   * sender's name.
   */
  static async make({ who, up, begins }, session, made) {
    const s = new Sender();
    s.#who = who;
    s.#period = begins;
    s.#sender = made ?? crypto.getRandomValues(new Uint8Array(8));
    const info = concat('CRT-BE/1 up', s.#sender, s.#who, session);
    s.#key = await deriveAES(up, info, undefined, ['encrypt']);
    return s;
  }

  async seal(text, format = JSON_TEXT) {
    const batch = new Uint8Array(8);
    new DataView(batch.buffer).setBigUint64(0, this.#batch++); // taken before anything can fail: never twice
    const plain = concat(Uint8Array.of(format), text);
    const head = concat(
      Uint8Array.of(0x43, 0x42, 1, UP), new Uint8Array(8), u32(this.#period), batch, this.#sender,
      new Uint8Array(8), u32(plain.length + TAG),
    );
    const nonce = concat(batch, Uint8Array.of(0, 0, 0, DOMAIN));
    const body = await seal(this.#key, nonce, concat(head, this.#who), plain);
    return concat(head, await sha256(body), body);
  }
}
