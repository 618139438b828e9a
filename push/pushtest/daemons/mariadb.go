package daemons

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// MariaDB is a MariaDB server with the user root, who has no password.
type MariaDB struct {
	*Daemon
	client string     // the mariadb program
	t      testing.TB // nil if it belongs to no test

	mu   sync.Mutex
	made map[string]bool // databases that exist; guarded by mu
}

// StartMariaDB starts an empty MariaDB for a test, durable at each commit, and
// closes it when the test ends. Further arguments of mariadbd come last and so
// win over the package's.
func StartMariaDB(t testing.TB, args ...string) *MariaDB {
	t.Helper()
	m, err := OpenMariaDB(t.Context(), folder(t), args...)
	m = bound(t, m, err)
	m.t = t
	return m
}

// OpenMariaDB starts MariaDB on the data in a folder, or on none if the folder
// has none. The path has to be short (a Unix socket lies in it). The caller
// closes it. The context bounds the start alone.
func OpenMariaDB(ctx context.Context, dir string, args ...string) (*MariaDB, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if len(dir) > 90 {
		return nil, fmt.Errorf("daemons: %s is too long a path for a Unix socket", dir)
	}
	server, err := binary("mariadbd", "mariadb-server-core")
	if err != nil {
		return nil, err
	}
	client, err := binary("mariadb", "mariadb-client-core")
	if err != nil {
		return nil, err
	}
	if err := install(ctx, dir); err != nil {
		return nil, err
	}
	m := &MariaDB{Daemon: &Daemon{name: "mariadbd", dir: dir, path: server}, client: client, made: map[string]bool{}}
	if args, err = m.dropRoot(args); err != nil {
		return nil, err
	}
	m.ready = m.greets
	err = m.open(ctx, func(port int) []string { return m.arguments(port, args) })
	if err != nil {
		return nil, err
	}
	return m, nil
}

// install makes the system tables unless the folder has them.
func install(ctx context.Context, dir string) error {
	data := filepath.Join(dir, "data")
	if _, err := os.Stat(filepath.Join(data, "mysql")); err == nil {
		return nil
	}
	program, err := binary("mariadb-install-db", "mariadb-server-core")
	if err != nil {
		return err
	}
	me, err := user.Current()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	//nolint:gosec // G204: what binary has found
	cmd := exec.CommandContext(ctx, program, "--no-defaults", "--user="+me.Username, "--datadir="+data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=16M")
	// Its tables for the time being: another server that starts removes them
	// from the shared folder.
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	// A shell script with a server below it: both have to end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("daemons: mariadb-install-db: %w: %s", err, out)
	}
	return nil
}

// dropRoot hands the data to the system's mysql user if this process is root,
// for whom permissions and a disk's reserve would not count. Not by --user of
// mariadbd: a process that changes its user loses its death signal.
func (m *MariaDB) dropRoot(args []string) ([]string, error) {
	if os.Getuid() != 0 {
		return args, nil
	}
	u, err := user.Lookup("mysql")
	if _, missing := errors.AsType[user.UnknownUserError](err); missing {
		// mariadb-server makes that user, mariadb-server-core alone does not.
		return append([]string{"--user=root"}, args...), nil
	}
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	m.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return args, giveAway(m.dir, int(uid), int(gid))
}

// giveAway makes somebody else the owner of a folder and all that is in it, and
// of nothing that a link in it points to.
func giveAway(dir string, uid, gid int) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(fs.WalkDir(root.FS(), ".", func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(p, uid, gid)
	}), root.Close())
}

func (m *MariaDB) arguments(port int, more []string) []string {
	return append([]string{
		"--no-defaults", "--datadir=" + filepath.Join(m.dir, "data"), "--tmpdir=" + m.dir,
		"--socket=" + m.socket(), "--pid-file=" + filepath.Join(m.dir, "pid"),
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--skip-networking=OFF", "--skip-name-resolve",
		"--character-set-server=utf8mb4", "--max-connections=500",
		"--innodb-flush-log-at-trx-commit=1", "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=32M",
		"--innodb-buffer-pool-dump-at-shutdown=OFF", "--innodb-fast-shutdown=2",
		"--performance-schema=OFF", "--skip-log-bin",
	}, more...)
}

func (m *MariaDB) socket() string { return filepath.Join(m.dir, "socket") }

// greets says whether the server sends its greeting, which it does once it has
// recovered.
func (m *MariaDB) greets(ctx context.Context) error {
	_, err := m.hears(ctx, "unix", m.socket(), "")
	return err
}

// DSN is the address of a database in the words of go-sql-driver, without
// parameters. It makes the database if there is none. Where that fails, the
// test ends; of a server that belongs to no test, call CreateDatabase first,
// for DSN panics instead.
func (m *MariaDB) DSN(database string) string {
	if err := m.CreateDatabase(context.Background(), database); err != nil {
		if m.t == nil {
			panic(err)
		}
		m.t.Helper()
		m.t.Fatal(err)
	}
	return "root@tcp(" + m.Addr() + ")/" + database
}

var databaseName = regexp.MustCompile(`^[A-Za-z0-9_]{1,64}$`)

// CreateDatabase makes a database unless it exists. Its name is of letters,
// digits and underscores. What was made once is not asked for again.
func (m *MariaDB) CreateDatabase(ctx context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.made[name] {
		return nil
	}
	if !databaseName.MatchString(name) {
		return fmt.Errorf("daemons: %q is no name for a database", name)
	}
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	if _, err := m.Exec(ctx, "", "CREATE DATABASE IF NOT EXISTS "+name); err != nil {
		return err
	}
	m.made[name] = true
	return nil
}

// Exec runs SQL as root in a database (none if empty) on a connection of its
// own, and answers the rows: columns parted by tabs, without a heading. It goes
// by the Unix socket, and so past whatever is put before the server's port.
// For set-up and faults: each call costs a process. The context's end ends it.
func (m *MariaDB) Exec(ctx context.Context, database, sql string) (string, error) {
	//nolint:gosec // G204: what binary has found
	cmd := exec.CommandContext(ctx, m.client, "--no-defaults", "--socket="+m.socket(), "--user=root",
		"--batch", "--skip-column-names", "--database="+database)
	cmd.Stdin = strings.NewReader(sql)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("daemons: mariadb: %w: %s", errors.Join(err, ctx.Err()), strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
