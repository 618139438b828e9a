-- +goose Up
-- family is the first token of a line of refreshes: revoking a token ends
-- those that it was refreshed to, and these outlive its row. NULL: it is the
-- first, or was never refreshed to.
ALTER TABLE token ADD COLUMN family varchar(64);
CREATE INDEX token_family ON token (family, issued) WHERE family IS NOT NULL;

-- +goose Down
DROP INDEX token_family;
ALTER TABLE token DROP COLUMN family;
