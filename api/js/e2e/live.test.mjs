// The first minute, in a real browser against a real server: what was pushed
// shows; what was pushed while the page was closed and the server was killed
// shows in order, each once.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { mkdtemp } from 'node:fs/promises';
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

test('a push shows with its latency, and its state goes to acked', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  const { id } = await server.push('hello', { text: 'from curl' });
  await acked(page, id);
  const [row] = await rows(page);
  assert.deepEqual([row.topic, row.data, row.seq, row.replayed], ['hello', '{"text":"from curl"}', '1', false]);
  assert.ok(row.latency < 5_000, `latency ${row.latency} ms`);
  assert.ok((await page.locator('#curl').textContent()).includes(server.line.client_id));
  assert.deepEqual(problems, []);
});

test('the form pushes, and says what is wrong with its data', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  await page.getByLabel('Data').fill('not json');
  await page.getByRole('button', { name: 'Push', exact: true }).click();
  await page.getByText('The data is not JSON').waitFor();
  await page.getByLabel('Topic').fill('form');
  await page.getByLabel('Data').fill('[1, "two"]');
  await page.keyboard.press('Control+Enter');
  await page.locator('#messages [data-state="acked"]').waitFor();
  await page.getByText('Accepted and stored').waitFor();
  const list = await rows(page);
  assert.deepEqual(list.map((r) => [r.topic, r.data]), [['form', '[1,"two"]']]);
  assert.deepEqual(problems, []);
});

test('what was pushed while the page was closed and the server was killed shows in order, each once', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const first = await open(context, server.line.page, problems);
  await connected(first);
  await acked(first, (await server.push('n', 0)).id);
  await first.close();
  await server.offline(); // a page that is being closed may still take a message

  const ids = [];
  for (let n = 1; n <= 5; n++) ids.push((await server.push('n', n)).id);
  await server.kill();
  await server.start();
  for (let n = 6; n <= 8; n++) ids.push((await server.push('n', n)).id);

  const second = await open(context, server.line.page, problems);
  await acked(second, ids.at(-1));
  const list = await rows(second);
  assert.deepEqual(list.map((r) => r.id), ids);
  assert.deepEqual(list.map((r) => r.data), ['1', '2', '3', '4', '5', '6', '7', '8']);
  assert.ok(list.every((r) => r.replayed && r.state === 'acked'));
  await second.close();

  // The cursor was kept: nothing comes a second time.
  const third = await open(context, server.line.page, problems);
  await connected(third);
  assert.equal(await third.locator('#cursor').textContent(), '#9'); // said at once
  await acked(third, (await server.push('n', 9)).id);
  assert.deepEqual((await rows(third)).map((r) => r.data), ['9']);
  assert.deepEqual(problems, []);
});

test('a page that stays open lives through kill -9, and shows each push once', LIMIT, async (t) => {
  const { server, context } = await setting(t);
  const page = await open(context, server.line.page, []);
  await connected(page);
  const ids = [(await server.push('n', 1)).id];
  await acked(page, ids[0]);
  await server.kill();
  await page.locator('#state:not([data-state="CONNECTED"])').waitFor();
  await server.start();
  ids.push((await server.push('n', 2)).id);
  await acked(page, ids[1]);
  assert.deepEqual((await rows(page)).map((r) => r.id), ids);
});

test('go offline, push, go online: the backlog counts, then is replayed', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  await acked(page, (await server.push('n', 1)).id);
  await page.getByRole('button', { name: 'Go offline' }).click();
  await page.locator('#state[data-state="CLOSED"]').waitFor();
  const ids = [];
  for (const n of [2, 3]) ids.push((await server.push('n', n)).id);
  await page.getByText('2 waiting').waitFor();
  await page.getByRole('button', { name: 'Go online' }).click();
  await acked(page, ids.at(-1));
  await page.getByText('Replay complete: 2 messages').waitFor();
  const list = await rows(page);
  assert.deepEqual(list.map((r) => [r.data, r.replayed]), [['1', false], ['2', true], ['3', true]]);
  assert.deepEqual(problems, []);
});

test('a cancelled push shows as a gap', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const page = await open(context, server.line.page, problems);
  await connected(page);
  await page.getByRole('button', { name: 'Go offline' }).click();
  await page.locator('#state[data-state="CLOSED"]').waitFor();
  const gone = await server.push('n', 1);
  const kept = await server.push('n', 2);
  const response = await server.call('DELETE', `/v1/push/${gone.id}`);
  assert.ok(response.ok, `DELETE answered ${response.status}`);
  await page.getByRole('button', { name: 'Go online' }).click();
  await acked(page, kept.id);
  await page.getByText('#1 cancelled: 1 message not delivered').waitFor();
  assert.deepEqual((await rows(page)).map((r) => r.data), ['2']);
});

test('a second tab takes over, says so in the first, and can be taken over from', LIMIT, async (t) => {
  const { server, context, problems } = await setting(t);
  const one = await open(context, server.line.page, problems);
  await connected(one);
  const two = await open(context, server.line.page, problems);
  await connected(two);
  await one.getByText('connected in another tab').waitFor();
  await one.getByRole('button', { name: 'Take over' }).click();
  await connected(one);
  await two.getByText('connected in another tab').waitFor();
  assert.equal(await one.locator('#notice').isVisible(), false);
  assert.deepEqual(problems, []);
});

for (const [name, width, height, scheme] of [
  ['phone', 390, 844, 'light'],
  ['phone-dark', 390, 844, 'dark'],
  ['desktop', 1280, 800, 'light'],
  ['desktop-dark', 1280, 800, 'dark'],
]) {
  test(`fits and is accessible: ${name}`, LIMIT, async (t) => {
    const { server, context, problems } = await setting(t, { viewport: { width, height }, colorScheme: scheme });
    await server.push('waited', { text: 'pushed before the page was open' });
    const page = await open(context, server.line.page, problems);
    await connected(page);
    await server.push('orders.shipped', { order: '2026-0042', items: [{ sku: 'A-7', n: 3 }], note: 'x'.repeat(300) });
    const { id } = await server.push('hello', 'short');
    await acked(page, id);
    await page.waitForFunction(() => document.getAnimations().every((a) => a.playState === 'finished'));
    await page.screenshot({ path: join(shots, `${name}.png`), fullPage: true });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    assert.ok(wide <= 0, `${wide} px wider than the window`);
    const { violations } = await new AxeBuilder({ page }).analyze();
    assert.deepEqual(violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.target).join(', ')}`), []);
    assert.deepEqual(problems, []);
    t.diagnostic(`screenshot ${join(shots, `${name}.png`)}`);
  });
}
