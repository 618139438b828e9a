-- +goose Up

-- A client's sealing: the kind its pushes are sealed with (0: none), the
-- generation of the keys in use, the highest generation given out, and for crt
-- the place in a shard.
ALTER TABLE client ADD COLUMN seal int NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN seal_generation bigint NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN seal_last bigint NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN seal_shard bigint NOT NULL DEFAULT 0;
ALTER TABLE client ADD COLUMN seal_slot int NOT NULL DEFAULT 0;

-- frame names the row of seal_frame that has the entry's message.
ALTER TABLE offline_message ADD COLUMN frame blob;
ALTER TABLE offline_message ADD COLUMN generation bigint NOT NULL DEFAULT 0;

CREATE TABLE seal_shard (
  id      bigint NOT NULL PRIMARY KEY,
  version bigint NOT NULL,
  period  bigint NOT NULL,
  began   bigint NOT NULL,
  bits    int    NOT NULL,
  slots   int    NOT NULL,
  members int    NOT NULL
);
CREATE INDEX seal_shard_free ON seal_shard (bits, slots, members);

-- Keys: state 0 reserved, 1 in use. secret is wrapped, empty while reserved.
CREATE TABLE seal_key (
  realm      varchar(100) NOT NULL,
  client_id  varchar(100) NOT NULL,
  generation bigint NOT NULL,
  state      int    NOT NULL,
  kind       int    NOT NULL,
  shard      bigint NOT NULL,
  slot       int    NOT NULL,
  period     bigint NOT NULL,
  began      bigint NOT NULL,
  secret     blob   NOT NULL,
  PRIMARY KEY (realm, client_id, generation)
) WITHOUT ROWID;
CREATE INDEX seal_key_shard ON seal_key (shard, slot);
CREATE INDEX seal_key_state ON seal_key (state, began);

-- Frames up to their body, and bodies by their hash, which is in the frame.
CREATE TABLE seal_frame (
  id   blob   NOT NULL PRIMARY KEY,
  head blob   NOT NULL,
  sent bigint NOT NULL
);
CREATE INDEX seal_frame_sent ON seal_frame (sent);
CREATE TABLE seal_body (
  hash blob   NOT NULL PRIMARY KEY,
  body blob   NOT NULL,
  sent bigint NOT NULL
);
CREATE INDEX seal_body_sent ON seal_body (sent);

-- The secret of each epoch of a group that was broadcast to, wrapped. channel
-- names the group inside frames.
CREATE TABLE seal_channel (
  realm   varchar(100) NOT NULL,
  grp     varchar(100) NOT NULL,
  epoch   bigint NOT NULL,
  channel bigint NOT NULL,
  made    bigint NOT NULL,
  secret  blob NOT NULL,
  PRIMARY KEY (realm, grp, epoch)
) WITHOUT ROWID;
CREATE INDEX seal_channel_id ON seal_channel (channel, epoch);
CREATE INDEX seal_channel_made ON seal_channel (made);
