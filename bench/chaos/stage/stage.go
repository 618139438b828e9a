package stage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"

	"github.com/sunzi-push/sunzi/api/pushclient"
	"github.com/sunzi-push/sunzi/bench/chaos"
	"github.com/sunzi-push/sunzi/bench/faultproxy"
)

// Options are what a [Stage] is made of.
type Options struct {
	Dir string // of logs
	// Node is the command of a node: it serves until its standard input ends,
	// and prints a line once it does. With --make-key it only prints a new API
	// key, as JSON. See EnvDial and EnvPlant for what else it is told.
	Node  []string
	Nodes int
	Plant string   // a planted defect, by its name; empty: none
	Env   []string // variables of nodes, after those of every stage
}

// Stage is the nodes of one run with their links.
type Stage struct {
	options  Options
	services *Services
	database string
	secret   string // signs client tokens
	key      string // API key
	seal     string // sealing keys of all nodes
	identity []byte // their public half
	links    faultproxy.Proxy
	nodes    []*node
	kinds    []kind
	turns    map[string]chan struct{} // of targets: one fault at a time
	web      *http.Client
	push     *pushclient.Client // through the first node's front
}

// Open starts nodes on services. The caller closes it, and the services after
// it. The context bounds the start alone.
func Open(ctx context.Context, services *Services, o Options) (*Stage, error) {
	s := &Stage{
		options: o, services: services, secret: rand.Text() + rand.Text(),
		turns: map[string]chan struct{}{}, web: &http.Client{Transport: &http.Transport{}},
	}
	if err := errors.Join(s.makeSealKeys(), s.open(ctx)); err != nil {
		return nil, errors.Join(err, s.Close(ctx))
	}
	return s, nil
}

func (s *Stage) open(ctx context.Context) (err error) {
	if s.database, err = s.services.database(ctx); err != nil {
		return err
	}
	for i := range s.options.Nodes {
		if _, err := s.openNode(ctx, i); err != nil {
			return err
		}
	}
	s.kinds = s.allKinds()
	for _, k := range s.kinds {
		for _, target := range k.Targets {
			s.turns[target] = make(chan struct{}, 1)
		}
	}
	s.push, err = pushclient.New("http://"+s.nodes[0].front.Addr(), s.key, pushclient.WithHTTP(s.web))
	return err
}

// Close ends the nodes and takes their database away.
func (s *Stage) Close(ctx context.Context) error {
	var errs []error
	s.web.CloseIdleConnections()
	for _, n := range s.nodes {
		errs = append(errs, n.close())
	}
	s.links.Close()
	errs = append(errs, s.services.keepLog(filepath.Join(s.options.Dir, "mariadb.log")))
	if s.database != "" {
		errs = append(errs, s.services.dropDatabase(ctx, s.database))
	}
	return errors.Join(errs...)
}

// Nodes are the nodes as producers and clients reach them.
func (s *Stage) Nodes() []chaos.Node {
	nodes := make([]chaos.Node, len(s.nodes))
	for i, n := range s.nodes {
		nodes[i] = chaos.Node{Name: n.name, URL: "http://" + n.front.Addr(), WSURL: "ws://" + n.front.Addr() + "/ws"}
	}
	return nodes
}

// Register makes so many clients.
func (s *Stage) Register(ctx context.Context, count int) ([]chaos.Credentials, error) {
	all := make([]chaos.Credentials, count)
	for i := range all {
		c, err := s.push.Register(ctx, pushclient.Registration{})
		if err != nil {
			return nil, fmt.Errorf("stage: registering client %d: %w", i, err)
		}
		all[i] = chaos.Credentials{ID: c.ClientID, Token: c.Token}
	}
	return all, nil
}

// Undelivered is the backlog of all clients, as the API tells it: every entry
// that nobody acked.
func (s *Stage) Undelivered(clients []chaos.Credentials) func(context.Context) (int, error) {
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = c.ID
	}
	return func(ctx context.Context) (total int, err error) {
		all, err := s.push.Clients(ctx, "", ids)
		for _, c := range all {
			if c.Error != nil {
				return 0, fmt.Errorf("stage: client %s: %s", c.ClientID, c.Error.Name)
			}
			total += c.Backlog.Count
		}
		return total, err
	}
}

// Memory is the resident memory of the nodes that run, in bytes.
func (s *Stage) Memory() map[string]int64 {
	used := map[string]int64{}
	for _, n := range s.nodes {
		if m := n.process.Memory(); m > 0 {
			used[n.name] = m
		}
	}
	return used
}

// Died names the nodes that ended by themselves, once for each time.
func (s *Stage) Died() (names []string) {
	for _, n := range s.nodes {
		for range n.process.Deaths() {
			names = append(names, n.name)
		}
	}
	return names
}
