package store

import (
	"context"
	"database/sql"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// engine is everything in which the databases differ: how they are opened, the
// few texts that they do not share, and what their errors mean. Everything else
// in this package is written once. Static.
type engine struct {
	schema goose.Dialect
	steps  func() (fs.FS, error)
	// open opens a pool for the given use and sees that the database answers.
	open func(ctx context.Context, cfg *Config, use poolUse) (*sql.DB, error)
	// shared: other servers change the same database at the same time. Rows
	// that are read to be changed are locked, nothing that was read is
	// believed in the next transaction, and transactions carry a token.
	shared bool
	// snapshot is the isolation in which several reads see one moment.
	snapshot sql.IsolationLevel
	// session is executed on the writer's new connection, empty for nothing.
	session string
	begin   string
	// forUpdate ends a query of rows that the transaction is about to change.
	forUpdate string

	saveCounters, saveConflict string // around the rows of a multi-row upsert
	keepRevocation             string

	// Hints, where a planner would choose otherwise; between blanks.
	byCollapseKey, byMemberClient, byPrimary string
	// ended finds entries whose time after their end is over, oldest first
	// where the index can say.
	ended, endedOrder string

	// remove makes the DELETE of a bounded number of rows: its placeholders
	// are the condition's one and the limit.
	remove func(table, key, where, order string) string

	// broken: trying each operation on its own would only repeat the error.
	broken func(error) bool
	// again: the transaction is over without a trace, and has a chance when
	// it is made afresh.
	again func(error) bool
}

// poolUse is what a pool of connections is for.
type poolUse uint8

const (
	forWriting poolUse = iota // one connection
	forReading
	forSchema // steps of the schema may take their time
)
