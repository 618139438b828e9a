// Runs the transcripts of api/CLIENTS.md section 12, the same that the Go
// client passes.
import test from 'node:test';
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { GiveUp } from '../src/token.js';
import { settle, world } from './fake.mjs';

const dir = new URL('../../wire/testdata/transcripts/', import.meta.url);
const files = readdirSync(dir).filter((f) => f.endsWith('.json'));
test('there are transcripts', () => assert.ok(files.length > 0));
for (const file of files) {
  const script = JSON.parse(readFileSync(new URL(file, dir)));
  test(`${script.name}: ${script.why}`, () => new Runner(script).run());
}

class Runner {
  constructor({ options, steps }) {
    this.steps = steps;
    this.asked = [];
    this.handled = [];
    this.events = [];
    this.identity = null;
    this.taken = 0; // attempts that were expected
    this.read = new Map(); // socket -> messages that were expected
    this.fail = 0;
    this.gate = null;
    this.store = options.saved ? { incarnation: options.saved.incarnation, seq: options.saved.cursor } : null;
    this.make(options);
  }

  make({ url = 'wss://push.example/ws/alice', token = 't0', tokens, device, seal, random = 0.5, max_failures: maxFailures = 0 }) {
    this.answers = [...(tokens ?? [])];
    const callback = (why) => {
      this.asked.push(why);
      const answer = this.answers.shift();
      assert.ok(answer, `asked for one token more than the transcript has (${why})`);
      if (answer.give_up) throw new GiveUp('as told');
      if (answer.error) throw new Error('as told');
      return answer.token;
    };
    this.world = world({
      token: tokens ? callback : token,
      device,
      seal,
      retry: { maxFailures },
      cursors: { load: () => this.store, save: (_, c) => void (this.store = c) },
    }, url, { random: () => random, start: false });
    const { client } = this.world;
    client.on('*', (m) => this.handle(m));
    client.when('token', (t) => (this.identity = { client_id: t.clientId, token: t.token }));
    const note = (kind, more) => this.events.push({ kind, ...more });
    client.when('gap', (e) => note('gap', { from: String(e.from), to: String(e.to), reason: e.reason }));
    client.when('tombstone', (e) => note('tombstone', { id: e.id, seq: String(e.seq) }));
    client.when('replay_complete', (e) => note('replay_complete', { seq: String(e.seq) }));
    client.when('member', (e) => note(e.joined ? 'member_joined' : 'member_left', { group: e.group, client_id: e.clientId }));
    client.when('typing', (e) => note('typing', {
      conversation_id: e.conversationId, sender_id: e.senderId, sender_type: e.senderType, sender_name: e.senderName,
    }));
    client.when('failed', (e) => note('failed', { id: e.id, seq: String(e.seq), code: e.code }));
    client.when('error', (e) => note('error', { code: e.error.code, message: e.error.message }));
  }

  async handle(m) {
    this.handled.push(m.id);
    if (this.gate) await this.gate.promise;
    if (this.fail > 0) {
      this.fail--;
      throw Object.assign(new Error('as told'), this.code === undefined ? {} : { code: this.code });
    }
  }

  async run() {
    for (const [i, step] of this.steps.entries()) {
      try {
        await settle();
        assert.ok(this[`do_${step.do}`], `unknown step ${step.do}`);
        await this[`do_${step.do}`](step);
        await settle();
      } catch (error) {
        error.message = `step ${i + 1} ${JSON.stringify(step).slice(0, 200)}: ${error.message}`;
        throw error;
      }
    }
    this.nothingLeft();
    await this.world.client.close();
  }

  nothingLeft() {
    assert.equal(this.world.sockets.length, this.taken, 'an attempt is left over');
    assert.deepEqual(this.unread(), [], 'a sent message is left over');
    assert.deepEqual(this.handled, [], 'a handled message is left over');
    assert.deepEqual(this.events, [], 'an event is left over');
    assert.deepEqual(this.asked, [], 'an asked token is left over');
  }

  get socket() {
    return this.world.socket;
  }

  unread() {
    return this.world.sockets.flatMap((s) => {
      const from = this.read.get(s) ?? 0;
      this.read.set(s, s.sent.length);
      return s.sent.slice(from);
    });
  }

  do_start() { this.world.client.start(); }
  do_close() { this.world.client.close(); }
  do_accept() { this.socket.accept(); }
  do_refuse() { this.socket.end(1006); }
  do_send({ message }) { this.socket.say(message); }
  do_disconnect({ code, reason }) { this.socket.end(code, reason); }
  do_read({ seq }) { this.world.client.markRead(seq); }
  do_typing(step) { this.world.client.typing(step.conversation_id, step.sender_name); }
  do_advance({ ms }) { return this.world.clock.advance(ms); }

  do_handler({ fail, code, block }) {
    if (fail !== undefined) {
      this.fail = fail;
      this.code = code;
    }
    if (block === true) this.gate = Promise.withResolvers?.() ?? deferred();
    if (block === false) {
      this.gate?.resolve();
      this.gate = null;
    }
  }

  do_offline() {
    this.world.online = false;
    this.world.window.fire('offline');
  }

  do_wake({ signal }) {
    this.world.online = true;
    if (signal === 'visible') this.world.document.fire('visibilitychange');
    else this.world.window.fire(signal, { persisted: true });
  }

  do_expect(expected) {
    for (const key of Object.keys(expected)) {
      if (key === 'do') continue;
      assert.ok(this[`expect_${key}`], `unknown check ${key}`);
      this[`expect_${key}`](expected[key]);
    }
  }

  expect_state(want) {
    assert.equal(this.world.client.state, want);
  }

  expect_connect({ path, token }) {
    assert.equal(this.world.sockets.length, this.taken + 1, 'attempts');
    this.taken++;
    if (path !== undefined) assert.equal(new URL(this.socket.url).pathname, path);
    if (token !== undefined) assert.deepEqual(this.socket.protocols, ['sunzi.v1.json', `bearer.${token}`]);
  }

  expect_no_connect() {
    assert.equal(this.world.sockets.length, this.taken, 'attempts');
  }

  expect_sent(want) {
    assert.deepEqual(anyString(this.unread(), want), want);
  }

  expect_handled(want) {
    assert.deepEqual(this.handled.splice(0), want);
  }

  expect_events(want) {
    const got = this.events.splice(0);
    const named = got.map((e, i) => Object.fromEntries(Object.keys(want[i] ?? e).map((k) => [k, e[k]])));
    assert.deepEqual(named, want);
  }

  expect_saved(want) {
    assert.deepEqual(this.store && { incarnation: this.store.incarnation, cursor: this.store.seq }, want);
  }

  expect_closed(want) {
    const closed = this.world.sockets.filter((s) => s.closed && !s.told);
    assert.deepEqual(closed.map((s) => s.closed.code), [want]);
    for (const s of closed) s.told = true;
  }

  expect_asked(want) {
    assert.deepEqual(this.asked.splice(0), want);
  }

  expect_refresh({ status, failures }) {
    const got = this.world.client.refreshStatus;
    assert.deepEqual({ status: got.status, failures: got.failures }, { status, failures });
  }

  expect_identity(want) {
    assert.deepEqual(this.identity, want);
  }
}

function deferred() {
  const d = {};
  d.promise = new Promise((resolve) => (d.resolve = resolve));
  return d;
}

// Replaces by "*" each string that the transcript leaves open.
function anyString(got, want) {
  if (want === '*' && typeof got === 'string') return '*';
  if (got && want && typeof got === 'object' && typeof want === 'object') {
    const copy = Array.isArray(got) ? [] : {};
    for (const k of Object.keys(got)) copy[k] = anyString(got[k], want[k]);
    return copy;
  }
  return got;
}
