package store

// Everything that only MySQL, MariaDB and TiDB have: how they are opened, their
// own texts, and what their errors mean.

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/sunzi-push/sunzi/store/migrations"
)

var mysqlEngine = engine{
	schema: goose.DialectMySQL,
	steps:  func() (fs.FS, error) { return fs.Sub(migrations.MySQL, "mysql") },
	open:   openMySQL,
	shared: true, snapshot: sql.LevelRepeatableRead,
	// Under REPEATABLE READ a transaction would see the past, and lock gaps.
	session:   "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	begin:     "BEGIN",
	forUpdate: " FOR UPDATE",

	saveCounters: "INSERT INTO client (realm, client_id, incarnation, born, head, `cursor`, read_cursor," +
		" total_bytes, acked_bytes, offline_head, created, seal, seal_generation, seal_last, seal_shard, seal_slot) VALUES ",
	saveConflict: " ON DUPLICATE KEY UPDATE incarnation = VALUES(incarnation)," +
		" head = VALUES(head), `cursor` = VALUES(`cursor`), read_cursor = VALUES(read_cursor), total_bytes = VALUES(total_bytes)," +
		" acked_bytes = VALUES(acked_bytes), offline_head = VALUES(offline_head), seal = VALUES(seal), seal_generation = VALUES(seal_generation)," +
		" seal_last = VALUES(seal_last), seal_shard = VALUES(seal_shard), seal_slot = VALUES(seal_slot)",
	keepRevocation: `INSERT INTO revocation (realm, client_id, issued_before) VALUES (?, ?, ?)
		ON DUPLICATE KEY UPDATE issued_before = GREATEST(issued_before, VALUES(issued_before))`,

	// While a table is small the planner reads, and locks, all of it.
	byCollapseKey:  ` FORCE INDEX (offline_message_collapse) `,
	byMemberClient: ` FORCE INDEX (member_client) `,
	byPrimary:      ` FORCE INDEX (PRIMARY) `,
	// Those that were acked go with their partition. Index: offline_message_due.
	ended:      `status IN (2, 3, 4, 5, 6, 7) AND due <= ?`,
	endedOrder: ` ORDER BY status, due`,

	// MariaDB reads the whole table for DELETE … IN (SELECT …).
	remove: func(table, _, where, order string) string {
		return `DELETE FROM ` + table + ` WHERE ` + where + order + ` LIMIT ?`
	},
	broken: brokenMySQL,
	again:  againMySQL,
}

// idleWriter is how long the server keeps the writer's connection without a
// word, in seconds: a node that is paused inside a transaction holds up pushes
// to the same clients on all others, until its locks end with the connection.
// One that is idle in health is closed as well; the next commit group opens
// another, which costs it a connection and no caller an error. MariaDB and TiDB
// could end transactions alone, by variables that no two servers share.
func idleWriter(timeout time.Duration) int { return max(1, int((timeout+time.Second-1)/time.Second)) }

// schemaTimeout bounds one step of the schema: a large table is copied in it.
const schemaTimeout = time.Hour

// openMySQL opens a pool of connections. No call on them hangs: connecting,
// reading and writing end by themselves, and so does waiting for a row.
func openMySQL(ctx context.Context, cfg *Config, use poolUse) (*sql.DB, error) {
	c, err := mysql.ParseDSN(cfg.DSN)
	if err != nil {
		return nil, fmt.Errorf("store: the DSN can't be read: %w", err)
	}
	if c.DBName == "" {
		return nil, errors.New("store: the DSN names no database")
	}
	limit := cfg.Timeout
	if use == forSchema {
		limit = max(limit, schemaTimeout)
	}
	c.Timeout = orElse(c.Timeout, min(limit, cfg.Timeout))
	c.ReadTimeout = orElse(c.ReadTimeout, limit)
	c.WriteTimeout = orElse(c.WriteTimeout, limit)
	c.ClientFoundRows = true // an UPDATE that changes nothing has found its row
	c.ParseTime, c.MultiStatements, c.InterpolateParams = false, false, false
	c.Logger = &mysql.NopLogger{} // what it would say comes as an error too
	if c.Params == nil {
		c.Params = make(map[string]string)
	}
	c.Params["sql_mode"] = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'"
	c.Params["time_zone"] = "'+00:00'" // a clock without summer time, for leases
	c.Params["innodb_lock_wait_timeout"] = strconv.Itoa(max(1, int(cfg.Timeout/(2*time.Second))))
	if use == forWriting {
		c.Params["wait_timeout"] = strconv.Itoa(idleWriter(cfg.Timeout))
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("store: the DSN can't be used: %w", err)
	}
	db := sql.OpenDB(connector)
	n := map[poolUse]int{forWriting: 1, forReading: cfg.ReadConnections, forSchema: 2}[use]
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(5 * time.Minute)
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("store: %s can't be opened: %w", cfg.name(), err), db.Close())
	}
	return db, nil
}

// mysqlName is the DSN's address and database.
func mysqlName(dsn string) string {
	c, err := mysql.ParseDSN(dsn)
	if err != nil {
		return "the database"
	}
	return c.Addr + "/" + c.DBName
}

// lockSchema keeps other servers from bringing the schema up at the same time,
// until unlock is called.
func lockSchema(ctx context.Context, cfg *Config, db *sql.DB) (unlock func() error, err error) {
	if !cfg.engine.shared {
		return func() error { return nil }, nil
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("store: %s can't be opened: %w", cfg.name(), err)
	}
	var got sql.NullInt64
	err = conn.QueryRowContext(ctx, `SELECT GET_LOCK(CONCAT('sunzi.', MD5(DATABASE())), 30)`).Scan(&got)
	if err == nil && got.Int64 != 1 {
		err = errors.New("another server has been at it for half a minute")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: the schema of %s can't be locked: %w", cfg.name(), err), conn.Close())
	}
	return func() error { return errors.Join(unlockSchema(ctx, cfg, conn), conn.Close()) }, nil
}

// unlockSchema gives the lock back, also after ctx has ended, and waits for that
// as for any call. It ends with the connection where this fails.
func unlockSchema(ctx context.Context, cfg *Config, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Timeout)
	defer cancel()
	_, err := conn.ExecContext(ctx, `DO RELEASE_LOCK(CONCAT('sunzi.', MD5(DATABASE())))`)
	return err
}

// Errors after which a transaction is gone without a trace, and which come of
// others that write at the same time.
var mysqlAgain = []uint16{
	1062, // a row with this key is there since we looked
	1205, // waited too long for a row
	1213, // deadlock
	8002, // TiDB: a row that was locked has changed
	8022, // TiDB: COMMIT conflicted
	8028, // TiDB: the schema has changed
	9007, // TiDB: write conflict
}

// Errors that every operation would meet.
var mysqlBroken = []uint16{
	1021, 1026, 1114, 3675, // the disk is full
	1040, 1203, // too many connections
	1053, 1927, 1317, 1152, 1158, 1159, 1160, 1161, // shutting down, killed
	1290, 1792, 1836, 1142, 1044, 1045, // read-only, no rights
	9001, 9002, 9003, 9004, 9005, // TiDB: its own servers do not answer
}

// saidBy is the number of the server's own error, 0 where it has said nothing.
func saidBy(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// lost reports whether err is of the connection: the server may never have
// heard what was said last, or has done it and could not answer.
func lost(err error) bool {
	var n interface {
		error
		Timeout() bool
	} // what package net answers
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n)
}

func brokenMySQL(err error) bool {
	return lost(err) || slices.Contains(mysqlBroken, saidBy(err))
}

func againMySQL(err error) bool {
	return lost(err) || slices.Contains(mysqlAgain, saidBy(err))
}
