// Chromium for the tests: Debian's, headless, silent.
import { chromium } from 'playwright-core';
import { Server } from './server.mjs';

const QUIET = [
  '--no-sandbox',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-extensions',
  '--disable-sync',
  '--metrics-recording-only',
  '--no-first-run',
  '--no-pings',
  '--disable-features=OptimizationHints,MediaRouter,Translate,CertificateTransparencyComponentUpdater',
];

export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: QUIET });
}

/** A server and a browser profile of the test's own. */
export async function setting(browser, t, options = {}) {
  const server = await Server.make();
  t.after(() => server.stop());
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
  t.after(() => context.close());
  context.setDefaultTimeout(15_000);
  return { server, context, problems: [] };
}

/** A page that fails the test on any error or refused resource of its own. */
export async function open(context, url, problems) {
  const page = await context.newPage();
  page.on('pageerror', (e) => problems.push(`page error: ${e.message}`));
  page.on('console', (m) => m.type() === 'error' && problems.push(`console: ${m.text()}`));
  await page.goto(url);
  return page;
}

/** What the list shows: [{seq, id, topic, data, state, replayed, latency}] in order. */
export function rows(page) {
  return page.locator('#messages .message').evaluateAll((list) => list.map((row) => ({
    id: row.dataset.id,
    seq: row.dataset.seq ?? null,
    state: row.dataset.state,
    topic: row.querySelector('.topic').textContent,
    data: row.querySelector('.data').textContent,
    replayed: row.querySelector('.badge') !== null,
    latency: Number(row.querySelector('.latency').dataset.ms),
  })));
}

export const connected = (page) => page.locator('#state[data-state="CONNECTED"]').waitFor();
export const acked = (page, id) => page.locator(`#messages [data-id="${id}"][data-state="acked"]`).waitFor();
