-- +goose Up

-- Entries stand in partitions by the time of their sending (store/partition.go),
-- which therefore is part of the key. What comes before there is a partition for
-- it is in rest.
ALTER TABLE offline_message DROP PRIMARY KEY, ADD PRIMARY KEY (realm, client_id, seq, send_time);
ALTER TABLE offline_message PARTITION BY RANGE (send_time) (PARTITION rest VALUES LESS THAN MAXVALUE);

-- One row. The pushes after after_id and up to upto_id had entries in partitions
-- that were dropped: their bodies and rows of push are looked at. Whoever places
-- an entry that was sent so long ago that its partition may be dropped locks the
-- row, and so does whoever drops one.
CREATE TABLE retired (
  id       int    NOT NULL PRIMARY KEY,
  after_id bigint NOT NULL,
  upto_id  bigint NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
INSERT INTO retired (id, after_id, upto_id) VALUES (1, 0, 0);
