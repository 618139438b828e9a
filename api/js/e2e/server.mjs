// Starts, kills and restarts `sunzi dev` for the browser tests: the binary in
// SUNZI_BIN, or the stand-in where that is not set.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const START_DEADLINE_MS = 20_000;
const STAND_IN = fileURLToPath(new URL('fake-server.mjs', import.meta.url));

export class Server {
  #dir;
  #process = null;
  #errors = '';
  line = null; // {url, ws_url, page, api_key, client_id, token}

  static async make() {
    const s = new Server();
    s.#dir = await mkdtemp(join(tmpdir(), 'sunzi-e2e-'));
    await s.start();
    return s;
  }

  /** On the port of before, if there was one. */
  async start() {
    const listen = this.line ? new URL(this.line.url).host : '127.0.0.1:0';
    const args = ['dev', '--listen', listen, '--data', this.#dir, '--json'];
    const bin = process.env.SUNZI_BIN;
    this.#process = bin ? spawn(bin, args) : spawn(process.execPath, [STAND_IN, ...args]);
    this.#process.stderr.on('data', (d) => (this.#errors = (this.#errors + d).slice(-4_000)));
    this.line = JSON.parse(await this.#firstLine());
  }

  async #firstLine() {
    const lines = createInterface({ input: this.#process.stdout });
    const late = AbortSignal.timeout(START_DEADLINE_MS);
    const ended = once(this.#process, 'exit', { signal: late }).then(([code]) => {
      throw new Error(`the server ended with ${code}: ${this.#errors}`);
    });
    const [line] = await Promise.race([once(lines, 'line', { signal: late }), ended]);
    ended.catch(() => {}); // it may end later as it likes
    return line;
  }

  /** kill -9: nothing is flushed that was not before. */
  async kill() {
    const exit = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await exit;
  }

  async stop() {
    if (this.#process.exitCode === null && this.#process.signalCode === null) await this.kill();
    await rm(this.#dir, { recursive: true, force: true });
  }

  async push(topic, data, more = {}) {
    const to = { client: this.line.client_id };
    const response = await this.call('POST', '/v1/push', { to, topic, data, ...more });
    if (response.status !== 201 && response.status !== 202) {
      throw new Error(`push answered ${response.status}: ${await response.text()}`);
    }
    return response.json();
  }

  /** Until the server itself has seen the client go. */
  async offline() {
    const late = Date.now() + START_DEADLINE_MS;
    for (;;) {
      const response = await this.call('GET', `/v1/clients/${this.line.client_id}`);
      const { online } = await response.json();
      if (online === false) return;
      if (Date.now() > late) throw new Error(`the client is still there: online is ${online}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  call(method, path, body) {
    return fetch(this.line.url + path, {
      method,
      headers: { Authorization: `Bearer ${this.line.api_key}`, 'Content-Type': 'application/json' },
      body: body && JSON.stringify(body),
    });
  }
}
