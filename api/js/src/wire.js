// The JSON sub-protocol (api/wire/SPEC.md). Sequences are decimal strings on
// the wire and bigint here: they may pass 2^53.

export const PROTOCOL = 'sunzi.v1.json';
const BEARER = 'bearer.';
const SEQ = /^(0|[1-9][0-9]{0,19})$/;

/** The sub-protocols to offer: a browser can send a token in no other header. */
export function protocols(token) {
  return token ? [PROTOCOL, BEARER + token] : [PROTOCOL];
}

/** A sequence from the wire; throws on anything else. */
export function toSeq(text) {
  if (typeof text !== 'string' || !SEQ.test(text)) throw new Error('not a sequence');
  return BigInt(text);
}

/** Parses one text frame; throws where it is not of this protocol. */
export function decode(text) {
  const m = JSON.parse(text);
  if (m === null || typeof m !== 'object' || typeof m.type !== 'string') {
    throw new Error('not a message object');
  }
  switch (m.type) {
    case 'welcome':
      return { ...m, cursor: toSeq(m.cursor) };
    case 'message':
      return toMessage(m);
    case 'replay_complete':
      return { ...m, seq: toSeq(m.seq) };
    case 'gap':
      return { ...m, from: toSeq(m.from), to: toSeq(m.to) };
    case 'tombstone':
      return { ...m, seq: m.seq === undefined ? null : toSeq(m.seq) };
  }
  return m;
}

function toMessage(m) {
  const { id } = m;
  if (typeof id !== 'string') throw new Error('a message without id');
  const seq = m.seq === undefined ? null : toSeq(m.seq);
  const message = {
    id,
    seq,
    ts: m.ts,
    topic: m.topic ?? '',
    data: typeof m.data_base64 === 'string' ? toBytes(m.data_base64) : m.data,
    replayed: m.replayed === true,
    priority: m.priority ?? 3,
    collapseKey: m.collapse_key ?? null,
    attachment: m.attachment ?? null,
    expires: m.expires ?? null,
    sealed: false,
  };
  return { type: m.type, id, seq, message };
}

export function toBytes(base64) {
  const s = atob(base64);
  const b = new Uint8Array(s.length);
  for (let i = 0; i < s.length; i++) b[i] = s.charCodeAt(i);
  return b;
}
