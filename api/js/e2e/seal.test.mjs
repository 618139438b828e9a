// Sealing, in real browsers against a real server: the page's switch, keys that
// outlive a reload, and two browsers in one shard, one of which goes offline and
// comes back.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AxeBuilder } from '@axe-core/playwright';
import { acked, connected, launch, open, rows, setting as settingOf } from './browser.mjs';

const LIMIT = { timeout: 60_000 };
let browser;
let shots;

before(async () => {
  browser = await launch();
  shots = process.env.SUNZI_SHOTS ?? (await mkdtemp(join(tmpdir(), 'sunzi-shots-')));
});
after(() => browser?.close());

const setting = (t, options) => settingOf(browser, t, options);

/** Turns sealing on, and waits until the server seals. */
async function seal(page) {
  await page.getByRole('button', { name: 'Seal', exact: true }).click();
  await page.getByText('New sealing keys').last().waitFor();
  await connected(page);
}

const wire = (page, id) => page.locator(`#messages [data-id="${id}"] .wire summary`);

test('the switch has messages sealed, and shows their bytes beside the text', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  const clear = await server.push('n', 'in clear');
  await acked(page, clear.id);
  await seal(page);
  const short = await server.push('otp', 123456, { seal: 'crt' });
  const long = await server.push('n', { text: 'long '.repeat(400) });
  await acked(page, long.id);
  assert.deepEqual((await rows(page)).map((r) => r.topic), ['n', 'otp', 'n']);
  assert.equal(await wire(page, clear.id).count(), 0);
  assert.equal(await wire(page, short.id).textContent(), '1100 bytes on the wire');
  assert.match(await wire(page, long.id).textContent(), /^3\d{3} bytes on the wire$/);
  const history = await (await server.call('GET', `/v1/clients/${server.line.client_id}/messages`)).json();
  assert.deepEqual(history.messages.map((e) => [e.seq, 'data' in (e.message ?? {})]), [['1', true], ['2', false], ['3', false]]);
  await wire(page, short.id).click();
  await page.screenshot({ path: join(shots, 'sealed.png'), fullPage: true });
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(', ')}`), []);
  // And off again: what is pushed then comes in clear.
  await page.getByRole('button', { name: 'Sealed', exact: true }).click();
  await page.locator('#seal[aria-pressed="false"]').waitFor();
  await connected(page);
  const after = await server.push('n', 'in clear again');
  await acked(page, after.id);
  assert.equal(await wire(page, after.id).count(), 0);
  assert.deepEqual(problems, []);
  t.diagnostic(`screenshot ${join(shots, 'sealed.png')}`);
});

test('what was sealed while the page was closed and the server killed opens after a reload', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const first = await open(context, server.line.page, problems);
  await connected(first);
  await seal(first);
  await acked(first, (await server.push('n', 0)).id);
  await first.close();
  await server.offline();
  const ids = [(await server.push('n', 1, { seal: 'crt' })).id];
  await server.kill();
  await server.start();
  ids.push((await server.push('n', { text: 'x'.repeat(3000) }, { seal: 'crt' })).id);
  const second = await open(context, server.line.page, problems);
  await acked(second, ids[1]);
  assert.deepEqual((await rows(second)).map((r) => [r.id, r.replayed]), ids.map((id) => [id, true]));
  for (const id of ids) assert.equal(await wire(second, id).count(), 1);
  assert.deepEqual(problems, []);
});

test('two browsers and a Go client in one shard: one frame for all, one goes offline and back', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  await seal(page);
  // The second is a client of its own, on a page of the same server.
  const response = await server.call('POST', '/v1/clients', {});
  const other = await response.json();
  const apart = await browser.newContext();
  t.after(() => apart.close());
  const guest = await apart.newPage();
  await guest.goto(server.line.url + '/client/sunzi.js'); // the live page would be the first one's client
  const start = ([url, token, serverKey]) => new Promise((resolve, reject) => {
    import('/client/sunzi.js').then(({ connect }) => {
      window.got = [];
      window.frames = [];
      window.client = connect(url, { token, seal: 'crt', serverKey, cursors: 'indexeddb' });
      window.client.on('*', (m) => window.got.push([m.topic, m.data, m.sealed]));
      window.client.when('sealed', (f) => window.frames.push([f.bytes.length, f.cover]));
      window.client.when('keys', resolve);
      window.client.when('state', (e) => e.to === 'FAILED' && reject(new Error(e.reason || String(e.error))));
    }, reject);
  });
  const args = [`${server.line.ws_url}/${other.client_id}`.replace(/^ws/, 'ws'), other.token, server.line.seal_key];
  await guest.evaluate(start, args);
  const shell = await goClient(t, server);
  const to = { clients: [server.line.client_id, other.client_id, shell.id] };
  const both = await server.push('both', { text: 'y'.repeat(2000) }, { to, seal: 'crt' });
  await acked(page, both.id);
  await guest.waitForFunction(() => window.got.length === 1);
  const mine = await server.push('mine', 7, { seal: 'crt' });
  await acked(page, mine.id);
  await guest.waitForFunction(() => window.frames.some(([, cover]) => cover)); // it got the frame, and nothing in it
  await page.getByRole('button', { name: 'Go offline' }).click();
  await page.locator('#state[data-state="CLOSED"]').waitFor();
  const away = await server.push('away', 8, { to, seal: 'crt' });
  await guest.waitForFunction(() => window.got.length === 2);
  await page.getByRole('button', { name: 'Go online' }).click();
  await acked(page, away.id);
  assert.deepEqual(await guest.evaluate(() => window.got.map(([topic, , sealed]) => [topic, sealed])), [['both', true], ['away', true]]);
  assert.deepEqual((await rows(page)).map((r) => r.topic), ['both', 'mine', 'away']);
  assert.deepEqual((await shell.ended).map((m) => [m.topic, m.sealed]), [['both', true], ['away', true]]);
  assert.deepEqual(problems, []);
});

/** The Go library, as sunzi listen runs it, until it has heard two messages. */
async function goClient(t, server) {
  const { client_id: id, token } = await (await server.call('POST', '/v1/clients', {})).json();
  const args = ['listen', '--url', server.line.url, '--client', id, '--seal', 'crt', '--server-key', server.line.seal_key, '--count', '2', '--json'];
  const child = spawn(process.env.SUNZI_BIN, args, { env: { ...process.env, SUNZI_TOKEN: token } });
  t.after(() => child.kill());
  let out = '';
  let told = '';
  child.stdout.on('data', (d) => (out += d));
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => (code === 0 ? resolve(out.trim().split('\n').map((l) => JSON.parse(l))) : reject(new Error(`ended with ${code}: ${told}`))));
  });
  ended.catch(() => {}); // awaited at the end
  await new Promise((resolve) => {
    child.stderr.on('data', (d) => {
      told += d;
      if (told.includes('sealing keys of generation')) resolve();
    });
    child.on('exit', resolve);
  });
  return { id, ended };
}

test('mode aead: what the page sends is sealed as well, acks among it', LIMIT, async (t) => {
  const { server } = await setting(t);
  const other = await (await server.call('POST', '/v1/clients', {})).json();
  const context = await browser.newContext();
  t.after(() => context.close());
  const guest = await context.newPage();
  const sent = [];
  guest.on('websocket', (ws) => ws.on('framesent', ({ payload }) => sent.push(payload)));
  await guest.goto(server.line.url + '/client/sunzi.js');
  await guest.evaluate(([url, token, serverKey]) => new Promise((resolve, reject) => {
    import('/client/sunzi.js').then(({ connect }) => {
      window.got = [];
      window.client = connect(url, { token, seal: 'aead', serverKey, sealKeys: 'memory' });
      window.client.on('*', (m) => window.got.push([m.data, m.sealed]));
      window.client.when('keys', resolve);
      window.client.when('state', (e) => e.to === 'FAILED' && reject(new Error(e.reason || String(e.error))));
    }, reject);
  }), [`${server.line.ws_url}/${other.client_id}`, other.token, server.line.seal_key]);
  for (const n of [1, 2]) {
    const { id } = await server.push('n', n, { to: { client: other.client_id }, seal: 'aead' });
    await guest.waitForFunction((want) => window.got.length === want, n);
    for (;;) {
      const { clients } = await (await server.call('GET', `/v1/push/${id}`)).json();
      if (clients[0].state === 'acked') break;
    }
  }
  assert.deepEqual(await guest.evaluate(() => window.got), [[1, true], [2, true]]);
  const clear = sent.filter((p) => typeof p === 'string').map((p) => JSON.parse(p).type);
  assert.deepEqual(clear, ['hello', 'seal_hello', 'seal_confirm']);
  assert.ok(sent.some((p) => typeof p !== 'string'), 'nothing was sent sealed');
});
