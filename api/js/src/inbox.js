// The inbox takes what a connection brings to the handlers, in the order of
// the mailbox and one at a time, and says how far they got: cursor stored
// after the handler, ack after the store. Whatever dies in between, a message
// is repeated, never lost (api/CLIENTS.md sections 5 and 6).
//
// acked <= saved <= seen: told to the server, stored, handled. received counts
// one connection's messages: each must be the next, so that nothing is acked
// over a hole.

import { Timer } from './platform.js';

const ACK_DELAY_MS = 50;
const ACK_BATCH = 32;
const MAX_FAILED = 256; // dead letters in one ack
const TRIES = 3;
const RETRY_MS = 100; // before the second try; twice that before the third
const UNSTORED_MAX_AGE_MS = 300_000;
const DECRYPT_FAILED = -1;

export class Inbox {
  #platform;
  #manual;
  #hooks; // { handle(message), tell(item), failed(detail), trouble(error), save(cursor), ack(seq, failed) -> bool }
  #queue = [];
  #running = false;
  #closed = false;

  #incarnation = '';
  #seen = 0n;
  #saved = 0n;
  #acked = 0n;
  #received = 0n;
  #unopened = 0n; // sealed frames since the last place that did not open: any may have been a place
  #places = []; // given to handlers, cursor not yet past them, in order
  #saving = null;

  #failed = [];
  #due = 0;
  #ackTimer;

  constructor(platform, manual, hooks) {
    this.#platform = platform;
    this.#manual = manual;
    this.#hooks = hooks;
    this.#ackTimer = new Timer(platform);
  }

  get cursor() {
    return this.#saved < 0n ? 0n : this.#saved;
  }

  /** What hello says of the cursor: nothing while the mailbox is unknown. */
  get position() {
    return this.#incarnation && this.#saved >= 0n ? { cursor: String(this.#saved), incarnation: this.#incarnation } : {};
  }

  /** Starts from a stored cursor, or from none. */
  restore(stored) {
    if (!stored) return;
    this.#incarnation = stored.incarnation;
    this.#seen = this.#saved = BigInt(stored.seq);
  }

  /** On welcome. Another incarnation is another mailbox: our cursor says nothing there. */
  welcome(incarnation, cursor) {
    this.#received = this.#acked = cursor;
    this.#unopened = 0n;
    if (incarnation !== this.#incarnation) {
      this.#incarnation = incarnation;
      this.#seen = cursor;
      this.#saved = -1n; // nothing yet: to be stored at once
      this.#places.length = this.#failed.length = 0;
    } else if (cursor > this.#seen) {
      this.#seen = cursor;
      this.#places = this.#places.filter((p) => p.seq > cursor);
    }
    this.#store();
    if (this.#saved > cursor || this.#failed.length > 0) this.#ackDue(0);
  }

  /**
   * A decoded message that has its place among the others. Answers false at a
   * hole: then the connection is worth nothing any more. Places that were in
   * frames that did not open are no hole (api/wire/SPEC.md section 9).
   */
  take(item) {
    const { type } = item;
    const isPlace = type === 'gap' || type === 'lost' || (type === 'message' && item.seq !== null);
    if (isPlace || (type === 'replay_complete' && this.#unopened > 0n)) {
      const to = item.to ?? item.seq;
      const hole = (isPlace ? (item.from ?? item.seq) - 1n : to) - this.#received;
      if (hole > this.#unopened) return false;
      if (hole > 0n) this.#enqueue({ type: 'lost', from: this.#received + 1n, to: this.#received + hole });
      if (hole > 0n || isPlace) this.#unopened = 0n;
      if (to > this.#received) this.#received = to;
    }
    if (item.type === 'tombstone') this.#withdraw(item.id);
    this.#enqueue(item);
    this.#run();
    return true;
  }

  /** A sealed frame came that did not open. */
  unopened() {
    this.#unopened++;
  }

  #enqueue(item) {
    item.incarnation = this.#incarnation;
    item.at = this.#platform.now();
    this.#queue.push(item);
  }

  /** Sends what is due at once: before the connection or the page goes away. */
  flush() {
    if (this.#due > 0 || this.#saved > this.#acked) this.#sendAck();
  }

  /** The connection ended: what waits comes again, and the next hello says what is seen. */
  disconnect() {
    this.#queue.length = 0;
    this.#due = 0;
    this.#ackTimer.clear();
  }

  /** Calls no handler any more. Answers the save under way, if there is one. */
  close() {
    this.#closed = true;
    this.#queue.length = 0;
    return this.#saving;
  }

  #withdraw(id) {
    for (const item of this.#queue) {
      if (item.type === 'message' && item.id === id) item.withdrawn = true;
    }
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    while (this.#queue.length > 0) await this.#step(this.#queue.shift());
    this.#running = false;
  }

  async #step(item) {
    if (item.type === 'lost') {
      this.#lost(item);
    } else if (item.type !== 'message') {
      this.#hooks.tell(item);
      if (item.type === 'gap') this.#passed(item, item.to);
    } else if (item.seq === null) {
      await this.#unstored(item);
    } else {
      await this.#stored(item);
    }
  }

  #passed(item, seq) {
    if (seq <= this.#seen) this.#ackDue();
    else this.#settle(this.#place(item, seq));
  }

  // Places that can't be read are dead letters.
  #lost(item) {
    for (let seq = item.from; seq <= item.to; seq++) {
      if (seq <= this.#seen) this.#ackDue();
      else this.#settle(this.#place({ ...item, id: '', message: null }, seq), { code: DECRYPT_FAILED });
    }
  }

  async #unstored(item) {
    if (item.withdrawn || this.#platform.now() - item.at >= UNSTORED_MAX_AGE_MS) return;
    try {
      await this.#hooks.handle(item.message);
    } catch (error) {
      this.#platform.report(error);
    }
  }

  async #stored(item) {
    const { seq, message } = item;
    if (seq <= this.#seen || item.withdrawn) return this.#passed(item, seq);
    if (this.#places.some((p) => p.seq === seq)) return; // handed out before, not yet acked by hand
    const place = this.#place(item, seq);
    if (this.#manual) {
      message.ack = () => this.#settle(place);
      message.fail = (code = 1) => this.#settle(place, { code });
    }
    const failure = await this.#attempt(item);
    if (failure || !this.#manual) this.#settle(place, failure);
  }

  /** Answers null, or { code, error } once the handlers failed too often. */
  async #attempt(item) {
    for (let n = 1; !this.#closed && !item.withdrawn; n++) {
      try {
        await this.#hooks.handle(item.message);
        return null;
      } catch (error) {
        this.#platform.report(error);
        if (n === TRIES) return { code: Number.isInteger(error?.code) ? error.code : 1, error };
      }
      await new Promise((go) => this.#platform.setTimeout(go, RETRY_MS * n));
    }
    return null;
  }

  #place(item, seq) {
    const place = { seq, item, settled: false };
    if (item.incarnation === this.#incarnation) this.#places.push(place);
    return place;
  }

  /** One place is done with; the cursor passes all settled ones at the front. */
  #settle(place, failure = null) {
    const { seq, item } = place;
    if (place.settled || this.#closed || item.incarnation !== this.#incarnation) return;
    place.settled = true;
    if (failure) {
      this.#failed.push({ seq, code: failure.code });
      this.#hooks.failed({ id: item.id, seq, code: failure.code, error: failure.error, message: item.message });
    }
    while (this.#places[0]?.settled) {
      this.#seen = this.#places.shift().seq;
      this.#due++;
    }
    this.#store();
  }

  #store() {
    if (this.#saving || this.#seen <= this.#saved) return;
    this.#saving = this.#storeAll().then(() => {
      this.#saving = null;
      this.#store(); // one may have come since the loop looked
    });
  }

  // One save at a time; those that came meanwhile share the next.
  async #storeAll() {
    while (this.#seen > this.#saved) {
      const incarnation = this.#incarnation;
      const seq = this.#seen;
      try {
        await this.#hooks.save({ incarnation, seq: String(seq) });
      } catch (error) {
        this.#hooks.trouble(error); // never stops delivery
      }
      if (incarnation !== this.#incarnation) continue;
      this.#saved = seq;
      if (seq > this.#acked) this.#ackDue(0);
    }
  }

  #ackDue(more = 1) {
    this.#due += more;
    if (this.#due >= ACK_BATCH) this.#sendAck();
    else if (!this.#ackTimer.armed) this.#ackTimer.set(ACK_DELAY_MS, () => this.#sendAck());
  }

  #sendAck() {
    this.#ackTimer.clear();
    this.#due = 0;
    if (this.#saved < 0n) return;
    const failed = this.#failed.filter((f) => f.seq <= this.#saved).slice(0, MAX_FAILED);
    if (!this.#hooks.ack(this.#saved, failed)) return; // not connected: the next hello says it
    this.#acked = this.#saved;
    this.#failed = this.#failed.filter((f) => !failed.includes(f));
    if (failed.length === MAX_FAILED) this.#ackDue();
  }
}
