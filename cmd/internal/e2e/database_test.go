package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

func TestWhileTheDatabaseHangsOnlyLivePushesPass(t *testing.T) {
	n := together(t, quick...)
	a, admin := n.withAdmin()
	b := n.start()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	l := under(t, a, b)
	wantReady(t, admin, false)
	n.db.Stop()
	t.Cleanup(n.db.Continue)
	liveOnly(t, a, "ann", p)
	began := time.Now()
	refuses(t, a, pushTo("ann", "refused"))
	if took := time.Since(began); took > 15*time.Second { // store.timeout is 4 s; this machine may be busy
		t.Errorf("refused after %s", took)
	}
	unready(t, admin, "store")
	for time.Since(began) < 9*time.Second { // three times the lease of the node
		liveOnly(t, a, "ann", p)
	}
	l.refusals(3)
	n.db.Continue()
	wantReady(t, admin, false)
	l.judge()
}

func TestNoIDIsIssuedBeyondTheLeaseOfTheNumber(t *testing.T) {
	n := together(t, append(quick, "SUNZI_CLUSTER_NUMBER_LEASE=3s")...)
	a, admin := n.withAdmin()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	liveOnly(t, a, "ann", p)
	n.db.Stop()
	t.Cleanup(n.db.Continue)
	eventually(t, "live-only pushes are refused", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: with(pushTo("ann", "x"), "store", "never")})
		return err == nil && ans.status == http.StatusServiceUnavailable
	})
	n.db.Continue()
	wantReady(t, admin, false)
	eventually(t, "and go on", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: with(pushTo("ann", "x"), "store", "never")})
		return err == nil && ans.status < 300
	})
}

func TestAReadOnlyDatabaseRefusesAndLosesNothing(t *testing.T) {
	n := together(t, quick...)
	n.asAnybody()
	a, admin := n.withAdmin()
	b := n.start()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	bob := register(t, a, "bob")
	l := under(t, a, b)
	n.sql("SET GLOBAL read_only = 1")
	liveOnly(t, a, "ann", p)
	refuses(t, a, pushTo("ann", "refused"))
	l.refusals(20)
	if _, got := arrive(t, b, bob, plainHello); len(got) == 0 || got[0].Type != "welcome" {
		t.Errorf("a client that comes meanwhile got %+v", got)
	}
	unready(t, admin, "store")
	n.sql("SET GLOBAL read_only = 0")
	wantReady(t, admin, false)
	l.judge()
}

func TestKilledConnectionsOfTheDatabaseLoseNothing(t *testing.T) {
	n := together(t, quick...)
	n.asAnybody()
	a, admin := n.withAdmin()
	b := n.start()
	l := under(t, a, b)
	for range 25 {
		n.sql("KILL USER app@'%'")
		l.more(4)
	}
	wantReady(t, admin, false)
	l.judge()
}

// smallDisk gives MariaDB a file system of its own where that may be done, and
// answers how to fill it. Elsewhere its files may not grow, which it takes for
// the same.
func smallDisk(t *testing.T) (fill func(pid int)) {
	t.Helper()
	if os.Getuid() != 0 {
		return func(pid int) {
			limit := exec.Command("prlimit", fmt.Sprintf("--pid=%d", pid), "--fsize=0")
			if out, err := limit.CombinedOutput(); err != nil {
				t.Fatalf("prlimit: %v: %s", err, out)
			}
		}
	}
	dir, err := os.MkdirTemp("", "sunzifs")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256m,mode=1777"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
		_ = os.Remove(dir)
	})
	t.Setenv("TMPDIR", dir)
	return func(int) {
		f, err := os.Create(filepath.Join(dir, "full"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for block := make([]byte, 64<<10); err == nil; {
			_, err = f.Write(block)
		}
		if !strings.Contains(err.Error(), "no space left") {
			t.Fatal(err)
		}
	}
}

func TestAFullDiskOfTheDatabaseLosesNothing(t *testing.T) {
	temporary := os.Getenv("TMPDIR")
	fill := smallDisk(t)
	n := together(t, quick...)
	full := filepath.Join(os.Getenv("TMPDIR"), "full")
	t.Setenv("TMPDIR", temporary)
	a, admin := n.withAdmin()
	p, _ := arrive(t, a, register(t, a, "ann"), plainHello)
	l := under(t, a)
	fill(n.db.PID())
	// What grows the tables until nothing more fits.
	eventually(t, "refused for want of room", func() bool {
		ans, err := a.do(t.Context(), request{method: "POST", path: "/v1/push", body: pushTo("nobody", strings.Repeat("x", 60<<10))})
		return err == nil && (ans.status == http.StatusServiceUnavailable || ans.status == http.StatusGatewayTimeout)
	})
	liveOnly(t, a, "ann", p)
	unready(t, admin, "store")
	l.refusals(3)
	_ = os.Remove(full)
	n.db.Kill()
	if err := n.db.Start(); err != nil {
		t.Fatal(err)
	}
	wantReady(t, admin, false)
	l.judge()
}

func TestASlowDatabaseIsOnlySlow(t *testing.T) {
	n := together(t, quick...)
	link := behind(t, "database", n.db.Addr())
	n.env = append(n.env, "SUNZI_STORE_DSN=root@tcp("+link.Addr()+")/sunzi")
	a, admin := n.withAdmin()
	b := n.start()
	l := under(t, a, b)
	// Round trips of 40 ms make a commit group of half a second: store.timeout
	// holds eight of them, so that only a wait that is not the link's can
	// refuse a push. (At 100 ms it holds two or three, and two nodes that want
	// the same mailbox's row use them up.)
	set(t, link, faultproxy.Both(faultproxy.Flow{Latency: 20 * time.Millisecond, Jitter: 8 * time.Millisecond}))
	before := l.refused.Load()
	l.more(30)
	wantReady(t, admin, false)
	if more := l.refused.Load() - before; more > 0 {
		t.Errorf("%d pushes were refused", more)
	}
	set(t, link, faultproxy.Fault{})
	l.judge()
}
