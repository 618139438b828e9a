package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
)

// Durability finds out whether the database keeps what it has committed through
// a crash or a power cut, and answers what is wrong, each with its remedy; none
// is good. It opens the database for that, changes nothing, and blocks until
// ctx ends at most.
func Durability(ctx context.Context, cfg Config) ([]string, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if !cfg.engine.shared {
		if cfg.Sync == SyncFull {
			return nil, nil
		}
		return []string{"sync is " + string(cfg.Sync) + ": a power cut loses pushes that were accepted; set it to full"}, nil
	}
	db, err := cfg.engine.open(ctx, &cfg, forReading)
	if err != nil {
		return nil, err
	}
	found, err := durabilityOf(ctx, db)
	return found, errors.Join(err, db.Close())
}

// setting is one of the server's variables that a commit's durability hangs on.
type setting struct {
	name   string
	good   func(value string) bool
	remedy string
	with   string // another variable that has to be ON for this to matter
}

func is(values ...string) func(string) bool {
	return func(v string) bool {
		for _, good := range values {
			if strings.EqualFold(v, good) {
				return true
			}
		}
		return false
	}
}

var durable = []setting{
	{"innodb_flush_log_at_trx_commit", is("1"), "a crash of the database loses up to a second of pushes that were accepted: set it to 1", ""},
	{"sync_binlog", is("1"), "a power cut parts the binary log, and its replicas, from the tables: set it to 1", "log_bin"},
	{"innodb_doublewrite", is("1", "on", "fast", "detect_and_recover"), "a power cut can leave half-written pages that can't be repaired: set it to ON", ""},
	{"innodb_flush_method", func(v string) bool { return !is("nosync", "littlesync")(v) }, "the log is not flushed to the disk: set it to O_DIRECT or fsync", ""},
}

// durabilityOf asks a server. What it does not know (TiDB) it can't have wrong.
func durabilityOf(ctx context.Context, db *sql.DB) ([]string, error) {
	type variable struct{ name, value string }
	rows, err := db.QueryContext(ctx, `SHOW GLOBAL VARIABLES WHERE Variable_name IN
		('innodb_flush_log_at_trx_commit', 'sync_binlog', 'log_bin', 'innodb_doublewrite', 'innodb_flush_method')`)
	all, err := collect(rows, err, func(r *sql.Rows, v *variable) error { return r.Scan(&v.name, &v.value) })
	if err != nil {
		return nil, failed(err)
	}
	values := make(map[string]string, len(all))
	for _, v := range all {
		values[strings.ToLower(v.name)] = v.value
	}
	var found []string
	for _, s := range durable {
		value, known := values[s.name]
		if !known || s.with != "" && !is("1", "on")(values[s.with]) || s.good(value) {
			continue
		}
		found = append(found, s.name+" is "+value+": "+s.remedy)
	}
	return found, nil
}

// warnOfLoss logs what [Durability] would find.
func (s *Store) warnOfLoss(ctx context.Context) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	found, err := durabilityOf(ctx, s.read)
	if err != nil {
		s.cfg.Log.Warn("the database does not tell its durability settings", "err", err)
	}
	for _, what := range found {
		s.cfg.Log.Warn("the database may lose what it has committed", "setting", what)
	}
}
