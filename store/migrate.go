package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/pressly/goose/v3"
)

// Migrate brings the schema up to what this binary knows, one version at a
// time, and answers the versions before and after. [Open] does it by itself.
// A database of a newer binary is refused.
func Migrate(ctx context.Context, cfg Config) (from, to int64, err error) {
	err = withSchema(ctx, cfg, func(cfg *Config, db *sql.DB, p *goose.Provider) error {
		have, want, err := versions(ctx, p)
		if err != nil {
			return err
		}
		from, to = have, want
		if have == moveVersion {
			return fmt.Errorf("store: a move to %s is under way, or was cut off: run sunzi move again", cfg.name())
		}
		if have > want {
			return fmt.Errorf("store: %s is at schema version %d and this binary knows up to %d: run a newer sunzi", cfg.name(), have, want)
		}
		if have < want {
			_, err = p.Up(ctx)
		}
		if err == nil {
			err = cfg.firstPartitions(ctx, db)
		}
		if err != nil {
			return fmt.Errorf("store: the schema of %s can't be brought from version %d to %d: %w", cfg.name(), have, want, err)
		}
		return nil
	})
	return from, to, err
}

// Version is the schema's version in the file (0: it is empty), and the one
// that this binary knows.
func Version(ctx context.Context, cfg Config) (have, known int64, err error) {
	err = withSchema(ctx, cfg, func(_ *Config, _ *sql.DB, p *goose.Provider) error {
		have, known, err = versions(ctx, p)
		return err
	})
	return have, known, err
}

func versions(ctx context.Context, p *goose.Provider) (have, known int64, err error) {
	for _, s := range p.ListSources() {
		known = max(known, s.Version)
	}
	have, err = p.GetDBVersion(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("store: the schema's version can't be read: %w", err)
	}
	return have, known, nil
}

func withSchema(ctx context.Context, cfg Config, f func(*Config, *sql.DB, *goose.Provider) error) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	db, err := cfg.engine.open(ctx, &cfg, forSchema)
	if err != nil {
		return err
	}
	unlock, err := lockSchema(ctx, &cfg, db)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	steps, err := cfg.engine.steps()
	if err != nil {
		return errors.Join(err, unlock(), db.Close())
	}
	p, err := goose.NewProvider(cfg.engine.schema, db, steps)
	if err != nil {
		return errors.Join(fmt.Errorf("store: the schema's steps can't be read: %w", err), unlock(), db.Close())
	}
	return errors.Join(f(&cfg, db, p), unlock(), p.Close()) // closes db
}
