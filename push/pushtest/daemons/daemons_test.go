package daemons

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// orphan in the environment makes this test binary a process that starts a
// server, tells its PID, and waits to be killed.
const orphan = "DAEMONS_TEST_ORPHAN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(orphan); dir != "" {
		r, err := OpenRedis(context.Background(), dir)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(r.PID())
		select {}
	}
	goleak.VerifyTestMain(m)
}

func TestAServerDiesWithItsProcess(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), orphan+"="+folder(t))
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, err = fmt.Fscan(out, &pid)
	_ = parent.Process.Kill()
	_ = parent.Wait()
	if err != nil {
		t.Fatal(err)
	}
	gone := func(context.Context) error {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && !strings.Contains(string(state), ") Z ") {
			return errors.New("it is alive")
		}
		return nil
	}
	if err := until(t.Context(), "the orphan", gone); err != nil {
		t.Fatal(err)
	}
}

func exec1(t *testing.T, m *MariaDB, sql string) string {
	t.Helper()
	out, err := m.Exec(t.Context(), "d", sql)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestMariaDBKeepsItsDataThroughKill(t *testing.T) {
	m := StartMariaDB(t)
	if dsn := m.DSN("d"); dsn != "root@tcp("+m.Addr()+")/d" {
		t.Fatalf("the DSN is %s", dsn)
	}
	exec1(t, m, "CREATE TABLE x (i int) ENGINE=InnoDB; INSERT INTO x VALUES (7)")
	pid, addr := m.PID(), m.Addr()
	m.Kill()
	if m.Alive() {
		t.Fatal("killed and alive")
	}
	if _, err := m.Exec(t.Context(), "d", "SELECT 1"); err == nil {
		t.Fatal("a dead server answers")
	}
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	if m.PID() == pid || m.Addr() != addr {
		t.Fatalf("process %d at %s became %d at %s", pid, addr, m.PID(), m.Addr())
	}
	if got := exec1(t, m, "SELECT i FROM x"); got != "7" {
		t.Fatalf("the table holds %q", got)
	}
}

func TestMariaDBStoppedHangsAndContinues(t *testing.T) {
	m := StartMariaDB(t)
	m.DSN("d")
	m.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if out, err := m.Exec(ctx, "d", "SELECT 1"); err == nil || ctx.Err() == nil {
		t.Fatalf("a stopped server answers %q %v", out, err)
	}
	if !m.Alive() {
		t.Fatal("stopped and dead")
	}
	m.Continue()
	if got := exec1(t, m, "SELECT 1"); got != "1" {
		t.Fatalf("it answers %q", got)
	}
}

func TestMariaDBTakesArgumentsAndIsDurable(t *testing.T) {
	m := StartMariaDB(t, "--max-connections=37")
	m.DSN("d")
	got := exec1(t, m, "SELECT @@max_connections, @@innodb_flush_log_at_trx_commit, @@bind_address")
	if got != "37\t1\t127.0.0.1" {
		t.Fatalf("its settings are %q", got)
	}
}

func TestAServerThatEndsAtOnceSaysWhy(t *testing.T) {
	_, err := OpenMariaDB(t.Context(), folder(t), "--no-such-setting=1")
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Fatalf("the error is %v", err)
	}
}

func TestAMissingProgramNamesItsPackage(t *testing.T) {
	_, err := binary("no-such-server", "a-package")
	if err == nil || !strings.Contains(err.Error(), "apt-get install a-package") {
		t.Fatalf("the error is %v", err)
	}
}

func TestRedisComesBackAfterKill(t *testing.T) {
	r := StartRedis(t)
	if r.URL() != "redis://"+r.Addr() {
		t.Fatalf("the URL is %s", r.URL())
	}
	set(t, r)
	r.Kill()
	if _, err := r.Do(t.Context(), "PING"); err == nil {
		t.Fatal("a dead server answers")
	}
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Do(t.Context(), "DBSIZE"); err != nil || n != int64(0) {
		t.Fatalf("it holds %v keys, %v", n, err)
	}
}

func TestRedisStoppedHangsAndContinues(t *testing.T) {
	r := StartRedis(t)
	set(t, r)
	r.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if v, err := r.Do(ctx, "GET", "k"); err == nil {
		t.Fatalf("a stopped server answers %v %v", v, err)
	}
	r.Continue()
	if v, err := r.text(t.Context(), "GET", "k"); err != nil || v != "v" {
		t.Fatalf("it answers %v %v", v, err)
	}
	r.FlushAll()
	if n, err := r.Do(t.Context(), "DBSIZE"); err != nil || n != int64(0) {
		t.Fatalf("after FLUSHALL it holds %v keys, %v", n, err)
	}
}

func set(t *testing.T, r *Redis) {
	t.Helper()
	if _, err := r.Do(t.Context(), "SET", "k", "v"); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyWhatIsInTheFolderIsGivenAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may give files away")
	}
	outside := filepath.Join(t.TempDir(), "outside")
	dir := folder(t)
	inside := filepath.Join(dir, "data", "inside")
	link := filepath.Join(dir, "data", "link")
	if err := errors.Join(os.WriteFile(outside, nil, 0o600), os.Mkdir(filepath.Dir(inside), 0o700),
		os.WriteFile(inside, nil, 0o600), os.Symlink(outside, link)); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	if err := giveAway(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{dir: nobody, filepath.Dir(inside): nobody, inside: nobody, link: nobody, outside: 0} {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Sys().(*syscall.Stat_t).Uid; got != want {
			t.Errorf("%s belongs to %d, want %d", path, got, want)
		}
	}
}
