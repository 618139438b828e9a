// Sunzi's browser client. Read client.js for the connection and inbox.js for
// what is promised about messages; sunzi.d.ts documents the API.

import { Client } from './client.js';
import { indexedDBCursors, memoryCursors } from './cursors.js';
import { platform as browser } from './platform.js';


/** Opens a client. Throws TypeError at once on options that can't work. */
export function connect(url, options) {
  const client = make(url, options, browser());
  // A turn later, so that the caller's on() and when() stand before anything happens.
  queueMicrotask(() => client.start());
  return client;
}

/** As connect, on the platform given, and not started: for tests. */
export function make(url, options, platform) {
  const { token, clientId, device, ack = 'after-handler', retry } = options;
  if (typeof token !== 'string' && typeof token !== 'function') {
    throw new TypeError('sunzi: token must be a string or a function');
  }
  if (ack !== 'after-handler' && ack !== 'manual') throw new TypeError(`sunzi: unknown ack mode ${ack}`);
  return new Client(platform, endpoint(url, clientId, platform), {
    token,
    clientId,
    device,
    ack,
    retry: { minMs: 250, maxMs: 5_000, maxFailures: 0, ...retry },
    cursors: cursors(options.cursors ?? 'indexeddb', platform),
  });
}

function endpoint(url, clientId, platform) {
  const u = new URL(url, platform.location?.href);
  u.protocol = u.protocol.replace(/^http/, 'ws');
  if (u.protocol !== 'ws:' && u.protocol !== 'wss:') throw new TypeError('sunzi: url must be ws: or wss:');
  u.hash = '';
  if (clientId && u.pathname.endsWith('/ws')) u.pathname += '/' + encodeURIComponent(clientId);
  return u.href;
}

function cursors(kind, platform) {
  if (kind === 'memory') return memoryCursors;
  if (kind === 'indexeddb') return (onTrouble) => indexedDBCursors(platform.indexedDB, onTrouble);
  if (typeof kind.load === 'function' && typeof kind.save === 'function') return () => kind;
  throw new TypeError('sunzi: cursors must be "indexeddb", "memory" or {load, save}');
}
