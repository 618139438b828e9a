// Sunzi's browser client. Read client.js for the connection and inbox.js for
// what is promised about messages; sunzi.d.ts documents the API.

import { Client } from './client.js';
import { indexedDBCursors, memoryCursors } from './cursors.js';
import { platform as browser } from './platform.js';
import { toBytes } from './wire.js';

// The sealing code is a file beside this one, as it is in src and in dist. In the
// IIFE there is no import.meta, but there is the script that runs.
const SEAL_FILE = typeof SUNZI_SEAL_FILE === 'string' ? SUNZI_SEAL_FILE : './seal/entry.js';
const HERE = import.meta.url ?? globalThis.document?.currentScript?.src;

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
    seal: seal(options),
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

// What sealing needs, or null where nothing is said of it. Without load it is not
// asked for: the keys of before are given up.
function seal({ seal: mode, serverKey, allowPlain = false, sealKeys: keys = 'indexeddb', sealUp: up = true, sealUrl }) {
  if (mode === undefined) return null;
  if (mode === 'none') return { load: null };
  if (mode !== 'crt' && mode !== 'aead') throw new TypeError(`sunzi: unknown seal ${mode}`);
  const server = pinned(serverKey);
  if (keys !== 'indexeddb' && keys !== 'memory' && !['load', 'put', 'remove'].every((f) => typeof keys?.[f] === 'function')) {
    throw new TypeError('sunzi: sealKeys must be "indexeddb", "memory" or {load, put, remove}');
  }
  const url = String(sealUrl ?? new URL(SEAL_FILE, HERE));
  return {
    load: async (platform, hooks) => {
      const { Sealing } = await import(/* webpackIgnore: true */ /* @vite-ignore */ url);
      return new Sealing(platform, { mode, server, allowPlain, keys, up, url }, hooks);
    },
  };
}

function pinned(key) {
  if (!/^[A-Za-z0-9_-]{43}$/.test(key)) throw new TypeError('sunzi: seal needs serverKey, 32 bytes in base64url');
  return toBytes(key.replace(/-/g, '+').replace(/_/g, '/'));
}
