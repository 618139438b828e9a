-- +goose Up

-- What the tables and columns mean is said in sqlite/00001: here stands what
-- differs. Names (realm, client_id, grp) are VARBINARY, since they are compared
-- as bytes, the space at the end included, which the collations of MySQL 8 and
-- MariaDB do under no common name; 100 characters are up to 400 bytes. There
-- are no partial indexes: offline_message_due stands for offline_message_waiting
-- and offline_message_ended, and the others have their condition as a column.

-- commits is not counted here: a row that every commit changes would make all
-- nodes wait for each other.
CREATE TABLE store (
  id      char(16) NOT NULL PRIMARY KEY,
  commits bigint   NOT NULL,
  born    bigint   NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO store (id, commits, born) VALUES (SUBSTR(MD5(UUID()), 1, 16), 0, 0);

CREATE TABLE client (
  realm        varbinary(400) NOT NULL,
  client_id    varbinary(400) NOT NULL,
  incarnation  char(16)       NOT NULL,
  born         bigint         NOT NULL,
  head         bigint         NOT NULL DEFAULT 0,
  `cursor`     bigint         NOT NULL DEFAULT 0,
  read_cursor  bigint         NOT NULL DEFAULT 0,
  total_bytes  bigint         NOT NULL DEFAULT 0,
  acked_bytes  bigint         NOT NULL DEFAULT 0,
  offline_head bigint         NOT NULL DEFAULT 0,
  created      bigint         NOT NULL,
  PRIMARY KEY (realm, client_id),
  KEY client_born (realm, born)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE offline_message (
  id           bigint         NOT NULL,
  client_id    varbinary(400) NOT NULL,
  send_time    bigint         NOT NULL,
  status       int            NOT NULL DEFAULT 0,
  realm        varbinary(400) NOT NULL,
  seq          bigint         NOT NULL,
  size         int            NOT NULL,
  total        bigint         NOT NULL,
  priority     int            NOT NULL,
  expires      bigint         NOT NULL,
  due          bigint         NOT NULL,
  collapse_key varbinary(256),
  mode         int            NOT NULL,
  shared       int            NOT NULL,
  reason       varchar(32)    NOT NULL DEFAULT '',
  code         int            NOT NULL DEFAULT 0,
  msg          longtext,
  PRIMARY KEY (realm, client_id, seq),
  KEY offline_message_id (id),
  KEY offline_message_collapse (realm, client_id, collapse_key, status),
  KEY offline_message_due (status, due)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE body (
  id  bigint   NOT NULL PRIMARY KEY,
  msg longtext NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE push (
  id       bigint         NOT NULL PRIMARY KEY,
  realm    varbinary(400) NOT NULL,
  accepted bigint         NOT NULL,
  state    int            NOT NULL,
  placed   bigint         NOT NULL,
  KEY push_empty (placed, accepted)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE idempotency (
  idem_key  binary(32) NOT NULL PRIMARY KEY,
  body_hash binary(32) NOT NULL,
  id        bigint     NOT NULL,
  at        bigint     NOT NULL,
  KEY idempotency_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE envelope (
  id         bigint   NOT NULL PRIMARY KEY,
  not_before bigint   NOT NULL,
  content    longtext NOT NULL,
  KEY envelope_due (not_before, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE job (
  id           bigint         NOT NULL PRIMARY KEY,
  realm        varbinary(400) NOT NULL,
  grp          varbinary(400),
  epoch        bigint         NOT NULL,
  last_client  varbinary(400) NOT NULL DEFAULT '',
  last_born    bigint         NOT NULL DEFAULT 0,
  content      longtext       NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE grp (
  realm   varbinary(400) NOT NULL,
  name    varbinary(400) NOT NULL,
  epoch   bigint         NOT NULL DEFAULT 0,
  members bigint         NOT NULL DEFAULT 0,
  events  int            NOT NULL DEFAULT 0,
  PRIMARY KEY (realm, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE member (
  realm        varbinary(400) NOT NULL,
  grp          varbinary(400) NOT NULL,
  client_id    varbinary(400) NOT NULL,
  joined_epoch bigint         NOT NULL,
  left_epoch   bigint,
  PRIMARY KEY (realm, grp, client_id, joined_epoch),
  KEY member_client (realm, client_id, left_epoch),
  KEY member_left (left_epoch)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE ack_log (
  realm     varbinary(400) NOT NULL,
  client_id varbinary(400) NOT NULL,
  to_seq    bigint         NOT NULL,
  from_seq  bigint         NOT NULL,
  at        bigint         NOT NULL,
  PRIMARY KEY (realm, client_id, to_seq),
  KEY ack_log_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE token (
  jti       varbinary(64)  NOT NULL PRIMARY KEY,
  realm     varbinary(400) NOT NULL,
  client_id varbinary(400) NOT NULL,
  device    varchar(255)   NOT NULL,
  issued    bigint         NOT NULL,
  expires   bigint         NOT NULL,
  revoked   int            NOT NULL DEFAULT 0,
  family    varbinary(64),
  KEY token_client (realm, client_id, issued),
  KEY token_expires (expires),
  KEY token_family (family, issued)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE api_key (
  id      varbinary(32)  NOT NULL PRIMARY KEY,
  name    varchar(255)   NOT NULL,
  hash    binary(32)     NOT NULL,
  scopes  varchar(255)   NOT NULL,
  realm   varbinary(400),
  created bigint         NOT NULL,
  revoked int            NOT NULL DEFAULT 0
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE revocation (
  realm         varbinary(400) NOT NULL,
  client_id     varbinary(400) NOT NULL,
  issued_before bigint         NOT NULL,
  PRIMARY KEY (realm, client_id),
  KEY revocation_age (issued_before)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One random row a transaction: whoever is not told what became of its COMMIT
-- inserts the row again, with asked 1, and it is there, or never will be. at is
-- unix ms.
CREATE TABLE commit_token (
  token binary(16) NOT NULL PRIMARY KEY,
  at    bigint     NOT NULL,
  asked int        NOT NULL,
  KEY commit_token_at (at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The numbers of nodes that are leased: until is by the database's clock.
CREATE TABLE node (
  id     int      NOT NULL PRIMARY KEY,
  holder char(32) NOT NULL,
  fence  bigint   NOT NULL,
  until  bigint   NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
