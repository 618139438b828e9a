package store

import (
	"context"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

// eventually tries until what succeeds, and ends the test where it never does.
func eventually(t *testing.T, within time.Duration, what func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := what()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// A node that is paused inside a transaction keeps its rows until the server
// ends its connection.
func TestLocksOfANodeThatStandsStillEnd(t *testing.T) {
	cfg := Config{DSN: server.dsn(t), Timeout: time.Second}
	s := openMore(t, cfg)
	if err := s.Register(t.Context(), push.ClientKey{ID: "ann"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	paused, err := openMySQL(t.Context(), &s.cfg, forWriting)
	if err != nil {
		t.Fatal(err)
	}
	defer paused.Close() // the server closed it
	tx, err := paused.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), `SELECT head FROM client WHERE client_id = 'ann' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), []*push.Envelope{envelope(1, "ann", 10)}); err == nil {
		t.Fatal("the row was not locked")
	}
	// A push that waits does not push the end of the locks away.
	eventually(t, 20*time.Second, func() error {
		_, err := s.Accept(t.Context(), []*push.Envelope{envelope(2, "ann", 10)})
		return err
	})
}

func TestAWriterThatTheServerClosedCostsNoError(t *testing.T) {
	s := openMore(t, Config{DSN: server.dsn(t), Timeout: time.Second})
	key := push.ClientKey{ID: "ann"}
	if err := s.Register(t.Context(), key, time.Now()); err != nil {
		t.Fatal(err)
	}
	for id := range int64(2) {
		if _, err := s.Accept(t.Context(), []*push.Envelope{envelope(id+1, "ann", 10)}); err != nil {
			t.Fatal(err)
		}
		var writer int64
		if err := s.do(t.Context(), 0, func(tx *tx) error {
			_, err := tx.row(`SELECT CONNECTION_ID()`, nil, &writer)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, func() error {
			var there int
			err := s.read.QueryRowContext(t.Context(), `SELECT COUNT(*) FROM information_schema.processlist WHERE id = ?`, writer).Scan(&there)
			if err == nil && there > 0 {
				err = context.DeadlineExceeded
			}
			return err
		})
	}
	if _, err := s.Accept(t.Context(), []*push.Envelope{envelope(3, "ann", 10)}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Open(t.Context(), key)
	if err != nil || m.Head != 3 {
		t.Fatalf("the mailbox is %+v, %v", m, err)
	}
}

func TestPingSaysThatNothingCanBeWritten(t *testing.T) {
	db := daemons.StartMariaDB(t)
	db.DSN("sunzi")
	sql := func(text string) {
		t.Helper()
		if _, err := db.Exec(t.Context(), "", text); err != nil {
			t.Fatal(err)
		}
	}
	sql("CREATE USER app@'%'; GRANT ALL ON sunzi.* TO app@'%'") // root is above read_only
	s := openMore(t, Config{DSN: "app@tcp(" + db.Addr() + ")/sunzi"})
	if err := s.Register(t.Context(), push.ClientKey{ID: "ann"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	sql("SET GLOBAL read_only = 1")
	if err := s.Ping(t.Context()); err != nil {
		t.Fatalf("a probe wrote while nothing had failed: %v", err)
	}
	if _, err := s.Accept(t.Context(), []*push.Envelope{envelope(1, "ann", 10)}); err == nil {
		t.Fatal("a push was accepted")
	}
	for range 2 {
		if err := s.Ping(t.Context()); !push.HasCode(err, push.CodeNoStore) {
			t.Fatalf("after a push that failed: %v", err)
		}
	}
	sql("SET GLOBAL read_only = 0")
	if err := s.Ping(t.Context()); err != nil { // without a push
		t.Fatal(err)
	}
	if s.trouble.Load() != nil {
		t.Error("a write that was committed left the trouble")
	}
	sql("SET GLOBAL read_only = 1")
	if _, err := s.LeaseNode(t.Context(), "a", time.Minute); err == nil {
		t.Fatal("a number was leased")
	}
	if err := s.Ping(t.Context()); err == nil {
		t.Error("a lease that failed is no trouble")
	}
}

func TestPingOfAFullFile(t *testing.T) {
	s, _ := openFor(t, "ann")
	if err := s.do(t.Context(), 0, func(tx *tx) error { return tx.exec(`PRAGMA max_page_count = 1`) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accept(t.Context(), []*push.Envelope{envelope(1, "ann", 200_000)}); err == nil {
		t.Fatal("a push was accepted into a full file")
	}
	if s.trouble.Load() == nil {
		t.Fatal("a full file is no trouble")
	}
	if err := s.Ping(t.Context()); err != nil { // on a connection without that limit
		t.Fatal(err)
	}
	if s.trouble.Load() != nil {
		t.Error("a write that was committed left the trouble")
	}
}
