// A stand-in for `sunzi dev`, so that the page and the client can be worked on
// without the server: one client, one mailbox in a JSON file, the few routes
// that the page uses, and as much of RFC 6455 as a browser needs. It promises
// nothing and checks little; the tests are about the real one.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { accept, frame, unframe } from './rfc6455.mjs';

const option = (name, fallback) => {
  const i = process.argv.indexOf(`--${name}`);
  return i < 0 ? fallback : process.argv[i + 1];
};
const [host, port] = option('listen', '127.0.0.1:8080').split(':');
const dir = option('data', './data');
const root = new URL('../../', import.meta.url);

mkdirSync(dir, { recursive: true });
const file = join(dir, 'mailbox.json');
const fresh = { client: '7000000001', key: 'key-fake', token: 'token-fake', incarnation: randomBytes(8).toString('hex'), cursor: 0, entries: [], next: 9000000001 };
const box = existsSync(file) ? JSON.parse(readFileSync(file)) : fresh;
let session = null;
let sessions = 0;

function save() {
  writeFileSync(`${file}.new`, JSON.stringify(box));
  renameSync(`${file}.new`, file);
}

// HTTP

const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml', ts: 'text/plain' };

const server = createServer(async (req, res) => {
  const url = new URL(req.url, 'http://h');
  const json = (status, body) => {
    res.writeHead(status, { 'Content-Type': 'application/json' });
    res.end(JSON.stringify(body));
  };
  const name = url.pathname === '/' ? 'console/static/index.html'
    : url.pathname.startsWith('/client/') ? `js/dist/${url.pathname.slice(8)}`
    : url.pathname.startsWith('/live/') ? `console/static/${url.pathname.slice(6)}` : null;
  if (url.pathname === '/live/config.json') return json(200, settings());
  if (name && !name.includes('..') && existsSync(new URL(name, root))) {
    const policy = readFileSync(new URL('console/console.go', root), 'utf8').match(/const Policy = ([^]*?)\n\n/)[1];
    res.writeHead(200, {
      'Content-Type': TYPES[name.split('.').at(-1)],
      'Content-Security-Policy': [...policy.matchAll(/"([^"]*)"/g)].map((m) => m[1]).join(''),
    });
    return res.end(readFileSync(new URL(name, root)));
  }
  if (req.headers.authorization !== `Bearer ${box.key}`) return json(401, { title: 'Unauthorized' });
  const [, , kind, id] = url.pathname.split('/');
  if (kind === 'push' && req.method === 'POST') return json(session ? 201 : 202, push(JSON.parse(await body(req))));
  if (kind === 'push' && req.method === 'GET') return status(id, json);
  if (kind === 'push' && req.method === 'DELETE') return json(200, cancel(id));
  if (kind === 'clients') return json(200, { client_id: box.client, realm: '', online: !!session, connections: [], cursor: String(box.cursor), backlog: { count: waiting().length } });
  json(404, { title: 'Not found' });
});

async function body(req) {
  let text = '';
  for await (const chunk of req) text += chunk;
  return text;
}

const waiting = () => box.entries.filter((e) => e.seq > box.cursor && !e.gone);

function push({ topic = '', data, store }) {
  const entry = { id: String(box.next++), ts: Date.now(), topic, data, seq: store === 'never' ? 0 : box.entries.length + 1 };
  if (entry.seq) {
    box.entries.push(entry);
    save();
  }
  session?.send(message(entry, false));
  return { id: entry.id, accepted: entry.ts, online: session ? 1 : 0, stored: entry.seq ? 1 : 0, duplicate: false, rejected: [] };
}

function status(id, json) {
  const e = box.entries.find((x) => x.id === id);
  if (!e) return json(404, { title: 'Not found' });
  const state = e.gone ? 'cancelled' : e.seq <= box.cursor ? 'acked' : 'stored';
  json(200, { id, accepted: e.ts, state, counts: { [state]: 1 }, clients: [{ client: box.client, seq: String(e.seq), state }] });
}

function cancel(id) {
  const e = box.entries.find((x) => x.id === id);
  if (e) e.gone = true;
  save();
  session?.send({ type: 'tombstone', id, seq: String(e?.seq ?? 0) });
  return { cancelled: e ? 1 : 0 };
}

function message(e, replayed) {
  const { seq, id, ts, topic, data } = e;
  return { type: 'message', ...(seq && { seq: String(seq) }), ...(replayed && { replayed }), id, ts, topic, data };
}

function settings() {
  const at = `${host}:${server.address().port}`;
  return {
    ws_url: `ws://${at}/ws/${box.client}`,
    client_id: box.client,
    token: box.token,
    api_key: box.key,
    curl: `curl http://${at}/v1/push -H 'Authorization: Bearer ${box.key}' -H 'Content-Type: application/json' -d '{"to":{"client":"${box.client}"},"topic":"hello","data":{"text":"Hello from curl"}}'`,
    snippet: `import { connect } from 'http://${at}/client/sunzi.js';\n\nconst client = connect('ws://${at}/ws/${box.client}', { token: '${box.token}' });\nclient.on('*', (m) => console.log(m.topic, m.data));\n`,
  };
}

// WebSocket

server.on('upgrade', (req, socket) => {
  accept(req, socket);
  socket.on('error', () => {});
  const mine = {
    send: (m) => socket.write(frame(1, Buffer.from(JSON.stringify(m)))),
    close: (code, reason) => socket.end(frame(8, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]))),
  };
  if (!req.headers['sec-websocket-protocol']?.includes(`bearer.${box.token}`)) return mine.close(4001, 'invalid or expired token');
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (let f; (f = unframe(rest)); rest = rest.subarray(f.length)) {
      if (f.opcode === 8) socket.end(frame(8, f.payload));
      else if (f.opcode === 1) hear(mine, JSON.parse(f.payload));
    }
  });
  socket.on('close', () => session === mine && (session = null));
});

function hear(mine, m) {
  if (m.type === 'hello') {
    session?.close(4007, 'replaced');
    session = mine;
    const known = m.incarnation === box.incarnation ? Number(m.cursor) : box.cursor;
    box.cursor = Math.max(box.cursor, known);
    const replay = box.entries.filter((e) => e.seq > known);
    mine.send({ type: 'welcome', client_id: box.client, session: `s${++sessions}`, generation: '1', incarnation: box.incarnation, cursor: String(known), heartbeat: 25_000, backlog: waiting().length });
    for (const e of replay) mine.send(e.gone ? { type: 'gap', from: String(e.seq), to: String(e.seq), reason: 'cancelled' } : message(e, true));
    mine.send({ type: 'replay_complete', seq: String(box.entries.length) });
  } else if (m.type === 'ack') {
    box.cursor = Math.max(box.cursor, Number(m.seq));
    save();
  } else if (m.type === 'ping') mine.send({ type: 'pong' });
}

server.listen(Number(port), host, () => {
  save();
  const s = settings();
  const at = `http://${host}:${server.address().port}`;
  console.log(JSON.stringify({ url: at, ws_url: s.ws_url, page: `${at}/`, api_key: s.api_key, client_id: s.client_id, token: s.token }));
});
