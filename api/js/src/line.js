// What a connection brings is handled in the order in which it came, though some
// of it has to be waited for: a cursor store, a frame that is being opened.

export class Line {
  #waiting = [];
  #broken;

  /** broken is called with the error of a promise that fails; what waits behind it stays. */
  constructor(broken) {
    this.#broken = broken;
  }

  /** Calls fn with what came, or what it is a promise of: at once where nothing has to be waited for. */
  put(what, fn) {
    const promised = typeof what?.then === 'function';
    if (!promised && this.#waiting.length === 0) return fn(what);
    const entry = { fn, done: !promised, value: what };
    this.#waiting.push(entry);
    if (promised) what.then((value) => this.#done(entry, value), this.#broken);
  }

  #done(entry, value) {
    Object.assign(entry, { done: true, value });
    while (this.#waiting[0]?.done) {
      const { fn, value: v } = this.#waiting.shift();
      fn(v);
    }
  }
}
