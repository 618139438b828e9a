-- +goose Up

-- A client's sealing: the kind its pushes are sealed with (0: none), the
-- generation of the keys in use, the highest generation given out, and for crt
-- the place in a shard.
ALTER TABLE client
  ADD COLUMN seal            int    NOT NULL DEFAULT 0,
  ADD COLUMN seal_generation bigint NOT NULL DEFAULT 0,
  ADD COLUMN seal_last       bigint NOT NULL DEFAULT 0,
  ADD COLUMN seal_shard      bigint NOT NULL DEFAULT 0,
  ADD COLUMN seal_slot       int    NOT NULL DEFAULT 0;

-- frame names the row of seal_frame that has the entry's message.
ALTER TABLE offline_message
  ADD COLUMN frame      varbinary(16),
  ADD COLUMN generation bigint NOT NULL DEFAULT 0;

CREATE TABLE seal_shard (
  id      bigint NOT NULL PRIMARY KEY,
  version bigint NOT NULL,
  period  bigint NOT NULL,
  began   bigint NOT NULL,
  bits    int    NOT NULL,
  slots   int    NOT NULL,
  members int    NOT NULL,
  KEY seal_shard_free (bits, slots, members)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Keys: state 0 reserved, 1 in use. secret is wrapped, empty while reserved.
CREATE TABLE seal_key (
  realm      varbinary(400) NOT NULL,
  client_id  varbinary(400) NOT NULL,
  generation bigint         NOT NULL,
  state      int            NOT NULL,
  kind       int            NOT NULL,
  shard      bigint         NOT NULL,
  slot       int            NOT NULL,
  period     bigint         NOT NULL,
  began      bigint         NOT NULL,
  secret     varbinary(512) NOT NULL,
  PRIMARY KEY (realm, client_id, generation),
  KEY seal_key_shard (shard, slot),
  KEY seal_key_state (state, began)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Frames up to their body, and bodies by their hash, which is in the frame.
CREATE TABLE seal_frame (
  id   varbinary(16) NOT NULL PRIMARY KEY,
  head mediumblob    NOT NULL,
  sent bigint        NOT NULL,
  KEY seal_frame_sent (sent)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
CREATE TABLE seal_body (
  hash varbinary(32) NOT NULL PRIMARY KEY,
  body longblob      NOT NULL,
  sent bigint        NOT NULL,
  KEY seal_body_sent (sent)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The secret of each epoch of a group that was broadcast to, wrapped. channel
-- names the group inside frames.
CREATE TABLE seal_channel (
  realm   varbinary(400) NOT NULL,
  grp     varbinary(400) NOT NULL,
  epoch   bigint NOT NULL,
  channel bigint NOT NULL,
  made    bigint NOT NULL,
  secret  varbinary(512) NOT NULL,
  PRIMARY KEY (realm, grp, epoch),
  KEY seal_channel_id (channel, epoch),
  KEY seal_channel_made (made)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
