-- +goose Up

-- The wrapping keys that secrets here are under, by number, each with its proof
-- (crt/SPEC.md, section 7). The highest is the one to wrap under.
CREATE TABLE seal_wrap (
  number bigint NOT NULL PRIMARY KEY,
  proof  blob   NOT NULL
) WITHOUT ROWID;
