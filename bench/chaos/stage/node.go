package stage

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/bench/faultproxy"
	"github.com/sunzi-push/sunzi/crt"
)

// node is one server with the links before and behind it.
type node struct {
	name    string
	process *chaos.Process
	log     *os.File
	front   *faultproxy.Link   // before it: what clients and producers use
	db      *faultproxy.Link   // behind it
	redis   []*faultproxy.Link // behind it, one to each server of Redis
}

// Variables by which a stage tells a node of its own what sunzi serve does not
// know; the command of [Options.Node] reads them.
const (
	EnvDial  = "SUNZI_CHAOS_DIAL"  // address=link, separated by commas: how Redis is reached
	EnvPlant = "SUNZI_CHAOS_PLANT" // name of a planted defect; empty: none
)

// settings are as in production but for times, which are shortened as the
// faults are: what a node does about a fault has to happen within it.
var settings = []string{
	"SUNZI_ADMIN_LISTEN=", "SUNZI_CLUSTER_LEASE=3s", "SUNZI_CLUSTER_HEAD_SWEEP=2s", "SUNZI_STORE_TIMEOUT=2s",
	"SUNZI_HTTP_SHUTDOWN_TIMEOUT=6s", "SUNZI_HUB_DRAIN=1s", "SUNZI_HUB_COME_BACK=500ms", "SUNZI_LOG_LEVEL=info",
}

func (s *Stage) openNode(ctx context.Context, i int) (*node, error) {
	n := &node{name: fmt.Sprintf("n%d", i+1)}
	s.nodes = append(s.nodes, n)
	addr, err := chaos.FreeAddr()
	if err != nil {
		return nil, err
	}
	if n.front, err = s.links.Add(n.name, addr); err != nil {
		return nil, err
	}
	if n.db, err = s.links.Add(n.name+"-db", s.services.db.Addr()); err != nil {
		return nil, err
	}
	var dial []string
	for k, r := range s.services.redis {
		link, err := s.links.Add(fmt.Sprintf("%s-redis%d", n.name, k), r.Addr())
		if err != nil {
			return nil, err
		}
		n.redis = append(n.redis, link)
		dial = append(dial, r.Addr()+"="+link.Addr())
	}
	n.log, err = os.Create(filepath.Join(s.options.Dir, n.name+".log"))
	if err != nil {
		return nil, err
	}
	env := append([]string{
		"SUNZI_LISTEN=" + addr, "SUNZI_STORE_DSN=" + appUser + "@tcp(" + n.db.Addr() + ")/" + s.database,
		"SUNZI_CLUSTER_REDIS=" + s.services.url, "SUNZI_CLUSTER_PREFIX=" + s.database,
		"SUNZI_TOKENS_SECRET=" + s.secret, "SUNZI_SEAL_KEYS=" + s.seal, EnvDial + "=" + strings.Join(dial, ","),
		EnvPlant + "=" + s.options.Plant,
	}, slices.Concat(settings, s.options.Env)...)
	if i == 0 {
		if err := s.makeKey(ctx, env, n.log); err != nil {
			return nil, err
		}
	}
	n.process = chaos.NewProcess(s.options.Node, env, n.log)
	return n, n.process.Start(ctx, nil)
}

// makeSealKeys makes what all nodes seal with, in the form of the file that
// sunzi key make writes.
func (s *Stage) makeSealKeys() error {
	identity, wrap := make([]byte, crt.KeySize), make([]byte, crt.KeySize)
	rand.Read(identity) // never fails
	rand.Read(wrap)
	id, err := crt.NewIdentity(identity)
	if err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"identity": identity, "wrap": map[int][]byte{1: wrap}})
	s.seal, s.identity = string(text), id.Public()
	return err
}

// makeKey has an API key made, by a process that ends at once.
func (s *Stage) makeKey(ctx context.Context, env []string, log *os.File) error {
	p := chaos.NewProcess(append(s.options.Node, "--make-key"), env, log)
	defer p.Kill()
	return p.Start(ctx, &s.key)
}

const (
	// restartWithin is how long a node may take to serve again: it can't
	// while the database is away, whose fault may outlast the node's.
	restartWithin = 90 * time.Second
	restartPause  = 300 * time.Millisecond
	// endWithin is longer than a node's own bound for an orderly end.
	endWithin = 15 * time.Second
)

// restart starts the node again, until it serves.
func (n *node) restart(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, restartWithin)
	defer cancel()
	for {
		err := n.process.Start(ctx, nil)
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, restartPause)
	}
}

func (n *node) close() error {
	if n.process != nil {
		n.process.Stop(endWithin)
	}
	if n.log == nil {
		return nil
	}
	return n.log.Close()
}

// pause waits, less where ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// Faults of nodes.

func (n *node) kill(context.Context, chaos.Fault) (heal, error) {
	n.process.Kill()
	return n.restart, nil
}

func (n *node) terminate(context.Context, chaos.Fault) (heal, error) {
	n.process.Stop(endWithin)
	return n.restart, nil
}

func (n *node) halt(context.Context, chaos.Fault) (heal, error) {
	err := n.process.Signal(syscall.SIGSTOP)
	return func(context.Context) error { return n.process.Signal(syscall.SIGCONT) }, err
}

// stepClock sets the node's clock forward or back, and back again.
func (n *node) stepClock(_ context.Context, f chaos.Fault) (heal, error) {
	steps := []time.Duration{-10 * time.Minute, -20 * time.Second, 20 * time.Second, 10 * time.Minute}
	step := steps[int(f.At/time.Millisecond)%len(steps)]
	err := n.process.Tell("clock " + step.String())
	return func(context.Context) error { return n.process.Tell("clock 0s") }, err
}
