-- +goose Up

-- One row about the database itself. id is random: whose copy a file is.
-- commits counts what was committed: how old a copy is. born is the highest
-- registration number ever given out.
CREATE TABLE store (
  id      char(16) NOT NULL PRIMARY KEY,
  commits bigint   NOT NULL,
  born    bigint   NOT NULL
) WITHOUT ROWID;
INSERT INTO store (id, commits, born) VALUES (lower(hex(randomblob(8))), 0, 0);

-- The counter row of a mailbox: which sequences were given out and acked.
-- total_bytes and acked_bytes count data from the mailbox's first entry on, so
-- that their difference bounds the backlog without reading it. offline_head is
-- the highest place of a store=offline entry; born numbers registrations, so
-- that a push to all knows who was there.
CREATE TABLE client (
  realm        varchar(100) NOT NULL,
  client_id    varchar(100) NOT NULL,
  incarnation  char(16)     NOT NULL,
  born         bigint       NOT NULL,
  head         bigint       NOT NULL DEFAULT 0,
  cursor       bigint       NOT NULL DEFAULT 0,
  read_cursor  bigint       NOT NULL DEFAULT 0,
  total_bytes  bigint       NOT NULL DEFAULT 0,
  acked_bytes  bigint       NOT NULL DEFAULT 0,
  offline_head bigint       NOT NULL DEFAULT 0,
  created      bigint       NOT NULL,
  PRIMARY KEY (realm, client_id)
) WITHOUT ROWID;
CREATE INDEX client_born ON client (realm, born);

-- A mailbox's entries: id (the push), client_id, msg, send_time (unix ms) and
-- status are those of any offline-message table. msg is NULL where the body is shared or long
-- (then it is in body) or gone. total is the mailbox's bytes up to and with this entry.
-- due is when periodic work must look at the row next: while it waits the end
-- of its TTL or of its retention, whichever is first, afterwards its deletion.
-- status: 0 waiting, 1 acked, 2 expired, 3 cancelled, 4 collapsed, 5 dropped,
-- 6 failed, 7 failed and placed again.
CREATE TABLE offline_message (
  id           bigint       NOT NULL,
  client_id    varchar(100) NOT NULL,
  send_time    bigint       NOT NULL,
  status       int          NOT NULL DEFAULT 0,
  realm        varchar(100) NOT NULL,
  seq          bigint       NOT NULL,
  size         int          NOT NULL,
  total        bigint       NOT NULL,
  priority     int          NOT NULL,
  expires      bigint       NOT NULL,
  due          bigint       NOT NULL,
  collapse_key varchar(64),
  mode         int          NOT NULL,
  shared       int          NOT NULL,
  reason       varchar(32)  NOT NULL DEFAULT '',
  code         int          NOT NULL DEFAULT 0,
  msg          longtext,
  PRIMARY KEY (realm, client_id, seq)
) WITHOUT ROWID;
CREATE INDEX offline_message_id ON offline_message (id);
CREATE INDEX offline_message_collapse ON offline_message (realm, client_id, collapse_key)
  WHERE status = 0 AND collapse_key IS NOT NULL;
CREATE INDEX offline_message_waiting ON offline_message (due) WHERE status = 0;
CREATE INDEX offline_message_ended ON offline_message (due) WHERE status > 0;

-- Bodies that several entries share, and long ones: counting a mailbox's entries
-- reads their rows whole.
CREATE TABLE body (
  id  integer PRIMARY KEY,
  msg longtext NOT NULL
);

-- Pushes whose entries do not say everything: of several targets, to a group
-- or all, and scheduled ones. A push to one client at once has no row here.
-- state: 0 placed, 1 scheduled, 2 expanding, 3 cancelled, 4 refused when due.
CREATE TABLE push (
  id       integer PRIMARY KEY,
  realm    varchar(100) NOT NULL,
  accepted bigint       NOT NULL,
  state    int          NOT NULL,
  placed   bigint       NOT NULL
);
CREATE INDEX push_empty ON push (accepted) WHERE placed = 0;

CREATE TABLE idempotency (
  idem_key  blob   NOT NULL PRIMARY KEY,
  body_hash blob   NOT NULL,
  id        bigint NOT NULL,
  at        bigint NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_at ON idempotency (at);

-- Scheduled pushes, whole, until not_before.
CREATE TABLE envelope (
  id         integer PRIMARY KEY,
  not_before bigint   NOT NULL,
  content    longtext NOT NULL
);
CREATE INDEX envelope_due ON envelope (not_before, id);

-- Pushes that are being expanded. grp NULL means all clients of the realm, and
-- epoch is then the highest registration number. Places are made in order of
-- client_id (last_client) or of registration (last_born).
CREATE TABLE job (
  id           integer PRIMARY KEY,
  realm        varchar(100) NOT NULL,
  grp          varchar(100),
  epoch        bigint       NOT NULL,
  last_client  varchar(100) NOT NULL DEFAULT '',
  last_born    bigint       NOT NULL DEFAULT 0,
  content      longtext     NOT NULL
);

-- A group: members is how many there are now, epoch the version of that set.
CREATE TABLE grp (
  realm   varchar(100) NOT NULL,
  name    varchar(100) NOT NULL,
  epoch   bigint       NOT NULL DEFAULT 0,
  members bigint       NOT NULL DEFAULT 0,
  events  int          NOT NULL DEFAULT 0,
  PRIMARY KEY (realm, name)
) WITHOUT ROWID;

-- Membership from joined_epoch to before left_epoch; NULL: still.
CREATE TABLE member (
  realm        varchar(100) NOT NULL,
  grp          varchar(100) NOT NULL,
  client_id    varchar(100) NOT NULL,
  joined_epoch bigint       NOT NULL,
  left_epoch   bigint,
  PRIMARY KEY (realm, grp, client_id, joined_epoch)
) WITHOUT ROWID;
CREATE INDEX member_client ON member (realm, client_id) WHERE left_epoch IS NULL;
CREATE INDEX member_left ON member (left_epoch) WHERE left_epoch IS NOT NULL;

-- One row per client and flush of acks: everything in (from_seq, to_seq] was
-- acked then.
CREATE TABLE ack_log (
  realm     varchar(100) NOT NULL,
  client_id varchar(100) NOT NULL,
  to_seq    bigint       NOT NULL,
  from_seq  bigint       NOT NULL,
  at        bigint       NOT NULL,
  PRIMARY KEY (realm, client_id, to_seq)
) WITHOUT ROWID;
CREATE INDEX ack_log_at ON ack_log (at);

CREATE TABLE token (
  jti       varchar(64)  PRIMARY KEY,
  realm     varchar(100) NOT NULL,
  client_id varchar(100) NOT NULL,
  device    varchar(255) NOT NULL,
  issued    bigint       NOT NULL,
  expires   bigint       NOT NULL,
  revoked   int          NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX token_client ON token (realm, client_id, issued);
CREATE INDEX token_expires ON token (expires);

-- API keys; hash is SHA-256 of the secret part, realm NULL means any.
CREATE TABLE api_key (
  id      varchar(32)  PRIMARY KEY,
  name    varchar(255) NOT NULL,
  hash    blob         NOT NULL,
  scopes  varchar(255) NOT NULL,
  realm   varchar(100),
  created bigint       NOT NULL,
  revoked int          NOT NULL DEFAULT 0
) WITHOUT ROWID;
