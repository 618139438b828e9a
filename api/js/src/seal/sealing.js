// Sealing, the page's side of it: what api/wire/SPEC.md section 9 asks of one
// connection after the other. The engine (see port.js) opens and seals; this
// keeps its records, makes handshakes, and refuses whatever is not sealed by the
// server that was pinned.

import { Timer } from '../platform.js';
import { decodeText, equal, toBase64url } from './bytes.js';
import { AEAD, CRT } from './handshake.js';
import { connect } from './port.js';
import { MAX_GENERATIONS } from './ring.js';
import { indexedDBKeys, memoryKeys, recordName } from './store.js';

const HANDSHAKE_MS = 10_000;
const NONCE_BYTES = 16;
// A server waits a second for hello, and then serves as if there were none
// (api/wire/SPEC.md section 4.1): what it does not offer then says nothing.
const HELLO_WAIT_MS = 800;
const RETRY_MS = 3_600_000; // after a handshake that was refused, where the keys are good still
const RENEW_MS = 24 * 3_600_000; // heals keys that were stolen without being noticed (crt/SPEC.md section 3)
const CONTENT = ['message', 'gap', 'tombstone', 'member_joined', 'member_left', 'typing']; // never in clear
const IN_CLEAR = ['hello', 'seal_hello', 'seal_confirm'];

/** A reason to give up: going on would be less safe than was asked for. */
function refusal(why) {
  return Object.assign(new Error(`sunzi: ${why}`), { final: true });
}

export class Sealing {
  #platform;
  #options; // { mode, server, keys, allowPlain, up, url }
  #hooks; // { cursor(key), send(m), take(item), decode(text), unopened(), drop(why, error), fail(error), emit(event, detail), trouble(error) }
  #store;
  #key = null; // whose records are loaded
  #records = [];
  #opening = null; // the promise of the port
  #port = null;
  #begun = null;
  #active = false; // the server seals for us on this connection
  #replaying = true;
  #asked = false; // a handshake waits for seal_welcome
  #shaking = false; // it waits for that, or for sealed
  #usable = false; // the newest keys are held, and the server knows
  #up = false;
  #stated = false; // hello said which keys are held
  #nonce = null; // of hello: what is sealed for the connection opens on no other
  #timer; // of the handshake under way, or until the next one
  #status = { generation: 0, opened: 0, covers: 0, decryptFailed: 0 };

  constructor(platform, options, hooks) {
    this.#platform = platform;
    this.#options = options;
    this.#hooks = hooks;
    this.#timer = new Timer(platform);
    const { keys } = options;
    if (keys === 'memory') this.#store = memoryKeys();
    else if (keys === 'indexeddb') this.#store = indexedDBKeys(platform.indexedDB, hooks.trouble);
    else this.#store = keys;
  }

  get status() {
    return { ...this.#status };
  }

  /**
   * What hello says. Where the application has not said who we are, the token
   * does, for the cursor as well: what it covers would be told as lost where the
   * keys of it are gone.
   */
  async hello(identity, token, keyOf) {
    const who = identity.client === null ? subject(token) : identity;
    await this.#load(who && keyOf(who));
    const held = this.#keys().map((r) => r.generation).sort((a, b) => b - a).slice(0, MAX_GENERATIONS);
    // An empty list says that there are none. Nothing is said while nobody knows whose to name.
    this.#stated = who !== null;
    const position = identity.client === null && who ? await this.#position(keyOf(who)) : {};
    this.#nonce = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
    return { seal: this.#options.mode, ...(who && { seal_held: held }), seal_nonce: toBase64url(this.#nonce), ...position };
  }

  async #position(key) {
    try {
      const at = await this.#hooks.cursor(key);
      return at ? { cursor: String(at.seq), incarnation: at.incarnation } : {};
    } catch (error) {
      this.#hooks.trouble(error);
      return {};
    }
  }

  async #load(key) {
    this.#key = key;
    const all = key === null ? [] : [...(await this.#store.load(key))];
    // Keys that were kept before there was one for sessions open nothing that a connection needs.
    this.#records = all.filter((r) => r.kind !== 'keys' || r.session);
    for (const r of all) if (!this.#records.includes(r)) await this.#store.remove(key, recordName(r));
  }

  /** On welcome, so many ms after hello, before anything else of the connection. Throws where it is refused. */
  begin(key, welcome, waited) {
    this.#begun = this.#begin(key, welcome, waited);
    return this.#begun;
  }

  async #begin(key, welcome, waited) {
    const { mode, server, allowPlain } = this.#options;
    this.#active = welcome.seal === mode;
    this.#replaying = true;
    if (welcome.seal_key !== undefined && !sameKey(welcome.seal_key, server)) {
      throw refusal('the server has another identity key than the one that is pinned');
    }
    if (!this.#active && !allowPlain) {
      const error = refusal(`the server does not seal for us (${mode})`);
      error.final = welcome.seal !== undefined || waited < HELLO_WAIT_MS;
      throw error;
    }
    if (this.#active && welcome.seal_key === undefined) throw refusal('the server does not name its identity key');
    if (this.#key !== key) {
      const named = this.#keys().length > 0;
      await this.#load(key);
      if (named) throw new Error('sunzi: the keys of another client were named'); // the next hello knows better
    }
    await (this.#opening ??= this.#connect());
    const { realm = '', client_id: id, session, seal_generation: newest = 0 } = welcome;
    const call = { realm, id, mode: modeNumber(mode), server, records: this.#records, newest, nonce: this.#nonce, session };
    const ours = await this.#port.call('begin', call);
    this.#records = this.#records.filter((r) => r.kind !== 'keys' || ours.includes(r.generation));
  }

  async #connect() {
    const port = await connect(this.#platform, this.#options.url, (error) => {
      this.#opening = this.#port = null; // what is sent from here on fails, see seal
      this.#hooks.drop(error.message, error);
    });
    if (this.#opening) this.#port = port;
    else port.close(); // closed meanwhile
  }

  /** The connection stands: makes a handshake where the server's newest keys are not held, or it was not told that they are. */
  connected({ seal_generation: newest = 0 }) {
    if (!this.#active) return;
    const held = this.#keys().find((r) => r.generation === newest && r.mode === modeNumber(this.#options.mode));
    if (!held || !this.#stated) return this.#handshake();
    this.#use(held);
  }

  #use(record) {
    this.#usable = true;
    this.#shaking = false;
    this.#status.generation = record.generation;
    this.#timer.set(Math.max(0, record.made + RENEW_MS - this.#platform.now()), () => this.#handshake());
    if (record.mode === AEAD && this.#options.up && !this.#up) this.#sender(record);
  }

  async #handshake() {
    this.#timer.set(HANDSHAKE_MS, () => this.#hooks.drop('no sealing keys in time'));
    this.#asked = this.#shaking = true;
    await this.#guard(async (port) => {
      const hello = await port.call('hello');
      if (this.#port === port) this.#hooks.send({ type: 'seal_hello', data: toBase64url(hello) });
    });
  }

  /** An error, which is taken for the answer to a handshake where one is under way. */
  refused() {
    if (!this.#shaking) return;
    this.#asked = this.#shaking = false;
    if (this.#usable) this.#timer.set(RETRY_MS, () => this.#handshake());
    else this.#hooks.drop('the handshake was refused');
  }

  /** seal_welcome, or sealed. */
  async message(m) {
    if (!this.#active) return;
    if (m.type === 'sealed') this.#done(m.generation);
    else if (this.#asked) await this.#guard((port) => this.#confirm(port, m.data));
  }

  async #confirm(port, data) {
    let done;
    this.#asked = false;
    try {
      done = await port.call('finish', decodeText(data), this.#platform.now());
    } catch (error) {
      this.#hooks.fail(Object.assign(error, { final: true })); // whoever answered does not hold the pinned key
      return;
    }
    const begun = this.#begun;
    await this.#keep(done);
    if (this.#begun !== begun) return; // the connection has ended meanwhile
    this.#hooks.send({ type: 'seal_confirm', data: toBase64url(done.confirm) });
    // From here on the server reads what we send under the new keys.
    const [record] = done.put;
    if (record.mode === AEAD && this.#options.up) this.#sender(record);
  }

  #sender(record) {
    this.#up = true;
    this.#port.call('sender', record.generation).catch((error) => this.#hooks.drop(error.message, error));
  }

  #done(generation) {
    const record = this.#keys().find((r) => r.generation === generation);
    if (!record) return;
    this.#use(record);
    this.#hooks.emit('keys', { generation });
  }

  /** Opens a binary message; answers what deliver takes, in the order of the calls. */
  async open(data) {
    const bytes = new Uint8Array(data);
    if (bytes[0] !== 0x43 || (bytes[1] !== 0x42 && bytes[1] !== 0x50)) return null; // no frame: not for us
    await this.#begun;
    if (!this.#begun) return null;
    const opened = await this.#port.call('open', bytes);
    if (opened.channel && opened.put) await this.#keep(opened); // before what is sealed under it is handled
    return { ...opened, bytes };
  }

  deliver(opened) {
    if (!opened) return;
    if (opened.told !== undefined) return this.#told(opened);
    const { bytes, failed = false, cover = false, seq: place = null, mode = null, channel: group = null, message } = opened;
    this.#count(opened);
    this.#hooks.emit('sealed', { bytes, place, cover, failed, mode, group });
    if (opened.costly) return this.#hooks.drop('frames that do not open cost too much');
    if (failed) return this.#hooks.unopened();
    if (message) {
      Object.assign(message, { replayed: place !== null && this.#replaying, sealed: true });
      this.#hooks.take({ type: 'message', id: message.id, seq: place, message });
    } else if (place !== null) {
      this.#hooks.take({ type: 'lost', seq: place, from: place, to: place }); // opened, and no message of ours
    }
  }

  // What was sealed for this connection alone. One that is not the next ends it.
  #told({ bytes, told, mode }) {
    const failed = told === null;
    const m = failed ? null : this.#content(told);
    const place = m?.type === 'message' ? m.seq : null;
    this.#count({ failed });
    this.#hooks.emit('sealed', { bytes, place, cover: false, failed, mode: failed ? null : mode, group: null });
    if (!m) return this.#hooks.drop('a session frame that does not open, or not in this place');
    if (m.type === 'message') m.message.sealed = true;
    this.#hooks.take(m);
  }

  // The message in the text; null for what is none, or does not come so.
  #content(text) {
    try {
      const m = this.#hooks.decode(text);
      return CONTENT.includes(m.type) ? m : null;
    } catch {
      return null;
    }
  }

  #count({ failed, cover }) {
    if (failed) this.#status.decryptFailed++;
    else this.#status.opened++;
    if (cover) this.#status.covers++;
  }

  /** Looks at what came in clear, before it is taken. Answers whether it may be. */
  admits(m) {
    if (m.type === 'replay_complete') {
      this.#replaying = false;
      this.#forget('replayed');
    }
    return !CONTENT.includes(m.type) || (this.#begun !== null && !this.#active); // before welcome as well
  }

  /** Everything up to seq is acked: earlier keys may go. */
  acked(seq) {
    this.#forget('acked', seq);
  }

  #forget(...call) {
    if (!this.#begun || !this.#port) return;
    const begun = this.#begun; // a store that fails stops no delivery: keys are only kept for longer
    this.#port.call(...call).then((o) => this.#keep(o)).catch((error) => this.#begun === begun && this.#hooks.trouble(error));
  }

  /** What is sent instead of the text, or undefined: the text itself. */
  seal(type, text) {
    if (!this.#up || IN_CLEAR.includes(type)) return undefined;
    return this.#port?.call('seal', text) ?? Promise.reject(new Error('sunzi: the sealing worker died'));
  }

  /** The connection has ended. */
  disconnect() {
    this.#timer.clear();
    this.#begun = null;
    this.#active = this.#asked = this.#shaking = this.#usable = this.#up = false;
  }

  close() {
    this.disconnect();
    this.#port?.close();
    this.#opening = this.#port = null;
  }

  #keys() {
    return this.#records.filter((r) => r.kind === 'keys');
  }

  async #keep({ put = [], remove = [] }) {
    const key = this.#key;
    const names = [...put, ...remove].map(recordName);
    this.#records = [...this.#records.filter((r) => !names.includes(recordName(r))), ...put];
    for (const r of put) await this.#store.put(key, recordName(r), r);
    for (const r of remove) await this.#store.remove(key, recordName(r));
  }

  async #guard(work) {
    const begun = this.#begun;
    const port = this.#port;
    try {
      if (port) await work(port);
    } catch (error) {
      if (this.#begun === begun) this.#hooks.drop(error.message, error);
    }
  }
}

// The client that a token of the server's own is about; null where it does not say.
function subject(token) {
  try {
    const { sub: client, realm = '' } = JSON.parse(new TextDecoder().decode(decodeText(token.split('.')[1])));
    return typeof client === 'string' ? { client, realm } : null;
  } catch {
    return null;
  }
}

const modeNumber = (mode) => (mode === 'aead' ? AEAD : CRT);

function sameKey(text, server) {
  try {
    return equal(decodeText(text), server);
  } catch {
    return false;
  }
}
