package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sunzi-push/sunzi/api/wsclient"
)

// sealVariant is a way to seal, and a server that is set up for it.
type sealVariant struct {
	Name  string
	Mode  string // of wsclient; empty: none
	Slots int    // of crt
	Bare  bool   // crt without covers; else all frames are covered
}

func (v sealVariant) env() []string {
	if v.Mode != wsclient.SealCRT {
		return nil
	}
	cover := "all"
	if v.Bare {
		cover = "none"
	}
	return []string{"SUNZI_SEAL_SLOTS=" + strconv.Itoa(v.Slots), "SUNZI_SEAL_COVER=" + cover}
}

// sealSite is one variant's server with its clients, which are the library's:
// they open what they get, compare it with what was pushed, and ack it.
type sealSite struct {
	variant sealVariant
	cluster *Cluster
	fleet   *Fleet // for HTTP
	clients []Client
	library []*wsclient.Client
	seen    onWire
	again   atomic.Int64 // times that a client had to connect again

	stop    context.CancelCauseFunc
	ctx     context.Context // ends with what went wrong
	running sync.WaitGroup

	serial  atomic.Int64
	mu      sync.Mutex
	waiting map[string]*delivery // by serial
}

// delivery is a push on its way.
type delivery struct {
	data []byte // as JSON
	to   map[int]struct{}
	done chan struct{}
}

// openSite starts a server and connects clients to it.
func openSite(ctx context.Context, o ClusterOptions, v sealVariant, clients int) (s *sealSite, err error) {
	o.Env = append(o.Env[:len(o.Env):len(o.Env)], v.env()...)
	s = &sealSite{variant: v, waiting: make(map[string]*delivery)}
	s.ctx, s.stop = context.WithCancelCause(ctx)
	s.seen.reset()
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", v.Name, err), s.close())
		}
	}()
	if s.cluster, err = StartCluster(ctx, o); err != nil {
		s.cluster = nil // it has stopped
		return s, err
	}
	s.fleet = NewFleet(s.cluster)
	if s.clients, err = s.fleet.Register(ctx, clients); err != nil {
		return s, err
	}
	key, err := s.cluster.sealKey(ctx, o.Binary)
	if err != nil {
		return s, err
	}
	for i := range s.clients { // one after the other: shards are filled in order
		if err := s.connect(i, key); err != nil {
			return s, err
		}
	}
	return s, nil
}

// sealKey is the server's identity key.
func (c *Cluster) sealKey(ctx context.Context, binary string) ([]byte, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "key", "show", "--data", c.Nodes[0].data) //nolint:gosec // G204: the caller's binary
	cmd.Env, cmd.Dir = append(os.Environ(), tokenSecret), c.Nodes[0].data
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("no sealing key: %w: %s", err, complaint(err))
	}
	return base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(out)))
}

// connect runs a client and waits until it is live, with its keys in use.
func (s *sealSite) connect(i int, key []byte) error {
	steps := make(chan struct{}, 2)
	step := func(k wsclient.Kind) {
		if k == wsclient.KindReplayComplete || k == wsclient.KindSealed {
			select {
			case steps <- struct{}{}:
			default: // of a later connection
			}
		}
	}
	dialer := net.Dialer{}
	c, err := wsclient.New(wsclient.Config{
		URL: s.cluster.Nodes[0].WSURL, Token: s.clients[i].Token, ClientID: s.clients[i].ID, Seal: s.variant.Mode, ServerKey: key,
		OnEvent: func(e wsclient.Event) { step(e.Kind) },
		OnState: func(c wsclient.StateChange) {
			if c.To == wsclient.Reconnecting {
				s.again.Add(1)
			}
		},
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			return &tap{Conn: conn, to: &s.seen}, err
		},
	})
	if err != nil {
		return err
	}
	s.library = append(s.library, c)
	s.running.Go(func() {
		err := c.Run(s.ctx, func(_ context.Context, m *wsclient.Message) error { return s.got(i, m) })
		if err != nil && s.ctx.Err() == nil {
			s.stop(fmt.Errorf("client %d: %w", i, err))
		}
	})
	expected := 1
	if s.variant.Mode != "" {
		expected = 2
	}
	late := time.After(30 * time.Second)
	for range expected {
		select {
		case <-steps:
		case <-s.ctx.Done():
			return context.Cause(s.ctx)
		case <-late:
			return fmt.Errorf("client %d: not live in 30 s", i)
		}
	}
	return nil
}

// serialLen is how many digits of the data are the push's serial number.
const serialLen = 12

// got checks a message and takes it off what is waited for.
func (s *sealSite) got(i int, m *wsclient.Message) error {
	bad := func(what string) error {
		s.stop(fmt.Errorf("client %d: message %d: %s", i, m.Seq, what))
		return nil // once is enough
	}
	if m.Sealed != (s.variant.Mode != "") {
		return bad("sealed otherwise than it was asked for")
	}
	if len(m.Data) < serialLen+1 {
		return bad("short data")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	serial := string(m.Data[1 : serialLen+1])
	d := s.waiting[serial]
	if d == nil {
		return bad("nobody pushed it, or it came twice")
	}
	if _, ours := d.to[i]; !ours || !bytes.Equal(d.data, m.Data) || m.Topic != sealTopic {
		return bad("another was pushed, or it came twice")
	}
	delete(d.to, i)
	if len(d.to) == 0 {
		delete(s.waiting, serial)
		close(d.done)
	}
	return nil
}

const sealTopic = "bench"

// push pushes once, to all clients or to the next one, and waits until it was
// received. It answers how many did.
func (s *sealSite) push(text int, all bool) (int, error) {
	n := s.serial.Add(1)
	serial := fmt.Sprintf("%0*d", serialLen, n)
	d := &delivery{to: make(map[int]struct{}), done: make(chan struct{})}
	d.data = fmt.Appendf(nil, "\"%s%s\"", serial, strings.Repeat("x", text-serialLen))
	var to any
	if all {
		ids := make([]string, len(s.clients))
		for i, c := range s.clients {
			ids[i], d.to[i] = c.ID, struct{}{}
		}
		to = map[string]any{"clients": ids}
	} else {
		i := int(n) % len(s.clients)
		to, d.to[i] = map[string]any{"client": s.clients[i].ID}, struct{}{}
	}
	receivers := len(d.to)
	body, err := json.Marshal(map[string]any{"to": to, "topic": sealTopic, "store": "always", "data": json.RawMessage(d.data)})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.waiting[serial] = d
	s.mu.Unlock()
	if err := s.fleet.Post(s.ctx, "/v1/push", body, nil); err != nil {
		return 0, err
	}
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-d.done:
		return receivers, nil
	case <-s.ctx.Done():
		return 0, context.Cause(s.ctx)
	case <-late.C:
		return 0, fmt.Errorf("push %s was not received in 30 s", serial)
	}
}

// settle waits until everything is acked on the server, and nothing comes any
// more: covers may be on their way still.
func (s *sealSite) settle() error {
	ids := make([]string, len(s.clients))
	for i, c := range s.clients {
		ids[i] = c.ID
	}
	body, err := json.Marshal(map[string]any{"clients": ids})
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		before := s.seen.bytes.Load()
		if err := sleep(s.ctx, 40*time.Millisecond); err != nil {
			return context.Cause(s.ctx)
		}
		if s.seen.bytes.Load() != before {
			continue
		}
		waits, err := s.backlog(body)
		if err != nil || waits == 0 {
			return err
		}
	}
	return errors.New("not all was acked in 30 s")
}

func (s *sealSite) backlog(clients []byte) (waits int, err error) {
	var status struct {
		Clients []struct {
			Backlog struct {
				Count int `json:"count"`
			} `json:"backlog"`
		} `json:"clients"`
	}
	if err := s.fleet.Post(s.ctx, "/v1/clients/status", clients, &status); err != nil {
		return 0, err
	}
	for _, c := range status.Clients {
		waits += c.Backlog.Count
	}
	return waits, nil
}

// covers is how many frames without a message for them clients have opened, and
// an error where one did not open.
func (s *sealSite) covers() (n uint64, err error) {
	for i, c := range s.library {
		st := c.SealStats()
		n += st.Covers
		if st.DecryptFailed > 0 {
			err = fmt.Errorf("client %d: %d frames did not open", i, st.DecryptFailed)
		}
	}
	return n, err
}

// said is what the server has logged: it may be why figures are odd.
func (s *sealSite) said() (said []string) {
	if s.cluster == nil {
		return nil
	}
	for _, n := range s.cluster.Nodes {
		if text := n.said(); text != "" {
			said = append(said, s.variant.Name+": the server logged: "+text)
		}
	}
	return said
}

// close ends clients and server.
func (s *sealSite) close() error {
	s.stop(nil)
	s.running.Wait()
	if s.fleet != nil {
		s.fleet.Close()
	}
	if s.cluster == nil {
		return nil
	}
	return s.cluster.Stop()
}
