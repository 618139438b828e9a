// The token: fetched when asked for, refreshed on the open connection well
// before it ends, and replaced by closing and reconnecting where that fails
// (api/CLIENTS.md section 4).

import { Timer } from './platform.js';

const REFRESH_AFTER_MS = 72_000_000; // 20 h
const RETRY_AFTER_MS = 7_200_000; // 2 h
const MIN_RETRY_MS = 1_000;
const REPLY_DEADLINE_MS = 10_000;
const FETCH_DEADLINE_MS = 30_000;

/** Thrown by a token callback that will never have one: the client fails for good. */
export class GiveUp extends Error {
  name = 'GiveUp';
}

export class Tokens {
  #platform;
  #source;
  #hooks; // { send(message) -> bool, reconnect(why), renewed(token, expires) }
  #current = null;
  #gotAt = 0;
  #endsAt = Infinity; // as the server warned
  #next = null; // null: no refresh under way; '': being fetched; else sent and not yet confirmed
  #stay = 0; // counts connections, so that a late fetch knows its own is gone
  #timer;
  #reply;
  status = { lastAt: null, status: 'never', failures: 0 };

  constructor(platform, source, hooks) {
    this.#platform = platform;
    this.#source = source;
    this.#hooks = hooks;
    this.#timer = new Timer(platform);
    this.#reply = new Timer(platform);
    if (typeof source === 'string') this.#current = source;
  }

  get renewable() {
    return typeof this.#source === 'function';
  }

  /** The token to connect with; calls back only where none is held. */
  async get(why, signal) {
    if (this.#current === null) this.adopt(await this.#fetch(why, signal));
    return this.#current;
  }

  /** The one to use from now on. */
  adopt(token) {
    this.#current = token;
    this.#gotAt = this.#platform.now();
    this.#endsAt = Infinity;
  }

  /** The server refused the one we hold. */
  forget() {
    this.#current = null;
  }

  /** On welcome: plans the refresh. */
  plan() {
    if (!this.renewable) return;
    const age = this.#platform.now() - this.#gotAt;
    this.#timer.set(Math.max(0, REFRESH_AFTER_MS - age), () => this.#refresh());
  }

  /** The server warned that the token ends in so many ms. */
  expiring(inMs) {
    this.#endsAt = this.#platform.now() + inMs;
    this.#refresh();
  }

  async #refresh() {
    if (!this.renewable || this.#next !== null) return;
    this.#timer.clear();
    this.#next = '';
    const stay = this.#stay;
    let token;
    try {
      token = await this.#fetch('expired');
    } catch {
      this.#note('failed');
      if (stay !== this.#stay) return;
      this.#next = null;
      const left = (this.#endsAt - this.#platform.now()) / 2;
      this.#timer.set(Math.max(MIN_RETRY_MS, Math.min(RETRY_AFTER_MS, left)), () => this.#refresh());
      return;
    }
    if (stay !== this.#stay) return this.adopt(token); // the next connection starts with it
    this.#next = token;
    if (this.#hooks.send({ type: 'refresh', token })) {
      this.#reply.set(REPLY_DEADLINE_MS, () => this.refused());
    }
  }

  /** The server answered refreshed. */
  refreshed(expires) {
    if (!this.#next) return;
    this.#reply.clear();
    this.adopt(this.#next);
    this.#next = null;
    this.#note('ok');
    this.plan();
    this.#hooks.renewed(this.#current, expires);
  }

  /** An error, or no answer: if a refresh is under way, reconnect with the new token. */
  refused() {
    if (!this.#next) return;
    this.#note('failed');
    this.#hooks.reconnect('token refresh failed');
  }

  /** The connection ended; a token that was sent and not confirmed is still the newest. */
  stop() {
    if (this.#next) this.adopt(this.#next);
    this.#next = null;
    this.#stay++;
    this.#timer.clear();
    this.#reply.clear();
  }

  #note(status) {
    const failures = status === 'ok' ? 0 : this.status.failures + 1;
    this.status = { lastAt: this.#platform.now(), status, failures };
  }

  async #fetch(why, outer) {
    const abort = new AbortController();
    const stop = () => abort.abort();
    outer?.addEventListener('abort', stop, { once: true });
    const deadline = new Timer(this.#platform);
    const late = new Promise((_, reject) => {
      deadline.set(FETCH_DEADLINE_MS, () => {
        reject(new Error('token callback took too long'));
        abort.abort();
      });
    });
    try {
      const token = await Promise.race([this.#source(why, abort.signal), late]);
      if (typeof token !== 'string' || token === '') throw new Error('token callback gave no token');
      return token;
    } finally {
      deadline.clear();
      outer?.removeEventListener('abort', stop);
    }
  }
}
