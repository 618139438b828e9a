// Everything that a client can open with: its keys by generation, newest first,
// and the channel secrets that it was brought (crt/SPEC.md section 5).

import { concat, equal, fromBigInt, OpenError, toBase64url } from './bytes.js';
import { CHANNEL, cutPrefix, DOWN, ENVELOPE, MODES, nonce, parseFrame, REKEY, slotted, view } from './frame.js';
import { baseKey, bodyKey, Cache, Chain, deriveAES, sha256, unseal, zeroNonce } from './keys.js';
import { COVER, ENVELOPE_KEY, INLINE, modulus, parseSlot, residue } from './slot.js';
import { AEAD } from './handshake.js';

export const MAX_GENERATIONS = 8;
const MAX_EPOCHS = 1024;
const MAX_NAME = 1024; // bytes of a group's name in a rekey body
const READY = 64; // derived keys kept, of each kind
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

const [SLOT_NONCE, CHANNEL_NONCE, DOWN_NONCE] = [1, 2, 3];

/** One generation of a client's keys, made of its record (see store.js). */
export class Keys {
  #m = null; // the modulus; of mode aead there is none
  #mHash = null;
  #ready = new Cache(READY); // of slots, or of mode down

  constructor(record) {
    this.record = record;
    this.chain = new Chain(record.period, record.chain);
    if (record.mode !== AEAD) this.#m = modulus(record.c);
  }

  get generation() {
    return this.record.generation;
  }

  async forget(before) {
    await this.chain.forget(before);
    this.#ready.drop((name) => Number(name.split(' ')[0]) < before);
    this.record = { ...this.record, period: this.chain.period, chain: this.chain.key };
  }

  /** The text of the client's slot. */
  async openSlot(f) {
    const { who, shard, slots, slotBytes } = this.record;
    if (!this.#m || f.shard !== shard || f.slots !== slots || f.slotBytes !== slotBytes) throw new OpenError();
    const b = residue(f.x, this.#m, slotBytes);
    const text = await this.#with(f, 'slot', (key) => unseal(key, nonce(f.head, SLOT_NONCE), concat(f.head, who), b));
    return parseSlot(text, f.mode);
  }

  /** The text of a frame of mode down, after its sequence: { seq, message }. */
  async openDown(f) {
    if (this.#m) throw new OpenError();
    const aad = concat(f.head.subarray(0, 44), this.record.who);
    const text = await this.#with(f, 'down', (key) => unseal(key, nonce(f.head, DOWN_NONCE), aad, f.body));
    if (text.length < 8) throw new OpenError();
    return { seq: view(text).getBigUint64(0), message: text.subarray(8) };
  }

  #with(f, kind, use) {
    const make = async () => {
      const info = [`CRT-BE/1 ${kind}`, f.sealer, this.record.who];
      if (this.#m) info.push((this.#mHash ??= await sha256(fromBigInt(this.#m, this.record.slotBytes))));
      return deriveAES(await this.chain.at(f.period), concat(...info));
    };
    return this.#ready.with(`${f.period} ${toBase64url(f.sealer)}`, make, use);
  }
}

export class Ring {
  #keys = []; // newest first
  #channels = new Map(); // "channel epoch" -> record, oldest first
  #ready = new Cache(READY);

  get keys() {
    return this.#keys;
  }

  /** Adds a generation; answers those given up for it. */
  add(keys) {
    const { generation } = keys;
    this.#keys = [keys, ...this.#keys.filter((k) => k.generation !== generation)].sort((a, b) => b.generation - a.generation);
    return this.#keys.splice(MAX_GENERATIONS);
  }

  /** Key periods stepped so far, for whatever frame. */
  get steps() {
    return this.#keys.reduce((n, k) => n + k.chain.steps, 0);
  }

  /** Adds a channel's secret; answers those given up for it. */
  addChannel(record) {
    const name = `${record.channel} ${record.epoch}`;
    this.#channels.delete(name);
    this.#channels.set(name, record);
    if (this.#channels.size <= MAX_EPOCHS) return [];
    const [oldest, given] = this.#channels.entries().next().value;
    this.#channels.delete(oldest);
    return [given];
  }

  /** Forgets the generations before one; answers them. */
  retire(generation) {
    const old = this.#keys.filter((k) => k.generation < generation);
    this.#keys = this.#keys.filter((k) => k.generation >= generation);
    return old;
  }

  /** Forgets all secrets but those of these epochs, by channel; answers them. */
  keepChannels(epochs) {
    const old = [...this.#channels.values()].filter((r) => epochs.get(r.channel) !== r.epoch);
    for (const r of old) this.#channels.delete(`${r.channel} ${r.epoch}`);
    this.#ready.drop((name) => old.some((r) => name.startsWith(`${r.channel} ${r.epoch} `)));
    return old;
  }

  /**
   * Opens one binary message: { mode, seq, message, channel, under }. A cover has
   * neither message nor channel; channel is the record of a rekey frame's secret,
   * which the ring does not take by itself; under says which keys opened it.
   * Throws OpenError, for whatever cause.
   */
  async open(b) {
    const { seq, frame } = cutPrefix(b);
    const f = parseFrame(frame);
    // A body's hash keeps a neighbour, who may know its key, from giving us another one.
    if (!equal(await bodyHash(f.body), f.bodyHash)) throw new OpenError();
    const opened = f.mode === CHANNEL ? await this.#openChannel(f, seq) : await this.#openOurs(f);
    return { mode: MODES[f.mode], ...opened };
  }

  async #openChannel(f, seq) {
    const r = this.#channels.get(`${f.shard} ${f.period}`);
    if (!r) throw new OpenError();
    const make = () => deriveAES(r.secret, concat('CRT-BE/1 channel', f.sealer));
    const use = (key) => unseal(key, nonce(f.head, CHANNEL_NONCE), f.head.subarray(0, 44), f.body);
    const message = await this.#ready.with(`${f.shard} ${f.period} ${toBase64url(f.sealer)}`, make, use);
    return { seq, message, under: { channel: f.shard, epoch: f.period } };
  }

  async #openOurs(f) {
    for (const k of this.#keys) {
      try {
        const under = { generation: k.generation, period: f.period };
        if (f.mode === DOWN) return { ...(await k.openDown(f)), under };
        if (slotted(f.mode)) return { ...(await openSlotted(k, f)), under };
      } catch (error) {
        if (!(error instanceof OpenError)) throw error;
      }
    }
    throw new OpenError();
  }
}

async function openSlotted(k, f) {
  const { type, seq, data } = await k.openSlot(f);
  if (type === COVER) return { seq: 0n };
  if (type === INLINE) return { seq, message: data };
  if (type === ENVELOPE_KEY) {
    const message = await unseal(await bodyKey(data), zeroNonce(), aad(ENVELOPE), f.body);
    return { seq, message };
  }
  return { seq: 0n, channel: await openRekey(data, f.body) };
}

async function openRekey(data, body) {
  const secret = await baseKey(data);
  const key = await deriveAES(secret, 'CRT-BE/1 rekey');
  const text = await unseal(key, zeroNonce(), aad(REKEY), body);
  if (text.length < 12 || text.length > 12 + MAX_NAME) throw new OpenError();
  const d = view(text);
  return { channel: d.getBigUint64(0), epoch: d.getUint32(8), name: decodeName(text.subarray(12)), secret };
}

function decodeName(b) {
  try {
    return utf8.decode(b);
  } catch {
    throw new OpenError();
  }
}

const aad = (mode) => Uint8Array.of(0x43, 0x42, 1, mode);

const bodyHash = async (body) => (body.length === 0 ? (noBody ??= await sha256(body)) : sha256(body));
let noBody;
