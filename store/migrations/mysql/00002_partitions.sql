-- +goose Up

-- Entries stand in partitions by the time of their sending (store/partition.go),
-- which therefore is part of the key. What comes before there is a partition for
-- it is in rest. The table is made anew and filled, since TiDB changes no key
-- that rows are clustered by. Each step may be repeated after a crash.
DROP TABLE IF EXISTS offline_message_new, offline_message_old;
CREATE TABLE offline_message_new (
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
  PRIMARY KEY (realm, client_id, seq, send_time),
  KEY offline_message_id (id),
  KEY offline_message_collapse (realm, client_id, collapse_key, status),
  KEY offline_message_due (status, due)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin
PARTITION BY RANGE (send_time) (PARTITION rest VALUES LESS THAN MAXVALUE);
INSERT INTO offline_message_new (id, client_id, send_time, status, realm, seq, size, total, priority, expires, due,
  collapse_key, mode, shared, reason, code, msg)
SELECT id, client_id, send_time, status, realm, seq, size, total, priority, expires, due,
  collapse_key, mode, shared, reason, code, msg FROM offline_message;
RENAME TABLE offline_message TO offline_message_old, offline_message_new TO offline_message;
DROP TABLE offline_message_old;

-- One row. The pushes after after_id and up to upto_id had entries in partitions
-- that were dropped: their bodies and rows of push are looked at. Whoever places
-- an entry that was sent so long ago that its partition may be dropped locks the
-- row, and so does whoever drops one.
CREATE TABLE IF NOT EXISTS retired (
  id       int    NOT NULL PRIMARY KEY,
  after_id bigint NOT NULL,
  upto_id  bigint NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT IGNORE INTO retired (id, after_id, upto_id) VALUES (1, 0, 0);
