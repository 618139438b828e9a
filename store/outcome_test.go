package store

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/push"
)

// cutter stands before a database and cuts a connection at its next COMMIT.
type cutter struct {
	listener net.Listener
	server   string

	mu      sync.Mutex
	next    cut // guarded by mu, as is the rest
	closed  bool
	conns   map[net.Conn]struct{}
	running sync.WaitGroup // links, and the acceptor
}

type cut uint8

const (
	pass        cut = iota
	before          // COMMIT does not reach the database
	beforeAsked     // as before, and neither does the next answer to a question
	asked           // the rest of beforeAsked
	after           // its answer does not reach the client
	afterShut       // as after, and nobody gets through any more
)

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, server: server, conns: make(map[net.Conn]struct{})}
	c.running.Go(c.accept)
	t.Cleanup(func() {
		_ = l.Close()
		c.mu.Lock()
		for conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.running.Wait()
	})
	return c
}

func (c *cutter) set(next cut) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next, c.closed = next, false
}

func (c *cutter) accept() {
	for {
		conn, err := c.listener.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		closed := c.closed
		c.mu.Unlock()
		if closed {
			_ = conn.Close()
			continue
		}
		c.running.Go(func() { c.link(conn) })
	}
}

func (c *cutter) link(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", c.server)
	if err != nil {
		return
	}
	defer server.Close()
	c.mu.Lock()
	c.conns[client], c.conns[server] = struct{}{}, struct{}{}
	c.mu.Unlock()
	answer := make(chan struct{}) // closed: the next answer is kept from the client
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			select {
			case <-answer:
				return
			default:
			}
			if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
				return
			}
		}
	}()
	c.requests(client, server, answer)
	_ = server.Close()
	<-done
}

// requests passes on what the client says, until the cut.
func (c *cutter) requests(client io.Reader, server io.Writer, answer chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		switch c.cut(buf[:n]) {
		case before, beforeAsked:
			return
		case after, afterShut, asked:
			close(answer)
		case pass:
		}
		if _, werr := server.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// cut says what becomes of this request.
func (c *cutter) cut(request []byte) cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	how := c.next
	commit := bytes.HasSuffix(request, []byte("\x03COMMIT"))
	execute := len(request) > 4 && request[4] == 0x17 // COM_STMT_EXECUTE
	if how == asked && !execute || how != asked && !commit {
		return pass
	}
	c.next = pass
	if how == beforeAsked {
		c.next = asked
	}
	c.closed = c.closed || how == afterShut
	return how
}

func openBehindCutter(t *testing.T, timeout time.Duration) (*Store, *cutter, *listener) {
	t.Helper()
	dsn, addr := server.dsn(t), server.get(t).Addr()
	c := newCutter(t, addr)
	l := &listener{}
	s := openMore(t, Config{DSN: strings.Replace(dsn, addr, c.listener.Addr().String(), 1), Listener: l, Timeout: timeout})
	if err := s.Register(t.Context(), push.ClientKey{ID: "a"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	return s, c, l
}

func TestAnUnansweredCommitIsSettled(t *testing.T) {
	for name, how := range map[string]cut{"it was made": after, "it never came": before, "it never came, and the first to ask is not told": beforeAsked} {
		t.Run(name, func(t *testing.T) {
			s, c, l := openBehindCutter(t, 5*time.Second)
			c.set(how)
			if err := acceptOne(s, envelope(1, "a", 10)); err != nil {
				t.Fatalf("the push answers %v", err)
			}
			if err := acceptOne(s, envelope(2, "a", 10)); err != nil {
				t.Fatal(err)
			}
			if got := idsOf(t, s, "a"); got[1] != 1 || got[2] != 1 || len(l.ids) != 2 {
				t.Fatalf("the mailbox has %v, the listener heard %v", got, l.ids)
			}
		})
	}
}

func TestACommitThatNobodyCanTellOfIsUnknown(t *testing.T) {
	s, c, l := openBehindCutter(t, time.Second)
	c.set(afterShut)
	if err := acceptOne(s, envelope(1, "a", 10)); !push.HasCode(err, push.CodeTimeout) {
		t.Fatalf("the push answers %v", err)
	}
	if err := acceptOne(s, envelope(2, "a", 10)); err == nil {
		t.Fatal("a push was taken by no database")
	}
	c.set(pass)
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		if err = acceptOne(s, envelope(3, "a", 10)); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	got := idsOf(t, s, "a")
	if got[1] != 1 || got[2] != 0 || got[3] != 1 || len(l.ids) != 1 {
		t.Fatalf("the mailbox has %v, the listener heard %v", got, l.ids)
	}
}

func TestKilledConnectionsCostNothing(t *testing.T) {
	dsn := server.dsn(t)
	s := openMore(t, Config{DSN: dsn})
	if err := s.Register(t.Context(), push.ClientKey{ID: "a"}, time.Now()); err != nil {
		t.Fatal(err)
	}
	name := dsn[strings.LastIndex(dsn, "/")+1:]
	kill, err := server.get(t).Exec(t.Context(), "", `SELECT CONCAT('KILL ', id, ';') FROM information_schema.processlist WHERE db = '`+name+`'`)
	if err != nil || !strings.Contains(kill, "KILL") {
		t.Fatalf("%q, %v", kill, err)
	}
	if _, err := server.get(t).Exec(t.Context(), "", kill); err != nil {
		t.Fatal(err)
	}
	if err := acceptOne(s, envelope(1, "a", 10)); err != nil {
		t.Fatal(err)
	}
	if got := idsOf(t, s, "a"); len(got) != 1 {
		t.Fatalf("the mailbox has %v", got)
	}
}

func TestADatabaseThatIsGoneOrHangsIsRefusedInTimeAndComesBack(t *testing.T) {
	db := server.get(t)
	const timeout = 2 * time.Second
	for name, fault := range map[string]struct {
		begin func()
		end   func() error
	}{
		"killed": {db.Kill, db.Start},
		"hung":   {db.Stop, func() error { db.Continue(); return nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s := openMore(t, Config{DSN: server.dsn(t), Timeout: timeout})
			if err := s.Register(t.Context(), push.ClientKey{ID: "a"}, time.Now()); err != nil {
				t.Fatal(err)
			}
			fault.begin()
			for id := range int64(2) {
				start := time.Now()
				err := acceptOne(s, envelope(id+1, "a", 10))
				if !push.HasCode(err, push.CodeNoStore) && !push.HasCode(err, push.CodeTimeout) {
					t.Errorf("the push answers %v", err)
				}
				if took := time.Since(start); took > timeout+time.Second {
					t.Errorf("it answered after %v", took)
				}
			}
			if _, err := s.Open(t.Context(), push.ClientKey{ID: "a"}); !push.HasCode(err, push.CodeNoStore) {
				t.Errorf("a read answers %v", err)
			}
			if err := fault.end(); err != nil {
				t.Fatal(err)
			}
			var err error
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
				if err = acceptOne(s, envelope(9, "a", 10)); err == nil {
					break
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := idsOf(t, s, "a"); got[9] != 1 {
				t.Fatalf("afterwards the mailbox has %v", got)
			}
		})
	}
}
