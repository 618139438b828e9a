// Types of Sunzi's browser client. Times are milliseconds since 1970,
// sequences are bigint, IDs are strings.

export type State = 'DISCONNECTED' | 'CONNECTING' | 'CONNECTED' | 'RECONNECTING' | 'FAILED' | 'CLOSED';

/** Why a token is asked for: the first time, because the one held is ending or has ended, or because it was refused. */
export type Why = 'connect' | 'expired' | 'rejected';

export interface Attachment {
  readonly url: string;
  readonly type?: string;
  readonly size?: number;
  readonly name?: string;
}

export interface Message<T = unknown> {
  /** The push's ID. */
  readonly id: string;
  /** Place in the mailbox; null for live-only pushes, which have none. */
  readonly seq: bigint | null;
  /** When the server accepted it. */
  readonly ts: number;
  readonly topic: string;
  /** The JSON value that was pushed, or Uint8Array for bytes. */
  readonly data: T;
  /** Sent from the mailbox rather than as it was pushed. */
  readonly replayed: boolean;
  /** 1 (lowest) to 5. */
  readonly priority: number;
  readonly collapseKey: string | null;
  readonly attachment: Attachment | null;
  readonly expires: number | null;
  /** It came sealed (it may have been stored in clear before), under keys that only this client and the pinned server have (a channel's: its members). */
  readonly sealed: boolean;
  /** Only with ack: 'manual'. The cursor moves once all before it are acked too. */
  ack?(): void;
  /** Only with ack: 'manual'. Reports a dead letter with a code of your own, and goes on. */
  fail?(code?: number): void;
}

export interface Cursor {
  readonly incarnation: string;
  /** Decimal. */
  readonly seq: string;
}

/** Keeps cursors. key names server, realm and client, so that one user's cursor is never another's. */
export interface Cursors {
  load(key: string): Cursor | null | Promise<Cursor | null>;
  save(key: string, cursor: Cursor): void | Promise<void>;
}

/**
 * Keeps sealing keys. A record is a plain object to be kept as it is, with
 * structured cloning: its CryptoKeys can't be exported. key names server, realm
 * and client, name the record among the client's.
 */
export interface SealKeys {
  load(key: string): Iterable<object> | Promise<Iterable<object>>;
  put(key: string, name: string, record: object): void | Promise<void>;
  remove(key: string, name: string): void | Promise<void>;
}

export interface Options {
  /**
   * The token, or a function that fetches one. A function is also called ahead
   * of the token's end and once after a refusal; throw GiveUp to fail for good.
   */
  token: string | ((why: Why, signal: AbortSignal) => Promise<string> | string);
  /** Appended to a url that ends in /ws; otherwise the path names the client, or else welcome does. */
  clientId?: string;
  /** For tokens that are bound to a device. */
  device?: string;
  /** Default 'indexeddb', which falls back to memory. */
  cursors?: 'indexeddb' | 'memory' | Cursors;
  /** Default 'after-handler': a resolved handler acks, a throwing one is repeated. */
  ack?: 'after-handler' | 'manual';
  /**
   * The n-th attempt in a row waits a time uniform in [0, min(maxMs, minMs * 2^(n-1))).
   * Defaults 250, 5000; maxFailures 0: never give up.
   */
  retry?: { minMs?: number; maxMs?: number; maxFailures?: number };
  /**
   * Has what is pushed sealed: 'crt', in one number for several clients, or
   * 'aead', for this one alone. What this takes is loaded only then, from
   * sunzi-seal.js, and runs in a worker where the page may make one. Needs
   * X25519 in WebCrypto, and a page that is a secure context. A client that has
   * sealing keys from before ends in FAILED where this is left out; 'none' gives
   * them up, and what waits sealed under them is lost.
   */
  seal?: 'crt' | 'aead' | 'none';
  /**
   * The server's public identity key, 32 bytes in base64url, as the server's
   * operator tool prints it. Required with seal. A server with another one, or
   * that does not hold it, ends in FAILED.
   */
  serverKey?: string;
  /**
   * Default false: with seal, a server that does not seal ends in FAILED. True
   * goes on in clear then; see Message.sealed. From a server that does seal
   * nothing with content is taken in clear, whatever this says.
   */
  allowPlain?: boolean;
  /** Default 'indexeddb', which falls back to memory: then a reload loses what was sealed and not yet acked. */
  sealKeys?: 'indexeddb' | 'memory' | SealKeys;
  /** Default true: with 'aead' what this client sends is sealed too, but for hello and the handshakes. */
  sealUp?: boolean;
  /** Where sunzi-seal.js is, if not beside this file: for bundlers. A worker needs it on the page's own origin. */
  sealUrl?: string | URL;
}

export interface SealStatus {
  /** Of the newest keys; 0: none yet. */
  readonly generation: number;
  /** Frames, covers among them. */
  readonly opened: number;
  readonly covers: number;
  /** Frames that did not open. */
  readonly decryptFailed: number;
}

export interface Welcome {
  readonly client_id: string;
  readonly realm?: string;
  readonly session: string;
  readonly generation: string;
  readonly incarnation: string;
  readonly cursor: bigint;
  /** The server's ping interval in ms. */
  readonly heartbeat: number;
  /** Messages that wait, replayed next. */
  readonly backlog: number;
  /** The sealing that the server does for this client. */
  readonly seal?: 'crt' | 'aead';
  readonly seal_key?: string;
  readonly seal_generation?: number;
}

export interface Events {
  /**
   * code and reason are the close that caused it, 0 where the client itself
   * ended the connection. replaced, on FAILED: another connection of the same
   * client took over, such as a second tab; start() takes over again.
   */
  state: { from: State; to: State; code?: number; reason?: string; error?: unknown; retryInMs?: number; replaced?: boolean };
  welcome: Welcome;
  /** Everything that waited has been handled. */
  replay_complete: { seq: bigint };
  /** Places of the mailbox, both inclusive, that hold nothing any more. */
  gap: { from: bigint; to: bigint; reason: 'expired' | 'cancelled' | 'collapsed' | 'dropped' | 'acked' | (string & {}) };
  /** A push was cancelled after it was sent. */
  tombstone: { id: string; seq: bigint | null };
  member: { joined: boolean; group: string; clientId: string };
  typing: { conversationId: string; senderId: string; senderType: string; senderName: string };
  /** A new token: refreshed, or, after connecting with a connect key, the client's own: keep that one with the ID. */
  token: { token: string; expires: number | null; clientId: string };
  /** Something went wrong and the client goes on: an error from the server (with code), or the cursor store's. */
  error: { error: Error & { code?: number } };
  /**
   * A dead letter: a stored message whose handlers threw three times, or that was
   * failed by hand. With code -1, no message and an empty id: a place whose sealed
   * frame did not open. The stream goes on.
   */
  failed: { id: string; seq: bigint; code: number; error?: unknown; message: Message | null };
  /**
   * A sealed frame, before its message is handled: its bytes as they came, its
   * place, if it has one, and whether it held nothing for this client (cover) or
   * did not open (failed, mode null). group is a rekey frame's. Mode session is
   * what was sealed for this connection alone: notices too.
   */
  sealed: {
    bytes: Uint8Array;
    place: bigint | null;
    cover: boolean;
    failed: boolean;
    mode: 'direct' | 'envelope' | 'rekey' | 'channel' | 'down' | 'session' | null;
    group: string | null;
  };
  /** New sealing keys: a handshake is complete. */
  keys: { generation: number };
}

export interface Client {
  readonly state: State;
  readonly clientId: string | null;
  /** Highest sequence that is handled and saved. */
  readonly cursor: bigint;
  /** null until sealing is asked for and loaded. */
  readonly sealStatus: SealStatus | null;
  readonly refreshStatus: { lastAt: number | null; status: 'never' | 'ok' | 'failed'; failures: number };
  /**
   * Handles messages of a topic, or of all ('*'). Messages come one at a time
   * in the mailbox's order; the next one waits for the handlers of this one.
   * A message that nobody handles counts as handled: call on() in the same
   * turn as connect(). A handler that throws is called again after 100 and
   * 200 ms, then the message is a dead letter; an integer property code of the
   * error is told to the application. Answers the function that removes it.
   */
  on<T = unknown>(topic: string, handler: (message: Message<T>) => unknown): () => void;
  when<E extends keyof Events>(event: E, fn: (detail: Events[E]) => void): () => void;
  /** Asking for the next message says that the one before is handled. */
  messages<T = unknown>(topic?: string, options?: { signal?: AbortSignal }): AsyncIterableIterator<Message<T>>;
  ready(options?: { signal?: AbortSignal }): Promise<Welcome>;
  /** Relayed to the group, never kept. Answers whether it could be sent. */
  typing(conversationId: string, senderName?: string): boolean;
  /** A person saw everything up to seq. Kept until connected. */
  markRead(seq: bigint): void;
  /** From FAILED, connects again; where another tab has replaced this one, that takes over. */
  start(): void;
  /** Ends for good: sends the ack that is due and calls no handler any more. */
  close(): Promise<void>;
}

/** Throw it from the token callback to stop for good, for instance after a log-out. */
export declare class GiveUp extends Error {}

/** url is ws:, wss:, http:, https: or relative to the page. Throws TypeError on options that can't work. */
export declare function connect(url: string | URL, options: Options): Client;
