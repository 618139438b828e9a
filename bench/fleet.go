package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"
)

// Client is a registered client's credentials.
type Client struct {
	ID    string `json:"client_id"`
	Token string `json:"token"`
}

// Fleet is many connected clients of a cluster, spread over its nodes in turn,
// a goroutine each: cheap enough to write, and its own cost is not what is
// measured.
type Fleet struct {
	cluster *Cluster
	http    *http.Client

	Received atomic.Int64 // messages, over all connections
	// OnMessage, set before Connect, sees each message's frame.
	OnMessage func(client int, payload []byte)
	// Ack, set before Connect, acks each message as it comes. Client libraries
	// gather acks for 50 ms, in which a client seldom gets two.
	Ack bool

	mu    sync.Mutex
	conns []net.Conn
	wg    sync.WaitGroup
}

// NewFleet makes an empty fleet.
func NewFleet(c *Cluster) *Fleet {
	t := &http.Transport{MaxIdleConnsPerHost: maxHTTP, MaxConnsPerHost: maxHTTP}
	if c.roots != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS13} // and so no HTTP/2, as without TLS
	}
	return &Fleet{cluster: c, http: &http.Client{Timeout: 30 * time.Second, Transport: t}}
}

// maxHTTP is how many HTTP connections to one node there may be.
const maxHTTP = 256

// Post sends JSON to the open API of any node and decodes the answer; a status
// of 300 or more is an error with the problem's text.
func (f *Fleet) Post(ctx context.Context, path string, body []byte, answer any) error {
	nodes := f.cluster.Nodes
	node := nodes[rand.IntN(len(nodes))] //nolint:gosec // G404: no secret
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, node.URL+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.cluster.APIKey)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: %s: %s", path, resp.Status, b)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(b, answer)
}

// Register makes n clients, 64 requests at a time.
func (f *Fleet) Register(ctx context.Context, n int) ([]Client, error) {
	clients := make([]Client, n)
	return clients, Parallel(64, n, func(i int) error {
		return f.Post(ctx, "/v1/clients", []byte("{}"), &clients[i])
	})
}

// Parallel calls do(0..n-1) from so many goroutines and returns the first
// error.
func Parallel(workers, n int, do func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n || errs[w] != nil {
					return
				}
				errs[w] = do(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Connect opens a connection for each client, 32 at a time, and returns when
// all are live (replay_complete has come). Source addresses are spread over
// 127.0.0.0/8, so that ports don't run out.
func (f *Fleet) Connect(ctx context.Context, clients []Client) error {
	base := len(f.conns)
	return Parallel(32, len(clients), func(i int) error {
		return f.connect(ctx, base+i, clients[i])
	})
}

func (f *Fleet) connect(ctx context.Context, n int, c Client) error {
	dialer := ws.Dialer{
		Protocols: []string{"sunzi.v1.json", "bearer." + c.Token},
		Timeout:   30 * time.Second,
		NetDial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+n/10000), 1)}}
			return d.DialContext(ctx, network, addr)
		},
	}
	if f.cluster.roots != nil {
		dialer.TLSConfig = &tls.Config{RootCAs: f.cluster.roots, MinVersion: tls.VersionTLS13}
	}
	conn, br, _, err := dialer.Dial(ctx, f.cluster.Nodes[n%len(f.cluster.Nodes)].WSURL)
	if err != nil {
		return fmt.Errorf("client %d: %w", n, err)
	}
	var r io.Reader = conn
	if br != nil {
		r = io.MultiReader(io.LimitReader(br, int64(br.Buffered())), conn)
	}
	hello := ws.NewTextFrame([]byte(`{"type":"hello","caps":[]}`))
	if err := ws.WriteFrame(conn, ws.MaskFrame(hello)); err != nil {
		return err
	}
	ready := make(chan error, 1)
	f.mu.Lock()
	f.conns = append(f.conns, conn)
	f.mu.Unlock()
	f.wg.Go(func() { f.read(n, conn, r, ready) })
	select {
	case err := <-ready:
		return err
	case <-time.After(30 * time.Second):
		return fmt.Errorf("client %d: not live in 30 s", n)
	}
}

// read answers pings and counts messages until the connection ends.
func (f *Fleet) read(n int, conn net.Conn, r io.Reader, ready chan<- error) {
	told := false
	for {
		op, payload, err := readFrame(r)
		if err != nil {
			if !told {
				ready <- fmt.Errorf("client %d: %w", n, err)
			}
			return
		}
		switch op {
		case ws.OpPing:
			if ws.WriteFrame(conn, ws.MaskFrame(ws.NewPongFrame(payload))) != nil {
				return
			}
		case ws.OpClose:
			if !told {
				code, reason := ws.ParseCloseFrameData(payload)
				ready <- fmt.Errorf("client %d: closed with %d %s", n, code, reason)
			}
			return
		case ws.OpText:
			switch {
			case bytes.HasPrefix(payload, []byte(`{"type":"message"`)):
				f.Received.Add(1)
				if f.OnMessage != nil {
					f.OnMessage(n, payload)
				}
				if f.Ack && ack(conn, payload) != nil {
					return
				}
			case !told && bytes.HasPrefix(payload, []byte(`{"type":"replay_complete"`)):
				told = true
				ready <- nil
			}
		default: // a pong: we send no ping
		}
	}
}

// ack acks a message, which begins with its sequence (SPEC.md); what is not
// stored has none.
func ack(conn net.Conn, payload []byte) error {
	seq, ok := bytes.CutPrefix(payload, []byte(`{"type":"message","seq":"`))
	end := bytes.IndexByte(seq, '"')
	if !ok || end < 0 {
		return nil
	}
	return ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame(fmt.Appendf(nil, `{"type":"ack","seq":"%s"}`, seq[:end]))))
}

// maxFrame bounds what the server under test may make us hold, in bytes.
const maxFrame = 64 << 20

func readFrame(r io.Reader) (ws.OpCode, []byte, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return 0, nil, err
	}
	if h.Length > maxFrame {
		return 0, nil, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	p := make([]byte, h.Length)
	_, err = io.ReadFull(r, p)
	return h.OpCode, p, err
}

// Close ends all connections and waits for their readers.
func (f *Fleet) Close() {
	f.mu.Lock()
	for _, c := range f.conns {
		_ = c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
	f.http.CloseIdleConnections()
}
