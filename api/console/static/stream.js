// The list of what arrived, in order. Text only ever goes in as text.

const MAX_ROWS = 500;
const MAX_TEXT = 2_000; // characters of a message's data
const STEPS = ['accepted', 'stored', 'acked'];
const ENDINGS = ['expired', 'cancelled', 'dropped', 'failed'];

export class Stream {
  #list;
  #scroll;
  #empty;
  #rows = new Map(); // push ID -> { element, steps, seq, state }

  constructor({ list, scroll, empty }) {
    this.#list = list;
    this.#scroll = scroll;
    this.#empty = empty;
  }

  /** frame: the bytes that it came in, where it was sealed. */
  message(m, arrived, frame) {
    const row = element('li', 'message new');
    row.dataset.id = m.id;
    if (m.seq !== null) row.dataset.seq = m.seq;
    const what = element('div', 'what', element('span', 'topic', m.topic || '(no topic)'));
    what.append(latency(m, arrived));
    if (m.replayed) what.append(element('span', 'badge', 'replayed'));
    if (m.sealed) what.append(element('span', 'sealed', 'sealed'));
    const steps = element('div', 'steps');
    row.append(element('span', 'seq mono', m.seq === null ? 'live' : `#${m.seq}`), what, steps, body(m));
    if (frame) row.append(wire(frame));
    this.#rows.set(m.id, { element: row, steps, seq: m.seq });
    this.#add(row);
    this.state(m.id, m.seq === null ? 'live' : 'stored');
  }

  /** Shows how far a push got. */
  state(id, state) {
    const row = this.#rows.get(id);
    if (!row || row.state === state) return;
    row.state = state;
    row.element.dataset.state = state;
    row.steps.replaceChildren(...chips(state));
  }

  /** An ack covers everything before it. */
  acked(seq) {
    for (const [id, row] of this.#rows) {
      if (row.seq !== null && row.seq <= seq && row.state === 'stored') this.state(id, 'acked');
    }
  }

  withdraw(id) {
    this.#rows.get(id)?.element.classList.add('withdrawn');
  }

  note(text, kind = '') {
    const row = element('li', 'note', text);
    row.dataset.kind = kind;
    this.#add(row);
  }

  clear() {
    this.#rows.clear();
    this.#list.replaceChildren();
    this.#empty.hidden = false;
  }

  #add(row) {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroll;
    const atEnd = scrollTop + clientHeight >= scrollHeight - 40;
    this.#empty.hidden = true;
    this.#list.append(row);
    if (this.#list.childElementCount > MAX_ROWS) {
      this.#rows.delete(this.#list.firstElementChild.dataset.id);
      this.#list.firstElementChild.remove();
    }
    if (atEnd) this.#scroll.scrollTop = this.#scroll.scrollHeight;
  }
}

function chips(state) {
  if (state === 'live') return [element('span', 'done', 'live only')];
  const bad = ENDINGS.includes(state);
  const reached = bad ? 1 : Math.max(0, STEPS.indexOf(state === 'read' ? 'acked' : state));
  const names = bad ? ['accepted', 'stored', state] : STEPS;
  return names.flatMap((name, i) => {
    const chip = element('span', i <= reached ? 'done' : '', name);
    if (bad && i === 2) chip.className = 'bad';
    return i === 0 ? [chip] : [element('i', ''), chip];
  });
}

function latency(m, arrived) {
  const ms = Math.max(0, arrived - m.ts);
  const e = element('time', 'latency', m.replayed ? `waited ${duration(ms)}` : duration(ms));
  e.dateTime = new Date(m.ts).toISOString();
  e.title = `accepted ${new Date(m.ts).toLocaleString()}`;
  e.dataset.ms = ms;
  return e;
}

function body(m) {
  const box = element('div', 'data mono');
  if (m.data instanceof Uint8Array) box.append(`${m.data.length} bytes: ${hex(m.data)}`);
  else box.append(cut(JSON.stringify(m.data)));
  if (m.attachment) {
    const a = element('a', '', m.attachment.name || m.attachment.url);
    if (/^https?:\/\//i.test(m.attachment.url)) a.href = m.attachment.url;
    a.rel = 'noopener noreferrer';
    box.append(' ', a);
  }
  return box;
}

/** The bytes on the wire, beside the text. */
function wire(frame) {
  const box = element('details', 'wire');
  box.append(element('summary', '', `${frame.length} bytes on the wire`), element('div', 'mono', hex(frame)));
  return box;
}

function cut(text) {
  const rest = text.length - MAX_TEXT;
  return rest > 0 ? `${text.slice(0, MAX_TEXT)} … and ${rest} more characters` : text;
}

function hex(bytes) {
  const shown = [...bytes.subarray(0, 64)].map((b) => b.toString(16).padStart(2, '0')).join(' ');
  return bytes.length > 64 ? `${shown} …` : shown;
}

export function duration(ms) {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return `${Math.round(ms / 3_600_000)} h`;
}

function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.append(text);
  return e;
}
