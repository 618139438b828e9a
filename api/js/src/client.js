// The client: one state machine around one WebSocket at a time. Follows
// api/CLIENTS.md, whose transcripts it is tested with.
//
// A link is one attempt and the connection it may become. Everything that
// arrives late (a token, a cursor, a socket's event) belongs to a link and is
// dropped once another one has taken its place.

import { Backoff } from './backoff.js';
import { advice, COMING_BACK, DRAINING, HELLO_TIMEOUT, NORMAL, REPLACED, TOKEN_EXPIRED, UNAUTHORIZED } from './codes.js';
import { Emitter } from './emitter.js';
import { Heartbeat } from './heartbeat.js';
import { Inbox } from './inbox.js';
import { iterate } from './iterate.js';
import { Line } from './line.js';
import { Timer } from './platform.js';
import { watch } from './signals.js';
import { GiveUp, Tokens } from './token.js';
import { decode, protocols } from './wire.js';

const WELCOME_DEADLINE_MS = 10_000;
const STAY_MS = 5_000; // a connection of this length ends a row of failures
const OFFLINE_RETRY_MS = 30_000; // the browser's "offline" is a hint, and wrong for local servers
const MAX_DRAIN_MS = 60_000;
const LAST_SAVE_MS = 1_000; // how long close() waits for the cursor store

export class Client {
  #platform;
  #options;
  #url;
  #identity; // { client: string|null, realm }
  #state = 'DISCONNECTED';
  #events;
  #topics;
  #backoff;
  #retry;
  #deadline;
  #heartbeat;
  #inbox;
  #sealing = null; // once loaded, where it is asked for
  #tokens;
  #cursors;
  #link = null;
  #restored = false; // the cursor store was asked
  #why = 'connect';
  #fresh = false; // the token was replaced since the last welcome
  #unwatch = null;
  #welcome = null;
  #failure = null;
  #read = 0n; // to be told after the next welcome

  constructor(platform, url, options) {
    this.#platform = platform;
    this.#options = options;
    this.#url = url;
    this.#identity = identify(url, options.clientId);
    this.#events = new Emitter(platform.report);
    this.#topics = new Map();
    this.#backoff = new Backoff(options.retry, platform.random);
    this.#retry = new Timer(platform);
    this.#deadline = new Timer(platform);
    this.#cursors = options.cursors((error) => this.#emit('error', { error }));
    this.#heartbeat = new Heartbeat(
      platform,
      () => this.#send({ type: 'ping' }),
      (how) => this.#drop('nothing answered the ping', how),
    );
    this.#tokens = new Tokens(platform, options.token, {
      send: (m) => this.#send(m),
      reconnect: (why) => this.#drop(why, 'now'),
      renewed: (token, expires) => this.#emit('token', { token, expires, clientId: this.clientId }),
    });
    this.#inbox = new Inbox(platform, options.ack === 'manual', {
      handle: (m) => this.#handle(m),
      tell: (m) => this.#tell(m),
      failed: (detail) => this.#emit('failed', detail),
      trouble: (error) => this.#emit('error', { error }),
      save: (cursor) => this.#cursors.save(this.#cursorKey(), cursor),
      ack: (seq, failed) => this.#ack(seq, failed),
    });
  }

  get state() {
    return this.#state;
  }

  get clientId() {
    return this.#identity.client;
  }

  get cursor() {
    return this.#inbox.cursor;
  }

  get refreshStatus() {
    return { ...this.#tokens.status };
  }

  get sealStatus() {
    return this.#sealing?.status ?? null;
  }

  on(topic, handler) {
    const set = this.#topics.get(topic) ?? new Set();
    this.#topics.set(topic, set.add(handler));
    return () => set.delete(handler);
  }

  when(event, fn) {
    return this.#events.add(event, fn);
  }

  messages(topic = '*', { signal } = {}) {
    return iterate(this, topic, signal);
  }

  ready({ signal } = {}) {
    return new Promise((resolve, reject) => {
      const look = () => {
        if (signal?.aborted) reject(signal.reason);
        else if (this.#state === 'CONNECTED') resolve(this.#welcome);
        else if (this.#state === 'FAILED') reject(this.#failure);
        else if (this.#state === 'CLOSED') reject(new Error('sunzi: closed'));
        else return;
        stop();
        signal?.removeEventListener('abort', look);
      };
      const stop = this.when('state', look);
      signal?.addEventListener('abort', look);
      look();
    });
  }

  typing(conversationId, senderName) {
    return this.#send({ type: 'typing', conversation_id: conversationId, sender_name: senderName });
  }

  markRead(seq) {
    const s = BigInt(seq);
    if (this.#state === 'CONNECTED') this.#send({ type: 'read', seq: String(s) });
    else if (s > this.#read) this.#read = s;
  }

  start() {
    if (this.#state === 'FAILED') {
      this.#failure = null;
      this.#fresh = false;
      this.#backoff.reset();
      this.#setState('RECONNECTING');
    } else if (this.#state !== 'DISCONNECTED') {
      return;
    }
    this.#unwatch = watch(this.#platform, {
      wake: () => this.#wake(),
      offline: () => this.#retry.armed && this.#retry.set(OFFLINE_RETRY_MS, () => this.#dial()),
      leave: () => this.#inbox.flush(),
    });
    this.#dial();
  }

  async close() {
    if (this.#state === 'CLOSED') return;
    this.#setState('CLOSED');
    this.#rest();
    const saving = this.#inbox.close();
    if (saving) {
      const limit = new Timer(this.#platform);
      await Promise.race([saving, new Promise((go) => limit.set(LAST_SAVE_MS, go))]);
      limit.clear();
    }
    await this.#unlink(NORMAL);
    this.#sealing?.close();
  }

  // One attempt: token, cursor, socket, hello, welcome.
  async #dial() {
    this.#retry.clear();
    const link = { socket: null, abort: new AbortController(), since: null, line: null, greeted: null, out: null, sealing: {} };
    link.mine = (fn) => (e) => this.#link === link && fn(e);
    link.line = new Line(link.mine((e) => (e.final ? this.#refuse(e) : this.#drop(e.message, 'backoff', e))));
    this.#link = link;
    this.#setState('CONNECTING');
    try {
      const token = await this.#tokens.get(this.#why, link.abort.signal);
      await this.#restore();
      link.sealing = await this.#asksSealing(token);
      if (this.#link === link) this.#open(link, token);
    } catch (error) {
      if (this.#link !== link) return;
      if (error instanceof GiveUp) this.#fail(0, error.message, error);
      else this.#lost(0, error.message, 'backoff', error);
    }
  }

  async #restore() {
    if (this.#restored || this.#identity.client === null) return;
    this.#restored = true;
    try {
      this.#inbox.restore(await this.#cursors.load(this.#cursorKey()));
    } catch (error) {
      this.#emit('error', { error });
    }
  }

  // The sealing code is loaded when it is first asked for. What hello says of it.
  async #asksSealing(token) {
    const { seal } = this.#options;
    if (!seal) return {};
    if (!seal.load) return { seal: 'none' };
    this.#sealing ??= await seal.load(this.#platform, {
      cursor: (key) => this.#cursors.load(key),
      send: (m) => this.#send(m),
      take: (item) => this.#take(item),
      decode,
      unopened: () => this.#inbox.unopened(),
      drop: (why, error) => this.#link?.socket && this.#drop(why, 'backoff', error),
      fail: (error) => this.#link && this.#refuse(error),
      emit: (event, detail) => this.#emit(event, detail),
      trouble: (error) => this.#emit('error', { error }),
    });
    return this.#sealing.hello(this.#identity, token, (who) => this.#cursorKey(who));
  }

  #open(link, token) {
    const { WebSocket } = this.#platform;
    const socket = new WebSocket(this.#url, protocols(token));
    const { mine } = link;
    socket.binaryType = 'arraybuffer';
    link.socket = socket;
    this.#deadline.set(WELCOME_DEADLINE_MS, () => this.#drop('no welcome in time'));
    socket.onopen = mine(() => this.#hello());
    socket.onmessage = mine((e) => this.#receive(link, e.data));
    socket.onclose = mine((e) => this.#lost(e.code, e.reason));
  }

  #hello() {
    const { device } = this.#options;
    this.#link.opened = this.#platform.now();
    this.#send({ type: 'hello', ...(device && { device }), ...this.#inbox.position, ...this.#link.sealing });
  }

  #receive(link, data) {
    this.#heartbeat.heard();
    if (typeof data !== 'string') { // a sealed frame, or for clients that asked for it
      if (!this.#sealing) return;
      const opened = Promise.resolve(link.greeted).then(() => this.#sealing.open(data)); // its keys may still be looked up
      link.line.put(opened, link.mine((o) => this.#sealing.deliver(o)));
      return;
    }
    let m;
    try {
      m = decode(data);
    } catch (error) {
      this.#drop('malformed message', 'backoff', error);
      return;
    }
    if (m.type === 'welcome') link.greeted = this.#greeted(m);
    link.line.put(m.type === 'welcome' ? link.greeted : m, link.mine(() => this.#dispatch(link, m)));
  }

  #dispatch(link, m) {
    switch (m.type) {
      case 'welcome':
        return this.#welcomed(link, m);
      case 'message':
      case 'gap':
      case 'tombstone':
      case 'replay_complete':
      case 'member_joined':
      case 'member_left':
      case 'typing':
        if (this.#sealing?.admits(m) === false) return this.#refuse(new Error('sunzi: a message that is not sealed'));
        return this.#take(m);
      case 'seal_welcome':
      case 'sealed':
        return this.#sealing?.message(m);
      case 'token_expiring':
        return this.#tokens.expiring(m.in);
      case 'refreshed':
        return this.#tokens.refreshed(m.expires);
      case 'error':
        this.#emit('error', { error: Object.assign(new Error(m.message), { code: m.code }) });
        this.#sealing?.refused();
        return this.#tokens.refused();
    } // others: pong has done its work, unknown ones are for newer clients
  }

  #take(item) {
    return this.#inbox.take(item) || this.#drop('a sequence is missing');
  }

  // Who we are is settled by the first welcome at the latest; if only then,
  // the cursor is looked up now. What is to be waited for before the welcome
  // counts, if anything.
  #greeted(m) {
    const waited = this.#platform.now() - this.#link.opened;
    if (this.#restored) return this.#sealing?.begin(this.#cursorKey(), m, waited);
    this.#identity = { client: m.client_id, realm: m.realm ?? '' };
    return this.#restore().then(() => this.#sealing?.begin(this.#cursorKey(), m, waited));
  }

  #welcomed(link, m) {
    link.since = this.#platform.now();
    this.#deadline.clear();
    this.#fresh = false;
    this.#why = 'connect';
    this.#welcome = m;
    if (m.token) this.#registered(m);
    this.#inbox.welcome(m.incarnation, m.cursor);
    this.#heartbeat.start();
    this.#tokens.plan();
    this.#sealing?.connected(m);
    if (this.#read > 0n) this.#send({ type: 'read', seq: String(this.#read) });
    this.#read = 0n;
    this.#emit('welcome', m);
    this.#setState('CONNECTED');
  }

  // A connect key was answered with an ID and a token of our own.
  #registered(m) {
    this.#tokens.adopt(m.token);
    const u = new URL(this.#url);
    if (u.pathname.endsWith('/ws')) {
      for (const part of [m.realm, m.client_id]) if (part) u.pathname += '/' + encodeURIComponent(part);
      this.#url = u.href;
    }
    this.#emit('token', { token: m.token, expires: m.token_expires ?? null, clientId: m.client_id });
  }

  /** The link is of no use any more, whatever the socket thinks. */
  #drop(reason, how = 'backoff', error = undefined) {
    this.#inbox.flush();
    this.#lost(0, reason, how, error);
  }

  #lost(code, reason, how = advice(code), error = undefined) {
    const { since } = this.#link;
    const stayed = since !== null && this.#platform.now() - since >= STAY_MS;
    if (stayed) this.#backoff.reset();
    this.#unlink(COMING_BACK);
    const why = { code, reason, error };

    const refused = code === UNAUTHORIZED || code === TOKEN_EXPIRED;
    if (refused && this.#tokens.renewable && !this.#fresh) {
      this.#fresh = true;
      this.#why = code === TOKEN_EXPIRED ? 'expired' : 'rejected';
      this.#tokens.forget();
      return this.#again(why, 0);
    }
    if (how === 'never') return this.#fail(code, reason);
    if (code === HELLO_TIMEOUT && reason.startsWith('seal:') && !this.#options.seal) {
      return this.#fail(code, reason, new Error("sunzi: say the option seal, 'none' to give the keys up"));
    }
    if (code === DRAINING && /^\d{1,12}$/.test(reason)) {
      return this.#again(why, Math.min(Number(reason), MAX_DRAIN_MS));
    }
    if (how === 'now' && (stayed || code === 0)) return this.#again(why, 0);
    const delay = this.#backoff.next();
    const { maxFailures } = this.#options.retry;
    if (maxFailures > 0 && this.#backoff.failures >= maxFailures) return this.#fail(code, reason, error);
    this.#again(why, this.#platform.online() ? delay : OFFLINE_RETRY_MS);
  }

  #again(why, retryInMs) {
    this.#setState('RECONNECTING', { ...why, retryInMs });
    if (this.#state !== 'RECONNECTING') return; // a listener closed us
    if (retryInMs > 0) this.#retry.set(retryInMs, () => this.#dial());
    else this.#dial();
  }

  /** Going on would be less safe than was asked for. */
  #refuse(error) {
    this.#fail(0, error.message, error);
  }

  #fail(code, reason, cause) {
    this.#rest();
    this.#unlink(COMING_BACK);
    this.#sealing?.close();
    const error = new Error(`sunzi: gave up: ${code} ${reason}`, { cause });
    this.#failure = Object.assign(error, { code, reason });
    this.#setState('FAILED', { code, reason, error, replaced: code === REPLACED });
  }

  /** Stops all that would bring the client back by itself. */
  #rest() {
    this.#retry.clear();
    this.#unwatch?.();
    this.#unwatch = null;
  }

  #unlink(code) {
    const link = this.#link;
    if (code === NORMAL) this.#inbox.flush();
    this.#link = null;
    this.#deadline.clear();
    this.#heartbeat.stop();
    this.#tokens.stop();
    this.#inbox.disconnect();
    link?.abort.abort();
    const end = () => link?.socket?.readyState < 2 && link.socket.close(code);
    this.#sealing?.disconnect();
    return link?.out ? link.out.then(end, end) : end(); // what is being sealed goes first
  }

  #wake() {
    if (this.#state === 'CONNECTED') return this.#heartbeat.probe();
    if (this.#state !== 'RECONNECTING') return;
    this.#backoff.reset();
    this.#dial();
  }

  async #handle(m) {
    const named = m.topic === '*' ? [] : (this.#topics.get(m.topic) ?? []);
    for (const fn of [...named, ...(this.#topics.get('*') ?? [])]) await fn(m);
  }

  #tell(m) {
    const { type } = m;
    if (type === 'gap') this.#emit(type, { from: m.from, to: m.to, reason: m.reason });
    else if (type === 'tombstone') this.#emit(type, { id: m.id, seq: m.seq });
    else if (type === 'replay_complete') this.#emit(type, { seq: m.seq });
    else if (type === 'typing') {
      const { conversation_id: conversationId, sender_id: senderId } = m;
      this.#emit(type, { conversationId, senderId, senderType: m.sender_type, senderName: m.sender_name });
    } else this.#emit('member', { joined: type === 'member_joined', group: m.group, clientId: m.client_id });
  }

  #ack(seq, failed) {
    if (!this.#link || this.#link.since === null) return false;
    const ack = { type: 'ack', seq: String(seq) };
    if (failed.length > 0) ack.failed = failed.map((f) => ({ seq: String(f.seq), code: f.code }));
    if (!this.#send(ack)) return false;
    this.#sealing?.acked(seq);
    return true;
  }

  #send(m) {
    const link = this.#link;
    const socket = link?.socket;
    if (socket?.readyState !== 1) return false;
    const text = JSON.stringify(m);
    const sealed = this.#sealing?.seal(m.type, text);
    if (!sealed && !link.out) {
      socket.send(text);
    } else { // sealing takes its time, and what is sent keeps its order
      link.out = Promise.all([sealed ?? text, link.out]).then(([data]) => socket.readyState === 1 && socket.send(data));
      link.out.catch((error) => this.#link === link && this.#drop(error.message, 'backoff', error));
    }
    return true;
  }

  #cursorKey({ client, realm } = this.#identity) {
    return `${new URL(this.#url).origin} ${realm} ${client}`;
  }

  #setState(to, detail = {}) {
    const from = this.#state;
    if (from === to) return;
    this.#state = to;
    this.#emit('state', { from, to, ...detail });
  }

  #emit(event, detail) {
    this.#events.emit(event, detail);
  }
}

// Who we are as far as the application and the path say: /ws/{client} or
// /ws/{realm}/{client}.
function identify(url, clientId) {
  const after = new URL(url).pathname.split('/ws/')[1];
  const parts = after ? after.split('/').map(decodeURIComponent) : [];
  return { client: parts.at(-1) ?? clientId ?? null, realm: parts.length > 1 ? parts[0] : '' };
}
