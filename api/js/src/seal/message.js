// A message inside a seal (crt/SPEC.md section 6), as the object that wire.js
// makes of a plain one.

import { unpack } from './msgpack.js';

const ID_ORIGIN = Date.UTC(2026, 0, 1);
const TIME_SHIFT = 22n; // an ID's upper 42 bits are its time
const ELEMENTS = 8;
const MAX_ELEMENTS = 64; // newer servers may add some

/** Throws where the bytes are no message. */
export function toMessage(bytes, seq) {
  const m = unpack(bytes);
  if (!Array.isArray(m) || m.length === 0 || m.length > MAX_ELEMENTS) throw new Error('sunzi: not a message');
  const [id, delta, topic, data, ttl, priority, collapseKey, attachment] = m.slice(0, ELEMENTS).map((v) => v ?? undefined);
  if (!isInteger(id) || id < 0) throw new Error('sunzi: a message without id');
  const ts = ID_ORIGIN + Number(BigInt(id) >> TIME_SHIFT) + Number(want(delta, isInteger) ?? 0);
  want(ttl, isInteger);
  return {
    id: String(id),
    seq,
    ts,
    topic: want(topic, isString) ?? '',
    data: data instanceof Uint8Array ? data : plain(data ?? null),
    replayed: false,
    priority: Number(want(priority, isInteger) ?? 3),
    collapseKey: want(collapseKey, isString) ?? null,
    attachment: plain(want(attachment, isMap) ?? null),
    expires: ttl === undefined ? null : ts + Number(ttl),
  };
}

const isInteger = (v) => typeof v === 'bigint' || Number.isInteger(v);
const isString = (v) => typeof v === 'string';
const isMap = (v) => typeof v === 'object' && !Array.isArray(v) && !(v instanceof Uint8Array);

function want(v, is) {
  if (v !== undefined && !is(v)) throw new Error('sunzi: a member of the wrong type');
  return v;
}

// As JSON.parse would have it: every number a double, no bytes inside.
function plain(v) {
  if (typeof v === 'bigint') return Number(v);
  if (v instanceof Uint8Array) throw new Error('sunzi: bytes inside data');
  if (v === null || typeof v !== 'object') return v;
  for (const key of Object.keys(v)) Object.defineProperty(v, key, { value: plain(v[key]) });
  return v;
}
