// The library in a real browser: IndexedDB, the IIFE, a real WebSocket.
import test, { after, before } from 'node:test';
import assert from 'node:assert/strict';
import { launch } from './browser.mjs';
import { Server } from './server.mjs';

let browser;
let server;
before(async () => {
  browser = await launch();
  server = await Server.make();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test('the cursor outlives the page in IndexedDB, and never goes back', { timeout: 60_000 }, async (t) => {
  const context = await browser.newContext({ bypassCSP: true }); // the script is the test's own
  t.after(() => context.close());
  const page = await context.newPage();
  await page.goto(`${server.line.url}/client/sunzi.d.ts`); // any document of this origin
  await page.addScriptTag({ url: `${server.line.url}/client/sunzi.iife.js` });
  const receive = (count) => page.evaluate(async ([url, token, n]) => {
    const client = globalThis.Sunzi.connect(url, { token });
    const got = [];
    if (n > 0) for await (const m of client.messages()) if (got.push(`${m.seq} ${m.data}`) === n) break;
    await client.ready();
    await new Promise((r) => setTimeout(r, 200)); // room for what must not come
    const { cursor } = client;
    await client.close();
    return { got, cursor: String(cursor) };
  }, [server.line.ws_url, server.line.token, count]);

  await server.push('t', 'one');
  await server.push('t', 'two');
  assert.deepEqual(await receive(2), { got: ['1 one', '2 two'], cursor: '2' });
  assert.deepEqual(await receive(0), { got: [], cursor: '2' });
  const kept = await page.evaluate(() => new Promise((resolve) => {
    indexedDB.open('sunzi', 1).onsuccess = (e) => {
      const all = e.target.result.transaction('cursors').objectStore('cursors').getAll();
      all.onsuccess = () => resolve(all.result);
    };
  }));
  assert.deepEqual(kept.map((c) => c.seq), ['2']);
});
