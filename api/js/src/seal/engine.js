// The engine holds one client's keys and does all that costs: remainders and
// cryptography. It knows neither socket nor store: what is to be kept it answers
// as put and remove, records for whoever called. It runs in a worker where there
// is one (see port.js); its methods are called one after the other, in order.

import { equal, OpenError } from './bytes.js';
import { MODES, SESSION } from './frame.js';
import { AEAD, Handshake } from './handshake.js';
import { MAX_STEPS, nameHash } from './keys.js';
import { toMessage } from './message.js';
import { Keys, Ring } from './ring.js';
import { Receiver } from './session.js';
import { JSON_TEXT, Sender } from './up.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export class Engine {
  #who;
  #link; // { mode, server, nonce, session } of this connection
  #ring = new Ring();
  #handshake = null;
  #sender = null;
  #receiver = null; // of what is sealed for this connection alone
  #told = 0; // the generation of that
  #marks = []; // { seq, under }: the first place that was opened under these keys
  #brought = new Map(); // channel -> the epoch whose secret came last on this connection
  #replayed = false;
  #vain = 0; // key periods stepped on this connection for frames that did not open
  #maxVain;

  constructor(maxVain = MAX_STEPS) {
    this.#maxVain = maxVain;
  }

  /**
   * Begins a connection with the records kept of the client; others are passed
   * over. What is sealed for the connection is so under the newest generation
   * that the server names, or later ones. Keys without one for sessions are of no
   * use. The link is its mode, the server's key, the nonce that hello said, and the
   * session that welcome named. Answers the generations that are the client's.
   */
  async begin({ realm, id, records, newest, ...link }) {
    this.#who = await nameHash(realm, id);
    this.#link = link;
    this.#ring = new Ring();
    this.#handshake = this.#sender = null;
    this.#marks = [];
    this.#brought.clear();
    this.#replayed = false;
    this.#vain = 0;
    for (const r of records) {
      if (!equal(r.who, this.#who) || (r.kind === 'keys' && !r.session)) continue;
      if (r.kind === 'keys') this.#ring.add(new Keys(r));
      else this.#ring.addChannel(r);
    }
    this.#told = newest;
    this.#receiver = this.#receiverOf(newest);
    return this.#ring.keys.map((k) => k.generation);
  }

  /** Answers SEAL_HELLO of a new handshake. */
  hello() {
    this.#handshake = new Handshake(this.#link.mode, this.#link.server);
    return this.#handshake.hello(this.#who);
  }

  /** Takes SEAL_WELCOME: { generation, confirm, put, remove }. The records are to be kept before confirm is sent. */
  async finish(welcome, now) {
    const { grant, chain, up, session, confirm } = await this.#handshake.finish(welcome);
    const record = { kind: 'keys', who: this.#who, mode: this.#link.mode, made: now, chain, up, session, begins: grant.period, ...grant };
    const given = this.#ring.add(new Keys(record));
    return { generation: grant.generation, confirm, put: [record], remove: given.map((k) => k.record) };
  }

  /**
   * Opens one binary message: { failed, costly }, or { mode, seq, cover, channel,
   * message, put, remove }, or { told } for what was sealed for this connection
   * alone: the text of a message of the protocol, or null for what ends the
   * connection. Costly says that failed ones have made more steps than a connection
   * may (crt/SPEC.md section 4). seq is null for what has no place. A frame that
   * opens and holds no message has a seq and no message.
   */
  async open(bytes) {
    if (bytes[1] === 0x42 && bytes[3] === SESSION) return this.#toldOf(bytes);
    let o;
    const before = this.#ring.steps;
    try {
      o = await this.#ring.open(bytes);
    } catch (error) {
      if (!(error instanceof OpenError)) throw error;
      this.#vain += this.#ring.steps - before;
      return { failed: true, costly: this.#vain > this.#maxVain };
    }
    const opened = { mode: o.mode, seq: o.seq || null, cover: !o.message && !o.channel, message: null, channel: null };
    if (o.channel) {
      const record = { kind: 'channel', who: this.#who, ...o.channel };
      this.#brought.set(record.channel, record.epoch);
      const remove = [...this.#ring.addChannel(record), ...(this.#replayed ? this.#ring.keepChannels(this.#brought) : [])];
      return { ...opened, channel: o.channel.name, put: [record], remove };
    }
    if (o.seq && o.under.generation !== undefined) this.#mark(o.seq, o.under);
    if (o.message) opened.message = read(o.message, opened.seq);
    return opened;
  }

  // A frame under newer keys than before is the first after their handshake; one
  // under earlier keys does not come after that (crt/SPEC.md section 5.7).
  async #toldOf(bytes) {
    const generation = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(12);
    try {
      const receiver = generation > this.#told ? this.#receiverOf(generation) : this.#receiver;
      const { format, text } = await receiver.open(bytes);
      if (format !== JSON_TEXT) throw new OpenError();
      this.#receiver = receiver;
      this.#told = generation;
      return { mode: MODES[SESSION], told: utf8.decode(text) };
    } catch {
      return { mode: MODES[SESSION], told: null };
    }
  }

  #receiverOf(generation) {
    const keys = this.#ring.keys.find((k) => k.generation === generation);
    return keys ? new Receiver(keys.record, this.#link.nonce) : null;
  }

  #mark(seq, under) {
    const same = (m) => m.under.generation === under.generation && m.under.period === under.period;
    if (!this.#marks.some(same)) this.#marks.push({ seq, under });
  }

  /**
   * Everything up to seq is acked. A mailbox is in the order of the commits, so
   * once a place is acked that was sealed under some keys, nothing under earlier
   * ones is left, and they are forgotten: { put, remove }.
   */
  async acked(seq) {
    const put = [];
    const remove = [];
    const done = this.#marks.filter((m) => m.seq <= seq);
    for (const { under } of done) await this.#forget(under, put, remove);
    // Kept, as the sign that it is forgotten already: what is newest.
    this.#marks = this.#marks.filter((m) => !done.includes(m) || done.at(-1) === m);
    return { put, remove };
  }

  /**
   * The replay is over: of channels' secrets only those that came last on this
   * connection are needed, since the server brings any other again before a
   * message that needs it (api/wire/SPEC.md section 9): { remove }.
   */
  replayed() {
    this.#replayed = true;
    return { remove: this.#ring.keepChannels(this.#brought) };
  }

  async #forget({ generation, period }, put, remove) {
    remove.push(...this.#ring.retire(generation).map((k) => k.record));
    const keys = this.#ring.keys.find((k) => k.generation === generation);
    if (!keys || period <= keys.chain.period) return;
    await keys.forget(period);
    put.push(keys.record);
  }

  /** Begins to seal what is sent, under a generation of mode aead. */
  async sender(generation) {
    const keys = this.#ring.keys.find((k) => k.generation === generation && k.record.mode === AEAD);
    this.#sender = await Sender.make(keys.record, this.#link.session);
  }

  seal(text) {
    return this.#sender.seal(text);
  }
}

function read(bytes, seq) {
  try {
    return toMessage(bytes, seq);
  } catch {
    return null;
  }
}
