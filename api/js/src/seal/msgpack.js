// A strict MessagePack reader for what is inside a seal (api/wire/SPEC.md
// section 5.2): one value, nothing after it. A length is believed only as far as
// there are bytes for it, so nothing is reserved for a lie.

import { view } from './frame.js';

const MAX_DEPTH = 130; // section 10's 128 for data, inside the message's array
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads one value; integers are bigint beyond 2^53. bin is Uint8Array. Throws on anything else. */
export function unpack(bytes) {
  const r = new Reader(bytes);
  const value = r.value(0);
  if (r.at !== bytes.length) throw bad('bytes after the value');
  return value;
}

const bad = (why) => new Error(`sunzi: msgpack: ${why}`);

class Reader {
  at = 0;
  #bytes;
  #view;

  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = view(bytes);
  }

  value(depth) {
    if (depth > MAX_DEPTH) throw bad('too deep');
    const t = this.#uint(1);
    if (t <= 0x7f) return t;
    if (t <= 0x8f) return this.#map(t & 15, depth);
    if (t <= 0x9f) return this.#array(t & 15, depth);
    if (t <= 0xbf) return this.#str(t & 31);
    if (t >= 0xe0) return t - 256;
    switch (t) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.#take(this.#uint(1 << (t - 0xc4))).slice();
      case 0xca: return this.#number('getFloat32', 4);
      case 0xcb: return this.#number('getFloat64', 8);
      case 0xcc: case 0xcd: case 0xce: return this.#uint(1 << (t - 0xcc));
      case 0xcf: return narrow(this.#number('getBigUint64', 8));
      case 0xd0: return this.#number('getInt8', 1);
      case 0xd1: return this.#number('getInt16', 2);
      case 0xd2: return this.#number('getInt32', 4);
      case 0xd3: return narrow(this.#number('getBigInt64', 8));
      case 0xd9: case 0xda: case 0xdb: return this.#str(this.#uint(1 << (t - 0xd9)));
      case 0xdc: case 0xdd: return this.#array(this.#uint(2 << (t - 0xdc)), depth);
      case 0xde: case 0xdf: return this.#map(this.#uint(2 << (t - 0xde)), depth);
    }
    throw bad('a type that has no meaning here');
  }

  #take(n) {
    if (n > this.#bytes.length - this.at) throw bad('truncated');
    this.at += n;
    return this.#bytes.subarray(this.at - n, this.at);
  }

  #uint(n) {
    let v = 0;
    for (const b of this.#take(n)) v = v * 256 + b;
    return v;
  }

  #number(get, n) {
    this.#take(n);
    return this.#view[get](this.at - n);
  }

  #str(n) {
    return utf8.decode(this.#take(n));
  }

  #array(n, depth) {
    if (n > this.#bytes.length - this.at) throw bad('truncated');
    const list = [];
    while (list.length < n) list.push(this.value(depth + 1));
    return list;
  }

  #map(n, depth) {
    if (2 * n > this.#bytes.length - this.at) throw bad('truncated');
    const map = {};
    for (let i = 0; i < n; i++) {
      const key = this.value(depth + 1);
      if (typeof key !== 'string') throw bad('a key that is no string');
      // Defined, not set: as JSON.parse does, so that __proto__ is a key like others.
      const own = { value: this.value(depth + 1), writable: true, enumerable: true, configurable: true };
      Object.defineProperty(map, key, own);
    }
    return map;
  }
}

const narrow = (v) => (Number.isSafeInteger(Number(v)) ? Number(v) : v);
