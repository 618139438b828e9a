package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// Bounds of one commit group: what is lost on a failure, and how long the
// first to join waits for the last.
const (
	groupOps   = 1024
	groupBytes = 8 << 20
)

// op is one operation that changes the database: it joins a commit group.
type op struct {
	// run does the work in the group's transaction. It may run more than
	// once, and is then to start afresh. A *push.Error that it returns is an
	// answer, and nothing of the operation was written; any other error is
	// the database's and rolls back the group.
	run  func(*tx) error
	size int  // bytes that it writes, roughly
	push bool // it accepts pushes: worth waiting for others (Config.Window)
	named

	state atomic.Int32  // opWaiting, then opTaken by the writer or opWithdrawn by its caller
	err   error         // written by the writer before done
	done  chan struct{} // one value from the writer: it is settled
}

// named are rows that an operation knows that it needs.
type named struct {
	clients []push.ClientKey // their counter rows
	claims  [][32]byte       // idempotency keys
}

const (
	opWaiting int32 = iota
	opTaken
	opWithdrawn
)

// do has run executed by the writer and returns when its commit group is
// durable, or with its answer. Where ctx ends first, an operation that was not
// taken yet is withdrawn (CodeNoStore: nothing happened); of one that was, the
// outcome is unknown (CodeTimeout).
func (s *Store) do(ctx context.Context, size int, run func(*tx) error) error {
	return s.doFor(ctx, size, named{}, run)
}

// doFor is do for an operation that knows which rows it needs: where servers
// share the database, a commit group reads those of all its operations before
// anything else, many a round trip, and locks the counter rows in the order of
// their keys, so that groups wait for each other instead of deadlocking.
func (s *Store) doFor(ctx context.Context, size int, rows named, run func(*tx) error) error {
	return s.doOp(ctx, &op{run: run, size: size, named: rows})
}

func (s *Store) doOp(ctx context.Context, o *op) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	o.done = make(chan struct{}, 1)
	select {
	case <-s.closing:
		return errClosed()
	default:
	}
	select {
	case s.queue <- o:
	case <-s.closing:
		return errClosed()
	case <-ctx.Done():
		return &push.Error{Code: push.CodeOverloaded, Message: "too many writes wait for the store; nothing was accepted", RetryAfter: time.Second, Cause: ctx.Err()}
	}
	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		if o.state.CompareAndSwap(opWaiting, opWithdrawn) {
			return &push.Error{Code: push.CodeNoStore, Message: "the store did not get to it in time; nothing was accepted", RetryAfter: time.Second, Cause: ctx.Err()}
		}
		return &push.Error{Code: push.CodeTimeout, Message: "the store did not finish in time; the outcome is unknown", Cause: ctx.Err()}
	case <-s.ended:
	}
	if o.state.CompareAndSwap(opWaiting, opWithdrawn) { // it came after the writer's last look
		return errClosed()
	}
	<-o.done
	return o.err
}

func errClosed() error {
	return &push.Error{Code: push.CodeNoStore, Message: "the store is closed"}
}

// writer is the one goroutine that changes the database. All fields are its
// own.
type writer struct {
	store    *Store
	db       *sql.DB // at most one connection
	conn     *sql.Conn
	stmts    map[string]*sql.Stmt // of conn, by SQL text
	counters *counters            // what conn would read of table client
	inserts  map[insertKey]string
	mark     marker
	shards   map[int64]*push.SealShard // as they were last read, by version
}

// run takes what waits, commits it together, and takes again: the size of a
// group follows the load. It ends when the store closes and the queue is empty.
func (w *writer) run() {
	defer func() {
		w.mark.keep(w.store.cfg.Log)
		w.disconnect()
		w.store.closeErr = w.db.Close()
		close(w.store.ended)
	}()
	group := make([]*op, 0, groupOps)
	for {
		select {
		case o := <-w.store.queue:
			group = w.gather(group[:0], o)
			w.commit(group)
			clear(group)
		case <-w.mark.due:
			w.mark.keep(w.store.cfg.Log)
		case <-w.store.closing:
			for {
				select {
				case o := <-w.store.queue:
					group = w.gather(group[:0], o)
					w.commit(group)
				default:
					return
				}
			}
		}
	}
}

// gather joins to first what waits behind it. It yields a few times while the
// group still grows: callers that the last commit woke are about to come back,
// and a flush for one of them costs as much as a flush for all. Where a window is
// configured and the group has a push, it waits for more until that ends.
func (w *writer) gather(group []*op, first *op) []*op {
	size, calm := 0, 0
	open := window{length: w.store.cfg.Window}
	for o := first; ; {
		group = append(group, o)
		size += o.size
		open.joined(o)
		if len(group) >= groupOps || size >= groupBytes {
			return take(group)
		}
		o = nil
		for o == nil {
			select {
			case o = <-w.store.queue:
				calm = 0
			default:
				if calm++; calm <= 2 {
					runtime.Gosched()
				} else if o = w.linger(&open); o == nil {
					return take(group)
				} else {
					calm = 0
				}
			}
		}
	}
}

// commit settles every operation of the group.
func (w *writer) commit(group []*op) {
	if len(group) == 0 {
		return
	}
	if f := w.store.cfg.Metrics.Waiting; f != nil {
		f(len(w.store.queue))
	}
	until := time.Now().Add(w.store.cfg.Timeout)
	err := w.attempts(group, until)
	if err == nil {
		return
	}
	w.store.wrote(err)
	lost := w.store.beyond(err)
	w.store.cfg.Log.Warn("a commit group was rolled back", "operations", len(group), "connection_lost", lost, "err", err)
	if lost || len(group) == 1 {
		w.disconnect() // what the next transaction sees is read from the file again
		settle(group, told(err))
		return
	}
	until = until.Add(w.store.cfg.Timeout)
	for i := range group {
		if w.store.cfg.engine.shared && time.Now().After(until) { // who still waits for rows, waits for all
			settle(group[i:], failed(err))
			return
		}
		if err := w.attempts(group[i:i+1], until); err != nil {
			w.store.wrote(err)
			w.store.cfg.Log.Error("an operation failed in the database", "err", err)
			w.disconnect()
			settle(group[i:i+1], told(err))
		}
	}
}

// slowCommit is worth a word to the operator: every push in it waited as long.
const slowCommit = 500 * time.Millisecond

// committed logs and counts a commit group.
func (w *writer) committed(operations int, took time.Duration) {
	if f := w.store.cfg.Metrics.Committed; f != nil {
		f(operations, took)
	}
	level := slog.LevelDebug
	if took >= slowCommit {
		level = slog.LevelWarn
	}
	w.store.cfg.Log.Log(context.Background(), level, "commit group", "operations", operations, "ms", took.Milliseconds())
}

// errCommit marks a COMMIT that failed: trying again could do it twice.
var errCommit = errors.New("store: commit failed")

// attempt runs the operations in one transaction. When it returns nil all of
// them are settled; otherwise none is, and nothing was written.
func (w *writer) attempt(group []*op) error {
	start := time.Now()
	if err := w.connect(); err != nil {
		return err
	}
	if err := w.control(w.store.cfg.engine.begin); err != nil {
		return err
	}
	if w.store.cfg.engine.shared {
		w.counters.drop() // others have written since
	}
	t := &tx{w: w, cfg: &w.store.cfg, counters: w.counters, now: w.store.cfg.Clock()}
	err := t.run(group)
	if err == nil {
		err = w.end(t)
	}
	if err != nil {
		w.rollback()
		return err
	}
	w.counters.trim()
	w.mark.committed(t)
	w.committed(len(group), time.Since(start))
	w.store.wrote(nil) // before anybody is answered
	t.tell(w.store.listener.Load())
	settle(group, nil)
	return nil
}

// settle answers with err, or where that is nil with each operation's own.
func settle(group []*op, err error) {
	for _, o := range group {
		if err != nil {
			o.err = err
		}
		o.done <- struct{}{}
	}
}

// rollback forgets what the transaction did, here and in the file.
func (w *writer) rollback() {
	w.counters.drop()
	if f := w.store.cfg.Metrics.Failed; f != nil {
		f()
	}
	if w.conn == nil {
		return
	}
	if err := w.control("ROLLBACK"); err != nil {
		// After some errors SQLite has rolled back by itself; after others the
		// connection is beyond use. A new one is right for both.
		w.disconnect()
	}
}

func (w *writer) connect() error {
	if w.conn != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.store.cfg.Timeout)
	defer cancel()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	w.conn, w.stmts = conn, make(map[string]*sql.Stmt)
	w.counters.drop()
	if s := w.store.cfg.engine.session; s != "" {
		err = w.control(s)
	}
	if err == nil {
		err = w.loadMark()
	}
	if err != nil {
		w.disconnect()
	}
	return err
}

// control runs a statement without arguments. MySQL does not prepare all of
// them, and asks no round trip more for those that are not.
func (w *writer) control(query string) error {
	if !w.store.cfg.engine.shared {
		return w.exec(query)
	}
	_, err := w.conn.ExecContext(context.Background(), query)
	return err
}

// disconnect closes the connection with everything that was cached of it.
func (w *writer) disconnect() {
	w.counters.drop()
	if w.conn == nil {
		return
	}
	for _, stmt := range w.stmts {
		_ = stmt.Close() // the connection is closed next
	}
	// A connection that reports itself bad is closed, not kept in the pool.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn, w.stmts = nil, nil
}

func (w *writer) stmt(query string) (*sql.Stmt, error) {
	if stmt := w.stmts[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(context.Background(), query)
	if err == nil {
		w.stmts[query] = stmt
	}
	return stmt, err
}

// exec runs on the writer's connection, without a deadline of its own: a
// statement that was begun is finished, callers stop waiting by themselves.
func (w *writer) exec(query string, args ...any) error {
	_, err := w.execCount(query, args...)
	return err
}

func (w *writer) execCount(query string, args ...any) (int, error) {
	stmt, err := w.stmt(query)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (w *writer) query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := w.stmt(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(context.Background(), args...)
}

// row scans the one row that query finds; false where there is none.
func (w *writer) row(query string, args []any, into ...any) (bool, error) {
	stmt, err := w.stmt(query)
	if err != nil {
		return false, err
	}
	err = stmt.QueryRowContext(context.Background(), args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
