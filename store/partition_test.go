package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pressly/goose/v3"

	"github.com/sunzi-push/sunzi/push"
)

// aged is a store whose clock the test sets, with two days of history.
type aged struct {
	*Store
	t   *testing.T
	mu  sync.Mutex
	now time.Time
}

func (a *aged) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

// at sets the clock so many days before now.
func (a *aged) at(days int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = time.Now().Add(-time.Duration(days) * day).Truncate(time.Millisecond)
}

func openAged(t *testing.T, dsn string, days int) *aged {
	t.Helper()
	a := &aged{t: t}
	a.at(days)
	limits := push.DefaultConfig()
	limits.HistoryRetention = settled
	a.Store = openMore(t, Config{DSN: dsn, Limits: limits, Clock: a.clock, Timeout: 2 * time.Second})
	return a
}

// push sends to the clients, for so many days.
func (a *aged) push(id int64, ttl int, to ...string) {
	a.t.Helper()
	e := envelope(id, "", 10)
	e.Accepted, e.Expires, e.Target.Clients = a.clock(), a.clock().Add(time.Duration(ttl)*day), to
	if out, err := a.Accept(a.t.Context(), []*push.Envelope{e}); err != nil || out[0].Err != nil {
		a.t.Fatal(out, err)
	}
}

func (a *aged) register(ids ...string) {
	a.t.Helper()
	for _, id := range ids {
		if err := a.Register(a.t.Context(), push.ClientKey{ID: id}, a.clock()); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *aged) ack(client string, seq uint64) {
	a.t.Helper()
	if err := a.Ack(a.t.Context(), []push.Ack{{Client: push.ClientKey{ID: client}, Seq: seq, At: a.clock()}}); err != nil {
		a.t.Fatal(err)
	}
}

// sweep sweeps until nothing is left, partitions included.
func (a *aged) sweep() {
	a.t.Helper()
	a.turned.Store(nil)
	for n := 1; n > 0; {
		var err error
		if n, err = a.Sweep(a.t.Context(), a.clock(), 500); err != nil {
			a.t.Fatal(err)
		}
	}
}

func (a *aged) count(query string) (n int) {
	a.t.Helper()
	if err := a.read.QueryRowContext(a.t.Context(), query).Scan(&n); err != nil {
		a.t.Fatal(err)
	}
	return n
}

func (a *aged) wantRows(table string, want int) {
	a.t.Helper()
	if n := a.count(`SELECT COUNT(*) FROM ` + table); n != want {
		a.t.Errorf("%s has %d rows, want %d", table, n, want)
	}
}

// oldParts counts the partitions that end before so many days ago.
func (a *aged) oldParts(days int) int {
	a.t.Helper()
	return a.count(fmt.Sprintf(`SELECT COUNT(*) FROM information_schema.partitions WHERE table_schema = DATABASE()
		AND table_name = 'offline_message' AND partition_name <> 'rest' AND partition_description + 0 < %d`,
		unixMS(time.Now().Add(-time.Duration(days)*day))))
}

// places is what a client would be sent.
func (a *aged) places(client string) (s string) {
	a.t.Helper()
	p, err := a.Read(a.t.Context(), push.ClientKey{ID: client}, 0, 100, 1<<20)
	if err != nil {
		a.t.Fatal(err)
	}
	for _, it := range p.Items {
		if it.Message != nil {
			s += fmt.Sprintf("%d:%d ", it.Seq, it.Message.ID)
		} else {
			s += fmt.Sprintf("%d-%d:%s ", it.Seq, it.To, it.Reason)
		}
	}
	return s
}

func TestHistoryGoesWithItsPartition(t *testing.T) {
	a := openAged(t, server.dsn(t), 60)
	a.sweep() // which makes the partitions of then
	a.register("ann", "bob")
	for id := range int64(3) {
		a.push(id+1, 1, "ann", "bob")
	}
	a.ack("ann", 3)
	a.ack("bob", 3)
	a.wantRows("offline_message", 6)
	a.wantRows("body", 3)
	if a.oldParts(20) == 0 {
		t.Fatal("no partition of then was made")
	}
	a.at(0)
	a.sweep()
	a.sweep() // looks at the pushes
	if n := a.oldParts(20); n > 0 {
		t.Errorf("%d old partitions are left", n)
	}
	for _, table := range []string{"offline_message", "body", "push"} {
		a.wantRows(table, 0)
	}
	if got, want := a.places("ann"), "1-3:expired "; got != want {
		t.Errorf("ann is told %q, want %q", got, want)
	}
	a.push(9, 1, "ann")
	if got, want := a.places("ann"), "1-3:expired 4:9 "; got != want {
		t.Errorf("then ann is told %q, want %q", got, want)
	}
}

func TestWhatWaitsKeepsItsPartition(t *testing.T) {
	a := openAged(t, server.dsn(t), 28)
	a.sweep()
	a.register("ann", "bob")
	a.push(1, 30, "ann", "bob") // still waits for bob
	a.push(2, 1, "bob")         // expired; its client is to be told
	a.push(3, 1, "ann")
	a.ack("ann", 2)
	a.at(0)
	a.sweep()
	if got, want := a.places("bob"), "1:1 2-2:expired "; got != want {
		t.Errorf("bob is sent %q, want %q", got, want)
	}
	if st, err := a.Status(t.Context(), nil, 2, push.PageQuery{}); err != nil || st.State != push.StateExpired {
		t.Errorf("the expired one is %+v, %v", st, err)
	}
	// What its client acked is history beyond its retention, there or not.
	if _, err := a.Status(t.Context(), nil, 3, push.PageQuery{}); !push.HasCode(err, push.CodeNoPush) {
		t.Errorf("the acked one is still told of: %v", err)
	}
	page, err := a.History(t.Context(), push.ClientKey{ID: "ann"}, push.HistoryQuery{PageQuery: push.PageQuery{Limit: 10}})
	if err != nil || len(page.Entries) != 0 {
		t.Errorf("ann's history has %+v, %v", page.Entries, err)
	}
	a.wantRows("body", 1)
}

func TestWhatWasSentAheadOfItsPartitionSurvives(t *testing.T) {
	a := openAged(t, server.dsn(t), 0)
	a.sweep()
	a.register("ann")
	a.at(-300)
	a.push(1, 30, "ann")
	a.at(0)
	a.sweep()
	a.at(-300)
	if got, want := a.places("ann"), "1:1 "; got != want {
		t.Errorf("ann is sent %q, want %q", got, want)
	}
	if rest := a.count(`SELECT COUNT(*) FROM offline_message PARTITION (rest)`); rest != 1 {
		t.Errorf("rest has %d rows", rest)
	}
}

func TestTwoNodesTurnPartitionsTogether(t *testing.T) {
	dsn := server.dsn(t)
	a := openAged(t, dsn, 60)
	a.sweep()
	a.register("ann")
	a.push(1, 1, "ann")
	a.ack("ann", 1)
	nodes := []*aged{a, openAged(t, dsn, 0), openAged(t, dsn, 0)}
	a.at(0)
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			for range 3 {
				n.turned.Store(nil)
				if _, err := n.Sweep(t.Context(), n.clock(), 500); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	a.sweep()
	a.sweep()
	a.wantRows("offline_message", 0)
	if n := a.oldParts(20); n > 0 {
		t.Errorf("%d old partitions are left", n)
	}
}

// A transaction that reads the table holds up the drop, and the drop gives up
// before it holds up others.
func TestAPartitionInUseIsDroppedLater(t *testing.T) {
	a := openAged(t, server.dsn(t), 60)
	a.sweep()
	a.register("ann")
	a.push(1, 1, "ann")
	a.ack("ann", 1)
	a.at(0)
	tx, err := a.read.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM offline_message`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	a.sweep()
	if a.oldParts(20) == 0 {
		t.Error("it was dropped under a transaction that reads it")
	}
	a.push(2, 1, "ann")
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	a.sweep()
	if n := a.oldParts(20); n > 0 {
		t.Errorf("%d old partitions are left", n)
	}
	if got, want := a.places("ann"), "1-1:expired 2:2 "; got != want {
		t.Errorf("ann is told %q, want %q", got, want)
	}
}

// makeAheadOnly leaves the old ones.
func (a *aged) makeAheadOnly() {
	a.t.Helper()
	conn, err := a.read.Conn(a.t.Context())
	if err != nil {
		a.t.Fatal(err)
	}
	defer conn.Close()
	all, err := partitions(a.t.Context(), conn)
	if err == nil {
		err = a.cfg.makeAhead(a.t.Context(), conn, all, a.clock())
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// What was sent long ago and is placed only now comes into a partition that is
// about to be dropped.
func TestALatePlaceIsNotDropped(t *testing.T) {
	a := openAged(t, server.dsn(t), 60)
	a.sweep()
	a.register("ann")
	a.push(1, 1, "ann")
	a.ack("ann", 1)
	a.at(0)
	a.makeAheadOnly()
	for n := 1; n > 0; { // nothing is needed
		var err error
		if n, err = a.Expire(t.Context(), a.clock(), 500); err != nil {
			t.Fatal(err)
		}
	}
	placed, free, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	commit := sync.OnceFunc(func() { close(free) })
	defer commit()
	go func() {
		done <- a.do(contextOf(t), 0, func(tx *tx) error {
			late := envelope(2, "ann", 10)
			late.Accepted = time.Now().Add(-60 * day)
			late.Expires = time.Now().Add(day)
			if _, err := tx.place(late, fresh); err != nil {
				return err
			}
			if err := tx.flush(); err != nil {
				return err
			}
			close(placed)
			<-free
			return nil
		})
	}()
	select {
	case <-placed:
	case err := <-done:
		t.Fatal(err)
	}
	turning := make(chan error, 1)
	go func() {
		_, err := a.turnPartitions(contextOf(t), a.clock())
		turning <- err
	}()
	waits := `SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE() AND info LIKE '%retired%' AND info NOT LIKE '%processlist%'`
	eventually(t, 20*time.Second, func() error { // until the drop has looked, and waits for the place
		if a.count(waits) == 0 {
			return errors.New("nothing waits")
		}
		return nil
	})
	commit()
	if err := errors.Join(<-done, <-turning); err != nil {
		t.Fatal(err)
	}
	a.sweep()
	if got, want := a.places("ann"), "1-1:expired 2:2 "; got != want {
		t.Errorf("ann is told %q, want %q", got, want)
	}
}

func TestATableWithoutPartitionsGetsThem(t *testing.T) {
	dsn := server.dsn(t)
	cfg, err := Config{DSN: dsn}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	db, err := cfg.engine.open(t.Context(), &cfg, forSchema)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := cfg.engine.steps()
	if err != nil {
		t.Fatal(err)
	}
	first(t, db, steps)
	for _, row := range []string{
		`INSERT INTO client (realm, client_id, incarnation, born, head, created) VALUES ('', 'ann', '0123456789abcdef', 1, 2, 0)`,
		fmt.Sprintf(`INSERT INTO offline_message (id, client_id, send_time, realm, seq, size, total, priority, expires, due, mode, shared, msg)
			VALUES (7, 'ann', %d, '', 1, 1, 1, 3, %d, %[2]d, 0, 0, '{}'), (8, 'ann', %[1]d, '', 2, 1, 2, 3, %[2]d, %[2]d, 0, 0, '{}')`,
			unixMS(time.Now()), unixMS(time.Now().Add(day))),
	} {
		if _, err := db.ExecContext(t.Context(), row); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	a := openAged(t, dsn, 0) // and no sweep: a large table is not copied in a chore
	if got, want := a.places("ann"), "1:7 2:8 "; got != want {
		t.Errorf("ann is sent %q, want %q", got, want)
	}
	if n := a.count(`SELECT COUNT(*) FROM offline_message PARTITION (rest)`); n != 0 {
		t.Errorf("%d rows are left in rest", n)
	}
}

func TestPartitionsThatCanNotBeTurnedAreTold(t *testing.T) {
	var told bytes.Buffer
	s := openMore(t, Config{DSN: server.dsn(t), Log: slog.New(slog.NewTextHandler(&told, nil))})
	s.turnLater(errors.New("a lock"))
	if told.Len() > 0 {
		t.Errorf("told at once: %s", &told)
	}
	long := time.Now().Add(-turnOverdue)
	s.unturned.Store(&long)
	s.turnLater(errors.New("a lock"))
	s.turnLater(errors.New("a lock"))
	if n := bytes.Count(told.Bytes(), []byte("level=WARN")); n != 1 {
		t.Errorf("told %d times, want once a day: %s", n, &told)
	}
}

// first brings an empty database to the schema's first version.
func first(t *testing.T, db *sql.DB, steps fs.FS) {
	t.Helper()
	p, err := goose.NewProvider(goose.DialectMySQL, db, steps)
	if err == nil {
		_, err = p.UpTo(context.WithoutCancel(t.Context()), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
}
