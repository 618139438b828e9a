// Bytes, big endian throughout (crt/SPEC.md section 1).

const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'));
const utf8 = new TextEncoder();

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

export function toBigInt(b) {
  let hex = '0x';
  for (let i = 0; i < b.length; i++) hex += HEX[b[i]];
  return BigInt(hex);
}

/** The number in n bytes. */
export function fromBigInt(v, n) {
  const hex = v.toString(16).padStart(2 * n, '0');
  const b = new Uint8Array(n);
  for (let i = 0; i < n; i++) b[i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return b;
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
