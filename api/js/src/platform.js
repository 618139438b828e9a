// Everything that is taken from the browser, in one object, so that tests can
// hand in a clock and a socket of their own.

export function platform() {
  const g = globalThis;
  return {
    WebSocket: g.WebSocket,
    indexedDB: g.indexedDB,
    Worker: g.Worker,
    trustedTypes: g.trustedTypes,
    location: g.location,
    window: typeof g.addEventListener === 'function' ? g : null,
    document: g.document ?? null,
    online: () => g.navigator?.onLine !== false,
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (fn, ms) => g.setTimeout(fn, ms),
    clearTimeout: (id) => g.clearTimeout(id),
    report: (err) => (g.reportError ?? console.error)(err),
  };
}

/** One timer that is either armed or not. */
export class Timer {
  #platform;
  #id = null;

  constructor(p) {
    this.#platform = p;
  }

  get armed() {
    return this.#id !== null;
  }

  /** Arms it anew. A delay past 2^31 ms would fire at once in browsers: it is cut. */
  set(ms, fn) {
    this.clear();
    this.#id = this.#platform.setTimeout(() => {
      this.#id = null;
      fn();
    }, Math.min(ms, 0x7fffffff));
  }

  clear() {
    if (this.#id !== null) this.#platform.clearTimeout(this.#id);
    this.#id = null;
  }
}
