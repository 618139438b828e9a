-- +goose Up

-- The wrapping keys that secrets here are under, by number, each with its proof
-- (crt/SPEC.md, section 7). The highest is the one to wrap under.
CREATE TABLE seal_wrap (
  number bigint         NOT NULL PRIMARY KEY,
  proof  varbinary(512) NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
