// Finds a connection that is open in name only. Browsers do not show the
// server's own pings, so after silence the client sends the protocol's.

import { Timer } from './platform.js';

const SILENCE_MS = 30_000;
const DEADLINE_MS = 5_000;
const WAKE_SILENCE_MS = 5_000;
const WAKE_DEADLINE_MS = 2_500; // the page was just looked at: someone waits

export class Heartbeat {
  #platform;
  #ping; // sends one
  #dead; // called with 'backoff' or 'now' once nothing answered
  #heardAt = 0;
  #silence;
  #deadline;

  constructor(platform, ping, dead) {
    this.#platform = platform;
    this.#ping = ping;
    this.#dead = dead;
    this.#silence = new Timer(platform);
    this.#deadline = new Timer(platform);
  }

  start() {
    this.heard();
    this.#silence.set(SILENCE_MS, this.#check);
  }

  stop() {
    this.#silence.clear();
    this.#deadline.clear();
  }

  /** Anything from the server is a sign of life. */
  heard() {
    this.#heardAt = this.#platform.now();
    this.#deadline.clear();
  }

  /** The page came back, or the network did: is the connection still one? */
  probe() {
    if (this.#platform.now() - this.#heardAt >= WAKE_SILENCE_MS) this.#send(WAKE_DEADLINE_MS, 'now');
  }

  // The timer is not re-armed by each message: it looks at the time instead.
  #check = () => {
    const silent = this.#platform.now() - this.#heardAt;
    if (silent >= SILENCE_MS) {
      this.#send(DEADLINE_MS, 'backoff');
      this.#silence.set(SILENCE_MS, this.#check);
    } else {
      this.#silence.set(SILENCE_MS - silent, this.#check);
    }
  };

  // Armed before the ping: an answer must find it.
  #send(deadlineMs, how) {
    this.#deadline.set(deadlineMs, () => this.#dead(how));
    this.#ping();
  }
}
