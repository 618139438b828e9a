// A client's modulus, its residue of x, and the text in it (crt/SPEC.md
// sections 2 and 5.1).

import { fromBigInt, OpenError, toBigInt } from './bytes.js';
import { DIRECT, ENVELOPE, REKEY, TAG, view } from './frame.js';

export const COVER = 0;
export const INLINE = 1;
export const ENVELOPE_KEY = 2;
export const REKEY_SECRET = 3;

/** m = 2^L − c of c, L/16 bytes; throws where c is no such number. */
export function modulus(c) {
  if (!(c[0] & 0x80) || !(c[c.length - 1] & 1)) throw new OpenError();
  return (1n << BigInt(16 * c.length)) - toBigInt(c);
}

/**
 * x mod m, in n bytes. One remainder: streaming Horner costs three to ten times
 * that. BigInt takes a time that depends on its values, so m may leak: it is a
 * second line only (sections 6 and 8).
 */
export const residue = (x, m, n) => fromBigInt(toBigInt(x) % m, n);

/** Takes a slot's text apart: { type, seq, data }. */
export function parseSlot(text, mode) {
  let end = text.length - 1;
  while (end > 9 && text[end] === 0) end--;
  if (text[end] !== 0x80) throw new OpenError();
  const slot = { type: text[0], seq: view(text).getBigUint64(1), data: text.subarray(9, end) };
  if (!fits(slot, mode, text.length + TAG - 26)) throw new OpenError();
  return slot;
}

function fits({ type, seq, data }, mode, most) {
  switch (type) {
    case COVER:
      return seq === 0n && data.length === 0;
    case INLINE:
      return mode === DIRECT && seq > 0n && data.length <= most;
    case ENVELOPE_KEY:
      return mode === ENVELOPE && seq > 0n && data.length === 32;
    case REKEY_SECRET:
      return mode === REKEY && seq === 0n && data.length === 32;
  }
  return false;
}
