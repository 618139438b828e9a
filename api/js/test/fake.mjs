// A clock and a WebSocket that do only what a test says.
import { make } from '../src/index.js';

export class FakeClock {
  #now = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  now = () => this.#now;

  setTimeout = (fn, ms) => {
    this.#timers.set(++this.#last, { at: this.#now + Math.max(0, ms), fn });
    return this.#last;
  };

  clearTimeout = (id) => void this.#timers.delete(id);

  get pending() {
    return this.#timers.size;
  }

  /** Moves time on, firing what falls due in order, promises settled in between. */
  async advance(ms) {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, t]) => t.at <= end).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].fn();
      await settle();
    }
    this.#now = end;
    await settle();
  }
}

/** Lets everything that waits only for promises go on. */
export async function settle() {
  for (let i = 0; i < 5; i++) await new Promise((r) => setImmediate(r));
}

/** Lets what the platform does in threads of its own go on, until the test is true. */
export async function until(test, what = String(test)) {
  const deadline = Date.now() + 10_000;
  while (!test()) {
    if (Date.now() > deadline) throw new Error(`did not come: ${what}`);
    await new Promise((r) => setImmediate(r));
  }
  await settle();
}

export class FakeSocket {
  readyState = 0;
  sent = [];
  closed = null;
  onopen = null;
  onmessage = null;
  onclose = null;

  constructor(url, protocols) {
    this.url = url;
    this.protocols = protocols;
  }

  send(data) {
    this.sent.push(typeof data === 'string' ? JSON.parse(data) : data);
  }

  close(code, reason) {
    this.readyState = 2;
    this.closed = { code, reason };
  }

  // What the server does.
  accept() {
    this.readyState = 1;
    this.onopen?.({});
  }

  say(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  sayBytes(bytes) {
    this.onmessage?.({ data: new Uint8Array(bytes).buffer });
  }

  end(code, reason = '') {
    this.readyState = 3;
    this.onclose?.({ code, reason });
  }
}

class Target {
  #listeners = new Map();
  visibilityState = 'visible';
  addEventListener(type, fn) {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), fn]);
  }
  removeEventListener(type, fn) {
    this.#listeners.set(type, (this.#listeners.get(type) ?? []).filter((f) => f !== fn));
  }
  fire(type, event = {}) {
    for (const fn of this.#listeners.get(type) ?? []) fn(event);
  }
  get listening() {
    return [...this.#listeners.values()].flat().length;
  }
}

/** A world of its own: clock, page, sockets, and a client in it. */
export function world(options = {}, url = 'ws://host.test/ws/c1', { random = () => 0.5, start = true, Worker = undefined } = {}) {
  const clock = new FakeClock();
  const w = { clock, sockets: [], window: new Target(), document: new Target(), online: true, log: [], reported: [] };
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      w.sockets.push(this);
    }
  }
  const platform = {
    WebSocket: Socket,
    indexedDB: undefined,
    Worker,
    window: w.window,
    document: w.document,
    online: () => w.online,
    now: clock.now,
    random,
    setTimeout: clock.setTimeout,
    clearTimeout: clock.clearTimeout,
    report: (err) => w.reported.push(err),
  };
  w.client = make(url, { token: 'T', cursors: 'memory', ...options }, platform);
  if (start) queueMicrotask(() => w.client.start());
  for (const event of ['state', 'gap', 'tombstone', 'error', 'failed', 'member', 'typing', 'token', 'replay_complete', 'welcome', 'sealed', 'keys']) {
    w.client.when(event, (e) => w.log.push([event, e]));
  }
  w.states = () => w.log.filter(([name]) => name === 'state').map(([, e]) => e.to);
  w.events = (name) => w.log.filter(([n]) => n === name).map(([, e]) => e);
  Object.defineProperty(w, 'socket', { get: () => w.sockets.at(-1) });
  /** Takes the newest socket as far as CONNECTED. */
  w.welcome = async (more = {}) => {
    await settle();
    w.socket.accept();
    w.socket.say({ ...WELCOME, ...more });
    await settle();
    return w.socket;
  };
  return w;
}

export const WELCOME = {
  type: 'welcome',
  client_id: 'c1',
  session: 's1',
  generation: '1',
  incarnation: 'aaaaaaaaaaaaaaaa',
  cursor: '0',
  heartbeat: 25000,
  backlog: 0,
};

export function message(seq, more = {}) {
  return { type: 'message', seq: String(seq), id: `id${seq}`, ts: 1, topic: 't', data: { n: seq }, ...more };
}
