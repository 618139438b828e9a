// Bytes, big endian throughout (crt/SPEC.md section 1).

const DIGITS = new TextEncoder().encode('0123456789abcdef');
const utf8 = new TextEncoder();
const ascii = new TextDecoder();

/** The one error of whatever does not open: telling causes apart would help those who try. */
export class OpenError extends Error {
  constructor() {
    super('sunzi: this does not open');
  }
}

export function concat(...parts) {
  const all = parts.map((p) => (typeof p === 'string' ? utf8.encode(p) : p));
  const out = new Uint8Array(all.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of all) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

export function u32(n) {
  const b = new Uint8Array(4);
  new DataView(b.buffer).setUint32(0, n);
  return b;
}

/** Equal bytes, in a time that depends on the lengths alone (as far as an engine lets us). */
export function equal(a, b) {
  if (a.length !== b.length) return false;
  let differ = 0;
  for (let i = 0; i < a.length; i++) differ |= a[i] ^ b[i];
  return differ === 0;
}

export function allZero(b) {
  let any = 0;
  for (const v of b) any |= v;
  return any === 0;
}

/** BigInt takes numbers as text alone. Digits made as bytes are twice as fast as strings joined, the remainder included. */
export function toBigInt(b) {
  const text = new Uint8Array(2 + 2 * b.length);
  text[0] = 0x30; // 0x
  text[1] = 0x78;
  for (let i = 0, at = 2; i < b.length; i++) {
    text[at++] = DIGITS[b[i] >> 4];
    text[at++] = DIGITS[b[i] & 15];
  }
  return BigInt(ascii.decode(text));
}

/** The number in n bytes. */
export function fromBigInt(v, n) {
  const hex = v.toString(16).padStart(2 * n, '0');
  const b = new Uint8Array(n);
  for (let i = 0; i < n; i++) b[i] = (digit(hex, 2 * i) << 4) | digit(hex, 2 * i + 1);
  return b;
}

function digit(hex, at) {
  const c = hex.charCodeAt(at);
  return c < 58 ? c - 48 : c - 87; // 0-9, a-f
}

export function toBase64url(b) {
  let s = '';
  for (const v of b) s += String.fromCharCode(v);
  return btoa(s).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
}

/**
 * A frame that travelled as text: base64 of either alphabet, padded, not padded
 * or padded with too little, among characters that do not belong there
 * (section 5.6).
 */
export function decodeText(text) {
  const clean = text
    .replace(/[^\x21-\x7e]|=/g, '')
    .replace(/-/g, '+')
    .replace(/_/g, '/');
  if (clean.length % 4 === 1) throw new Error('sunzi: this is not base64');
  const s = atob(clean); // throws on what is in neither alphabet
  const b = new Uint8Array(s.length);
  for (let i = 0; i < s.length; i++) b[i] = s.charCodeAt(i);
  return b;
}
