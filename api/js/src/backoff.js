// Waiting between attempts: exponential with full jitter, so that the clients
// of a server that went away do not come back in step.

export class Backoff {
  #min;
  #max;
  #random;
  failures = 0; // in a row: attempts that failed and connections that ended soon

  constructor({ minMs, maxMs }, random) {
    this.#min = minMs;
    this.#max = maxMs;
    this.#random = random;
  }

  /** The next delay in ms: uniform in [0, min(max, min * 2^failures)). */
  next() {
    const ceiling = Math.min(this.#max, this.#min * 2 ** Math.min(this.failures, 30));
    this.failures++;
    return Math.floor(this.#random() * ceiling);
  }

  reset() {
    this.failures = 0;
  }
}
