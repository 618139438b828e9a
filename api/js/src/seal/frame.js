// Frames taken apart (crt/SPEC.md section 5): everything that needs no key is
// checked here, lengths first, and nothing is copied. What is announced is never
// allocated: parts are views of what came.

import { OpenError } from './bytes.js';

export const HEADER = 76;
export const PREFIX = 10;
export const MAX_SLOTS = 1024;
export const MAX_X = 64 << 10;
export const MAX_BODY = (16 << 20) + (4 << 10);
export const TAG = 16;

export const DIRECT = 1;
export const ENVELOPE = 2;
export const REKEY = 3;
export const CHANNEL = 4;
export const DOWN = 5;
export const UP = 6;
export const SESSION = 7;
export const MODES = ['', 'direct', 'envelope', 'rekey', 'channel', 'down', 'up', 'session'];

/** Whether moduli may have so many bytes (section 1.2). */
export const isWidth = (bytes) => bytes === 64 || bytes === 128 || bytes === 256;

/** Whether a shard may have so many slots of so many bytes. */
export const isShard = (slots, bytes) => slots > 0 && slots <= MAX_SLOTS && isWidth(bytes) && slots * bytes <= MAX_X;

/** A binary message's frame, and the sequence before it: { seq, frame }, seq null where there is none. */
export function cutPrefix(b) {
  if (b[0] !== 0x43 || b[1] !== 0x50) return { seq: null, frame: b };
  if (b.length < PREFIX + HEADER) throw new OpenError();
  const seq = view(b).getBigUint64(2);
  const frame = b.subarray(PREFIX);
  if (seq === 0n || frame[3] !== CHANNEL) throw new OpenError();
  return { seq, frame };
}

/** The header and the parts of a frame; throws OpenError. The body's hash is checked by whoever opens. */
export function parseFrame(b) {
  if (b.length < HEADER || b[0] !== 0x43 || b[1] !== 0x42 || b[2] !== 1) throw new OpenError();
  const d = view(b);
  const f = {
    mode: b[3],
    shard: d.getBigUint64(4),
    period: d.getUint32(12),
    batch: d.getBigUint64(16),
    sealer: b.subarray(24, 32),
    slots: d.getUint16(32),
    slotBytes: d.getUint16(34),
    bodyHash: b.subarray(44, HEADER),
    head: b.subarray(0, HEADER),
  };
  const bodyLength = d.getUint32(40);
  const x = f.slots * f.slotBytes;
  if (!sound(f, bodyLength) || d.getUint16(38) !== 0 || b.length !== HEADER + x + bodyLength) throw new OpenError();
  f.x = b.subarray(HEADER, HEADER + x);
  f.body = b.subarray(HEADER + x);
  return f;
}

/** Whether frames of the mode have an x. */
export const slotted = (mode) => mode >= DIRECT && mode <= REKEY;

function sound({ mode, slots, slotBytes }, bodyLength) {
  if (mode < DIRECT || mode > SESSION || bodyLength > MAX_BODY) return false;
  if (slotted(mode) ? !isShard(slots, slotBytes) : slots !== 0 || slotBytes !== 0) return false;
  return mode === DIRECT ? bodyLength === 0 : bodyLength >= TAG;
}

/** batch || lane || domain (section 4), out of a header. */
export function nonce(head, domain) {
  const n = new Uint8Array(12);
  n.set(head.subarray(16, 24));
  n.set(head.subarray(36, 38), 8);
  n[11] = domain;
  return n;
}

export const view = (b) => new DataView(b.buffer, b.byteOffset, b.byteLength);
