package store

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/push/pushtest/daemons"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServer{m}) }

// withServer ends the database server before leaks are looked for.
type withServer struct{ *testing.M }

func (w withServer) Run() int {
	defer server.close()
	return w.M.Run()
}

// server is the one MariaDB of these tests, started by the first that needs
// it. Each test has a database of its own.
var server mariaDB

type mariaDB struct {
	mu        sync.Mutex
	db        *daemons.MariaDB // nil until it is needed
	dir       string
	databases atomic.Int64
}

func (m *mariaDB) get(t testing.TB) *daemons.MariaDB {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.db != nil {
		return m.db
	}
	var err error
	if m.dir, err = os.MkdirTemp("", "sunzi-store"); err != nil {
		t.Fatal(err)
	}
	if m.db, err = daemons.OpenMariaDB(context.Background(), m.dir); err != nil {
		t.Fatal(err)
	}
	return m.db
}

// dsn is the address of a new, empty database.
func (m *mariaDB) dsn(t testing.TB) string {
	t.Helper()
	return m.get(t).DSN(fmt.Sprintf("t%d", m.databases.Add(1)))
}

func (m *mariaDB) close() {
	if m.db != nil {
		_ = m.db.Close()
	}
	if m.dir != "" {
		_ = os.RemoveAll(m.dir)
	}
}
