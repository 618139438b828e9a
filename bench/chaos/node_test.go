package chaos

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/api/pushclient"
	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

// lone is one node on SQLite behind a link.
type lone struct {
	t       *testing.T
	process *Process
	link    *faultproxy.Link
	stderr  lockedBuffer
	info    struct {
		URL    string `json:"url"`
		APIKey string `json:"api_key"`
		Seal   string `json:"seal_key"`
	}
	push *pushclient.Client
}

// lockedBuffer is a bytes.Buffer for a process's standard error.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// build makes the server that is tested; SUNZI_BIN names one that is there.
func build(t *testing.T) string {
	t.Helper()
	if there := os.Getenv("SUNZI_BIN"); there != "" {
		return there
	}
	binary := filepath.Join(t.TempDir(), "sunzi")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/sunzi-push/sunzi/cmd/sunzi").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func startLone(t *testing.T) *lone {
	t.Helper()
	n := &lone{t: t}
	addr, err := FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	n.boot(build(t), t.TempDir(), addr)
	if n.link, err = faultproxy.NewLink("link-1", addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.link.Close)
	web := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(web.CloseIdleConnections)
	if n.push, err = pushclient.New(n.info.URL, n.info.APIKey, pushclient.WithHTTP(web)); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *lone) boot(binary, data, addr string) {
	n.t.Helper()
	n.process = NewProcess([]string{binary, "dev", "--listen", addr, "--data", data, "--json"}, nil, &n.stderr)
	if err := n.process.Start(n.t.Context(), &n.info); err != nil {
		n.t.Fatalf("%v\n%s", err, n.stderr.String())
	}
	n.t.Cleanup(n.process.Kill)
}

func (n *lone) node() Node {
	return Node{Name: "n1", URL: "http://" + n.link.Addr(), WSURL: "ws://" + n.link.Addr() + "/ws"}
}

// execute knows three faults.
func (n *lone) execute(ctx context.Context, f Fault) (func(context.Context) error, error) {
	switch f.Kind {
	case "kill":
		n.process.Kill()
		return func(ctx context.Context) error { return n.process.Start(ctx, nil) }, nil
	case "pause":
		err := n.process.Signal(syscall.SIGSTOP)
		return func(context.Context) error { return n.process.Signal(syscall.SIGCONT) }, err
	case "cut":
		err := n.link.Set(faultproxy.Fault{Refuse: true})
		n.link.Cut()
		return func(context.Context) error { return n.link.Heal() }, err
	}
	return nil, fmt.Errorf("%s is not known", f.Kind)
}

func (n *lone) register(count int) (all []Credentials) {
	n.t.Helper()
	for range count {
		c, err := n.push.Register(n.t.Context(), pushclient.Registration{})
		if err != nil {
			n.t.Fatal(err)
		}
		all = append(all, Credentials{c.ClientID, c.Token})
	}
	return all
}

// undelivered is the store's own count, client by client.
func (n *lone) undelivered(clients []Credentials) func(context.Context) (int, error) {
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = c.ID
	}
	return func(ctx context.Context) (total int, err error) {
		all, err := n.push.Clients(ctx, "", ids)
		for _, c := range all {
			if c.Error != nil {
				return 0, fmt.Errorf("client %s: %s", c.ClientID, c.Error.Name)
			}
			total += c.Backlog.Count
		}
		return total, err
	}
}

// short is ten seconds of faults on one node; about half of them are broken.
func short(rng *rand.Rand) (faults []Fault) {
	kinds := []string{"kill", "pause", "cut", "kill", "pause", "cut"}
	rng.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	for i, k := range kinds {
		f := Fault{Kind: k, Target: "n1", At: time.Second + time.Duration(i)*1500*time.Millisecond}
		f.Lasts = 400*time.Millisecond + time.Duration(rng.IntN(600))*time.Millisecond
		if k == "cut" {
			f.Target = "link-1"
		}
		faults = append(faults, f)
	}
	return faults
}

func TestOneNodeLosesNothingWhenKilledPausedAndCutOff(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d (timing decides the rest)", seed)
	n := startLone(t)
	o := Options{Producers: 4, Clients: 24, Nodes: 1, Pushes: 6000, Duration: 10 * time.Second}
	faults := short(rand.New(rand.NewPCG(seed, 0)))
	o.Windows, o.Seal = Windows(faults), true
	identity, err := base64.RawURLEncoding.DecodeString(n.info.Seal)
	if err != nil {
		t.Fatal(err)
	}
	clients := n.register(o.Clients)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
	defer cancel()
	dir := logs(t)
	ev, err := Run(ctx, Setup{
		Plan: NewPlan(seed, o), Dir: dir, Nodes: []Node{n.node()}, APIKey: n.info.APIKey, Clients: clients, ServerKey: identity,
		Faults: faults, Execute: n.execute, Undelivered: n.undelivered(clients),
		Memory:      func() map[string]int64 { return map[string]int64{"n1": n.process.Memory()} },
		DrainWithin: 60 * time.Second,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, n.stderr.String())
	}
	found := Judge(ev, Terms{Kindness: 0.005, MemoryBytes: 512 << 20, Sealed: 0.1})
	for _, v := range found[:min(len(found), 20)] {
		t.Error(v)
	}
	t.Log(Tell(ev))
	awake(t, ev)
}

// logs is where the run's logs go: below SUNZI_CHAOS_LOGS they are kept.
func logs(t *testing.T) string {
	t.Helper()
	keep := os.Getenv("SUNZI_CHAOS_LOGS")
	if keep == "" {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(keep, "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("logs are in %s", dir)
	return dir
}

// awake takes from a client's log, of a run in which nothing was found, one
// push that was acknowledged: a judge that says nothing then sleeps.
func awake(t *testing.T, ev Evidence) {
	t.Helper()
	for i, c := range ev.Clients {
		for _, taken := range c.Events {
			if taken.Kind != Received {
				continue
			}
			ev.Clients[i].Events = slices.DeleteFunc(slices.Clone(c.Events), func(e Event) bool {
				return e.Kind == Received && keyOf(e) == keyOf(taken)
			})
			lost := func(v Violation) bool { return v.Rule == Lost && v.Party == c.Name }
			if !slices.ContainsFunc(Judge(ev, Terms{}), lost) {
				t.Errorf("without its receipts of %s nothing is lost to client %s", keyOf(taken), c.Name)
			}
			return
		}
	}
	t.Error("no client received anything")
}
