// Listeners of named events. One that throws disturbs neither the others nor
// the connection: its error is reported as an uncaught one would be.

export class Emitter {
  #listeners = new Map();
  #report;

  constructor(report) {
    this.#report = report;
  }

  /** Adds a listener, answers the function that removes it. */
  add(event, fn) {
    const set = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, set.add(fn));
    return () => set.delete(fn);
  }

  emit(event, detail) {
    for (const fn of [...(this.#listeners.get(event) ?? [])]) {
      try {
        fn(detail);
      } catch (err) {
        this.#report(err);
      }
    }
  }
}
