-- +goose Up
-- The latest revocation by client: it also holds for tokens that were never
-- minted here (an outside issuer's), and for those that come later.
CREATE TABLE revocation (
    realm         VARCHAR(100) NOT NULL,
    client_id     VARCHAR(100) NOT NULL,
    issued_before BIGINT       NOT NULL, -- unix ms
    PRIMARY KEY (realm, client_id)
) WITHOUT ROWID;
CREATE INDEX revocation_age ON revocation (issued_before);

-- +goose Down
DROP TABLE revocation;
