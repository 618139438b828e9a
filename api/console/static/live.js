// The live page of a dev server: one client, what it receives, and how each
// push got on. Settings come from /live/config.json, which only a page from
// the server itself, on the same machine, is given.

import { connect } from '/client/sunzi.js';
import { Api, loadSettings } from './api.js';
import { Stream, duration } from './stream.js';
import { Watch } from './watch.js';

const $ = (id) => document.getElementById(id);
const BACKLOG_POLL_MS = 1_500;

const WORDS = {
  DISCONNECTED: 'Starting',
  CONNECTING: 'Connecting',
  CONNECTED: 'Connected',
  RECONNECTING: 'Reconnecting',
  FAILED: 'Disconnected',
  CLOSED: 'Offline',
};

const stream = new Stream({ list: $('messages'), scroll: $('scroll'), empty: $('empty') });
let settings;
let api;
let watch;
let client = null;
let received = 0;
let replayed = 0;
let wentOffline = 0;
let sealing = false;
let unsealed = false; // it was turned off
const frames = new Map(); // place -> the sealed frame that its message came in

main();

async function main() {
  prepareCopying();
  $('clear').addEventListener('click', () => stream.clear());
  try {
    settings = await loadSettings();
  } catch (error) {
    showState('FAILED', 'Not available');
    notice(error.status === 403
      ? 'This page gets its settings only on the machine that runs sunzi dev. Open it there, on 127.0.0.1 or localhost.'
      : `The settings can't be read: ${error.message}.`, 'bad', 'Try again', () => location.reload());
    return;
  }
  api = new Api(settings.api_key);
  watch = new Watch(api, stream, { id: settings.client_id, realm: settings.realm });
  $('curl').textContent = settings.curl;
  $('snippet').textContent = settings.snippet;
  $('client-id').textContent = settings.client_id;
  $('offline').addEventListener('click', toggle);
  if (settings.seal_key) prepareSealing();
  $('push').addEventListener('submit', push);
  $('data').addEventListener('keydown', (e) => {
    if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) $('push').requestSubmit();
  });
  for (const b of [$('offline'), $('push').querySelector('button')]) b.disabled = false;
  setInterval(pollBacklog, BACKLOG_POLL_MS);
  open();
}

// The address is the one this page came from, so that its policy (connect to
// nothing else) holds however the server was named.
function address() {
  const u = new URL(settings.ws_url);
  return new URL(u.pathname + u.search, location.href).href;
}

function open() {
  let first = settings.token;
  client = connect(address(), {
    clientId: settings.realm ? undefined : settings.client_id, // known before welcome, so is its cursor
    token: async () => {
      const token = first ?? (await loadSettings()).token;
      first = null;
      return token;
    },
    cursors: 'indexeddb',
    // Turned off it says so, or the keys of before would still be sealed for.
    ...(sealing && { seal: 'crt', serverKey: settings.seal_key }),
    ...(unsealed && { seal: 'none' }),
  });
  client.on('*', arrive);
  client.when('state', stateChanged);
  client.when('welcome', (w) => {
    replayed = 0;
    $('client-id').textContent = w.client_id;
    showBacklog(w.backlog);
    const handled = w.cursor > client.cursor ? w.cursor : client.cursor;
    if (handled > 0n) $('cursor').textContent = `#${handled}`;
  });
  client.when('replay_complete', () => {
    if (replayed > 0) stream.note(`Replay complete: ${count(replayed, 'message')}`);
    showBacklog(0);
  });
  client.when('gap', gap);
  client.when('tombstone', (t) => {
    stream.withdraw(t.id);
    stream.note(`Push ${t.id} was cancelled`, 'warn');
  });
  client.when('sealed', sealed);
  client.when('keys', ({ generation }) => stream.note(`New sealing keys: generation ${generation}`));
  client.when('failed', (f) => stream.state(f.id, 'failed'));
  client.when('error', ({ error }) => stream.note(error.message, 'warn'));
}

function arrive(m) {
  stream.message(m, Date.now(), frames.get(m.seq));
  frames.delete(m.seq);
  watch.arrived(m.id, m.seq);
  $('count').textContent = ++received;
  if (m.replayed) replayed++;
  if (m.seq !== null) $('cursor').textContent = `#${m.seq}`;
}

// A frame comes before its message is handled. One that holds nothing for this
// client is a cover: the server sends it so that nobody can tell for whom it is.
function sealed({ bytes, place, cover, failed }) {
  if (failed) stream.note(`A sealed frame of ${bytes.length} bytes did not open`, 'warn');
  else if (cover) stream.note(`A sealed frame of ${bytes.length} bytes that holds nothing for this client`);
  else if (place !== null) frames.set(place, bytes);
}

// Keys are kept by the browser, and what is asked for is remembered.
function prepareSealing() {
  sealing = localStorage.getItem('sunzi-seal') === 'on';
  unsealed = localStorage.getItem('sunzi-seal') === 'off';
  const button = $('seal');
  const show = () => {
    button.setAttribute('aria-pressed', String(sealing));
    button.textContent = sealing ? 'Sealed' : 'Seal';
  };
  button.hidden = false;
  show();
  button.addEventListener('click', async () => {
    button.disabled = true;
    sealing = !sealing;
    unsealed = !sealing;
    localStorage.setItem('sunzi-seal', sealing ? 'on' : 'off');
    show();
    await client.close();
    open();
  });
}

function gap({ from, to, reason }) {
  const n = Number(to - from) + 1;
  const places = n === 1 ? `#${from}` : `#${from}–#${to}`;
  stream.note(`${places} ${reason}: ${count(n, 'message')} not delivered`, 'warn');
  $('cursor').textContent = `#${to}`;
}

function stateChanged(e) {
  // What waits sealed needs its keys: only who has everything may do without.
  // And who is not served as it is may turn it: on where the server wants it, off
  // where the server does not seal, or is another one.
  const needed = e.to === 'FAILED' && (sealing || e.code === 4009 || e.code === 4106);
  $('seal').disabled = e.to !== 'CONNECTED' && !needed;
  const wait = e.retryInMs >= 1_000 ? `, trying again in ${duration(e.retryInMs)}` : '';
  showState(e.to, WORDS[e.to] + wait);
  if (e.to === 'CONNECTED') {
    notice(null);
    if (wentOffline) stream.note(`Back after ${duration(Date.now() - wentOffline)}`);
    wentOffline = 0;
  } else if (e.from === 'CONNECTED') {
    wentOffline = Date.now();
    stream.note(e.to === 'CLOSED' ? 'Went offline' : e.replaced ? 'Replaced by another tab' : 'Connection lost');
  }
  if (e.to === 'FAILED') failed(e);
}

function failed(e) {
  if (e.replaced) {
    notice('This client is now connected in another tab or program. The newest connection of a client wins.',
      'warn', 'Take over', () => client.start());
  } else {
    notice(`The server ended the connection for good (${e.code}${e.reason ? `, ${e.reason}` : ''}).`,
      'bad', 'Try again', () => client.start());
  }
}

async function toggle() {
  const offline = client.state !== 'CLOSED';
  $('offline').setAttribute('aria-pressed', String(offline));
  $('offline').textContent = offline ? 'Go online' : 'Go offline';
  notice(null);
  if (offline) await client.close();
  else open();
}

async function push(event) {
  event.preventDefault();
  const field = $('data');
  let data;
  try {
    data = JSON.parse(field.value);
    field.removeAttribute('aria-invalid');
  } catch {
    field.setAttribute('aria-invalid', 'true');
    answer('The data is not JSON. Text needs quotes: "hello".', 'bad');
    field.focus();
    return;
  }
  const to = { client: settings.client_id, ...(settings.realm && { realm: settings.realm }) };
  const started = performance.now();
  try {
    const receipt = await api.push({ to, topic: $('topic').value, data });
    const took = duration(performance.now() - started);
    answer(`Accepted and stored in ${took}, ${receipt.online > 0 ? 'client online' : 'client offline'}`);
  } catch (error) {
    answer(`Refused: ${error.message}`, 'bad');
  }
}

// While the client is away the server's count is the one to show.
async function pollBacklog() {
  if (document.hidden || client.state === 'CONNECTED') return;
  try {
    const status = await api.client(settings.client_id, settings.realm);
    if (client.state !== 'CONNECTED') showBacklog(status.backlog?.count ?? 0);
  } catch {
    $('backlog').textContent = 'not known';
  }
}

function showBacklog(n) {
  $('backlog').textContent = n === 0 ? 'none' : `${n} waiting`;
}

function showState(state, text) {
  $('state').dataset.state = state;
  $('state-text').textContent = text;
}

function answer(text, kind = '') {
  $('push-answer').textContent = text;
  $('push-answer').dataset.kind = kind;
}

function notice(text, kind, action, onAction) {
  $('notice').hidden = text === null;
  if (text === null) return;
  $('notice').dataset.kind = kind;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = action ?? '';
  $('notice-action').onclick = onAction;
}

function prepareCopying() {
  for (const button of document.querySelectorAll('[data-copy]')) {
    button.addEventListener('click', async () => {
      const source = $(button.dataset.copy);
      try {
        await navigator.clipboard.writeText(source.textContent);
        button.textContent = 'Copied';
      } catch {
        getSelection().selectAllChildren(source);
        button.textContent = 'Selected';
      }
      setTimeout(() => (button.textContent = 'Copy'), 1_500);
    });
  }
}

function count(n, noun) {
  return `${n} ${noun}${n === 1 ? '' : 's'}`;
}
