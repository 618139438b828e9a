package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	bigendian "encoding/binary"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sunzi-push/sunzi/api/wsclient"
	"github.com/sunzi-push/sunzi/crt"
)

// sealer is a client library that seals, with what it keeps over its lives.
type sealer struct {
	t       *testing.T
	id      string
	token   string
	mode    string
	key     []byte // the server's
	cursors wsclient.CursorStore
	keys    wsclient.SealKeyStore

	mu       sync.Mutex
	texts    []string
	failures []string
	events   []string
	stats    wsclient.SealStats
	wire     *wireTap
}

func newSealer(t *testing.T, s *server, id, mode, serverKey string) *sealer {
	t.Helper()
	key, err := base64.RawURLEncoding.DecodeString(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	return &sealer{
		t: t, id: id, token: register(t, s, id), mode: mode, key: key,
		cursors: wsclient.NewMemoryCursors(), keys: wsclient.NewFileSealKeys(filepath.Join(t.TempDir(), "keys")), wire: newWireTap(),
	}
}

// connect runs the client until the returned function ends that life.
func (c *sealer) connect(s *server) (end func()) {
	c.t.Helper()
	client, err := wsclient.New(wsclient.Config{
		OnEvent: func(e wsclient.Event) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, string(e.Kind))
		},
		URL: "ws://one.address/ws", ClientID: c.id, Token: c.token, Cursors: c.cursors,
		Seal: c.mode, ServerKey: c.key, SealKeys: c.keys,
		NetDial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, s.addr())
			if err != nil {
				return nil, err
			}
			return c.wire.listen(conn), nil
		},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := client.Run(ctx, c.handle); err != nil && ctx.Err() == nil {
			c.mu.Lock()
			c.failures = append(c.failures, err.Error())
			c.mu.Unlock()
		}
	}()
	eventually(c.t, c.id+" has keys", func() bool { return client.SealStats().Generation > 0 || c.failed() != "" })
	return func() { cancel(); <-done; c.stats = client.SealStats() }
}

func (c *sealer) failed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.failures, "; ")
}

func (c *sealer) handle(_ context.Context, m *wsclient.Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !m.Sealed {
		c.failures = append(c.failures, "in clear: "+string(m.Data))
	}
	c.texts = append(c.texts, string(m.Data))
	return nil
}

// wants waits until the client has handled exactly these, in order.
func (c *sealer) wants(texts ...string) {
	c.t.Helper()
	want := strings.Join(texts, " ")
	var got string
	eventually(c.t, c.id+" has its messages", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		got = strings.Join(c.texts, " ")
		return len(got) >= len(want) || len(c.failures) > 0
	})
	if got != want || c.failed() != "" {
		c.t.Errorf("%s handled %.300s, want %.300s; %s", c.id, got, want, c.failed())
	}
}

// wireTap finds the sealed frames among the bytes of connections.
type wireTap struct {
	mu     sync.Mutex
	frames map[[16]byte][32]byte // sealer and batch number: what was sealed so
	twice  int                   // one pair, two frames
	seen   []byte
}

func newWireTap() *wireTap { return &wireTap{frames: make(map[[16]byte][32]byte)} }

type tappedConn struct {
	net.Conn
	tap  *wireTap
	seen []byte
}

func (w *wireTap) listen(c net.Conn) net.Conn { return &tappedConn{Conn: c, tap: w} }

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.seen = c.tap.take(append(c.seen, b[:n]...))
	return n, err
}

// take notes the frames that are whole, and answers what is left.
func (w *wireTap) take(b []byte) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = append(w.seen, b...)
	for {
		at := bytes.Index(b, []byte("CB\x01"))
		if at < 0 {
			return b[max(0, len(b)-2):]
		}
		if b = b[at:]; len(b) < crt.HeaderSize {
			return b
		}
		size := crt.HeaderSize + int(bigendian.BigEndian.Uint16(b[32:]))*int(bigendian.BigEndian.Uint16(b[34:])) + int(bigendian.BigEndian.Uint32(b[40:]))
		if size <= crt.MaxX+crt.MaxBody && len(b) < size {
			return b
		}
		if f, err := crt.ParseFrame(b[:min(size, len(b))]); err == nil {
			id := [16]byte(append(append([]byte(nil), f.Sealer[:]...), f.Head[16:24]...))
			sum := sha256.Sum256(b[:size])
			if before, there := w.frames[id]; there && before != sum {
				w.twice++
			}
			w.frames[id] = sum
		}
		b = b[3:]
	}
}

func sealKeys(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "seal.keys")
	out, err := exec.Command(binary, "key", "make", file).Output()
	if err != nil {
		t.Fatalf("no sealing keys: %v: %s", err, stderrOf(err))
	}
	return file, strings.TrimSpace(string(out))
}

// Sealed messages survive what others do: clients that are away, two nodes that
// seal for one shard, kill -9 of both; and no sealer and batch number is ever
// used for two frames.
func TestSealedMessagesOnTwoNodes(t *testing.T) {
	file, public := sealKeys(t)
	n := together(t, append(quick, "SUNZI_SEAL_KEY_FILE="+file)...)
	a, b := n.start(), n.start()
	ann, bob := newSealer(t, a, "ann", wsclient.SealCRT, public), newSealer(t, b, "bob", wsclient.SealCRT, public)
	eve := newSealer(t, a, "eve", wsclient.SealAEAD, public)
	endAnn, endBob, endEve := ann.connect(a), bob.connect(b), eve.connect(b)
	var want []string
	push := func(s *server, data any) {
		t.Helper()
		s.must(t, request{method: "POST", path: "/v1/push", body: map[string]any{
			"to": map[string]any{"clients": []string{"ann", "bob", "eve"}}, "data": data,
		}}, nil)
		want = append(want, fmt.Sprintf("%q", data))
	}
	secret := "a secret of this test "
	push(a, "1")
	push(b, "2"+strings.Repeat(secret, 40))
	ann.wants(want...)
	bob.wants(want...)
	eve.wants(want...)

	endAnn()
	push(a, "3")
	push(b, "4"+secret)
	a.kill()
	b.kill()
	a, b = n.start(), n.start()
	push(a, "5")
	push(b, "6")
	endBob()
	endEve()
	endAnn, endBob, endEve = ann.connect(b), bob.connect(a), eve.connect(a)
	push(a, "7")
	for _, c := range []*sealer{ann, bob, eve} {
		c.wants(want...)
	}
	endAnn()
	endBob()
	endEve()

	frames := make(map[[16]byte][32]byte)
	for _, c := range []*sealer{ann, bob, eve} {
		if c.stats.DecryptFailed != 0 {
			t.Errorf("%s: %d frames did not open", c.id, c.stats.DecryptFailed)
		}
		if bytes.Contains(c.wire.seen, []byte(secret)) {
			t.Errorf("%s: the text was on the wire", c.id)
		}
		if c.wire.twice > 0 {
			t.Errorf("%s: %d batch numbers were taken twice", c.id, c.wire.twice)
		}
		for id, sum := range c.wire.frames {
			if before, there := frames[id]; there && before != sum {
				t.Errorf("one batch number for two frames: %x", id)
			}
			frames[id] = sum
		}
	}
	if len(frames) < 10 {
		t.Errorf("only %d sealed frames were seen", len(frames))
	}
	// The same bytes for both members of the shard.
	same := 0
	for id, sum := range ann.wire.frames {
		if bob.wire.frames[id] == sum {
			same++
		}
	}
	if same == 0 {
		t.Error("no frame went to two members")
	}
}

// All members of a shard get a frame, on whatever node they are and whichever
// took the push.
func TestCoversReachMembersOnOtherNodes(t *testing.T) {
	file, public := sealKeys(t)
	n := together(t, append(quick, "SUNZI_SEAL_KEY_FILE="+file)...)
	a, b := n.start(), n.start()
	ann, bob := newSealer(t, a, "ann", wsclient.SealCRT, public), newSealer(t, b, "bob", wsclient.SealCRT, public)
	endAnn, endBob := ann.connect(a), bob.connect(b)
	for _, taker := range []*server{a, b} {
		before := len(inCommon(ann, bob))
		// A cover is lost while the nodes do not know each other's clients yet.
		eventually(t, "a cover of the push at "+taker.addr(), func() bool {
			taker.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "x")}, nil)
			return len(inCommon(ann, bob)) > before
		})
	}
	endAnn()
	endBob()
	if len(bob.texts) > 0 || bob.stats.Covers < 2 || ann.stats.DecryptFailed+bob.stats.DecryptFailed > 0 {
		t.Errorf("bob handled %v, and has %+v; ann has %+v", bob.texts, bob.stats, ann.stats)
	}
}

// inCommon are the frames that both got, byte for byte.
func inCommon(x, y *sealer) (same [][16]byte) {
	y.wire.mu.Lock()
	theirs := maps.Clone(y.wire.frames)
	y.wire.mu.Unlock()
	x.wire.mu.Lock()
	defer x.wire.mu.Unlock()
	for id, sum := range x.wire.frames {
		if theirs[id] == sum {
			same = append(same, id)
		}
	}
	return same
}

func TestWhoPinnedAnotherServerGetsNothing(t *testing.T) {
	_, other := sealKeys(t)
	s := start(t, t.TempDir(), "127.0.0.1:0")
	ann := newSealer(t, s, "ann", wsclient.SealCRT, other)
	end := ann.connect(s)
	defer end()
	if got := ann.failed(); !strings.Contains(got, "key") {
		t.Errorf("the run ended with %q", got)
	}
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "x")}, nil)
	if len(ann.texts) > 0 {
		t.Errorf("handled %v", ann.texts)
	}
}

func TestAPushThatHasToBeSealedIsRefusedWithoutKeys(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	register(t, s, "ann")
	body := pushTo("ann", "x")
	body["seal"] = "crt"
	ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/push", body: body})
	if err != nil || ans.status != http.StatusUnprocessableEntity || !bytes.Contains(ans.body, []byte("no_key")) {
		t.Errorf("answered %d %s, %v", ans.status, ans.body, err)
	}
}

// What a client lost with its keys is told as lost, and everything after it
// arrives.
func TestKeysThatAreLost(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	ann := newSealer(t, s, "ann", wsclient.SealCRT, s.SealKey)
	end := ann.connect(s)
	end()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "lost")}, nil)
	ann.keys = wsclient.NewMemorySealKeys()
	end = ann.connect(s)
	defer end()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "found")}, nil)
	ann.wants(`"found"`)
	var history struct {
		Messages []struct{ State, Reason string }
	}
	s.must(t, request{method: "GET", path: "/v1/clients/ann/messages"}, &history)
	if len(history.Messages) != 2 || history.Messages[0].State != "dropped" || history.Messages[0].Reason != "key_lost" {
		t.Errorf("history is %+v", history)
	}
}

// A sealed dead letter can't be placed again, and the answer says what can be
// done.
func TestASealedDeadLetterHasToBePushedAnew(t *testing.T) {
	s := start(t, t.TempDir(), "127.0.0.1:0")
	ann := newSealer(t, s, "ann", wsclient.SealCRT, s.SealKey)
	ann.connect(s)()
	s.must(t, request{method: "POST", path: "/v1/push", body: pushTo("ann", "x")}, nil)
	s.as(ann.token).must(t, request{method: "POST", path: "/v1/ack", body: map[string]any{
		"seq": "1", "failed": []any{map[string]any{"seq": "1", "code": 7}},
	}}, nil)
	eventually(t, "redriving is refused", func() bool { // once the ack is written
		ans, err := s.do(t.Context(), request{method: "POST", path: "/v1/clients/ann/redrive", body: map[string]any{}})
		return err == nil && ans.status == http.StatusBadRequest && bytes.Contains(ans.body, []byte("invalid_field")) &&
			bytes.Contains(ans.body, []byte("push their content anew (POST /v1/push)"))
	})
}

// Broadcasts to a group are one frame for all its members, on whatever node; a
// member that was away gets the secrets that it needs before the messages.
func TestSealedBroadcasts(t *testing.T) {
	file, public := sealKeys(t)
	n := together(t, append(quick, "SUNZI_SEAL_KEY_FILE="+file)...)
	a, b := n.start(), n.start()
	ann, bob := newSealer(t, a, "ann", wsclient.SealCRT, public), newSealer(t, b, "bob", wsclient.SealCRT, public)
	endAnn, endBob := ann.connect(a), bob.connect(b)
	member := func(method, id string) {
		t.Helper()
		a.must(t, request{method: method, path: "/v1/groups/room/members/" + id}, nil)
	}
	push := func(s *server, data string) {
		t.Helper()
		s.must(t, request{method: "POST", path: "/v1/push", body: map[string]any{"to": map[string]any{"group": "room"}, "data": data}}, nil)
	}
	member("PUT", "ann")
	member("PUT", "bob")
	push(a, "one")
	push(b, "two")
	ann.wants(`"one"`, `"two"`)
	bob.wants(`"one"`, `"two"`)
	endAnn()
	push(b, "three")
	member("DELETE", "bob")
	push(a, "four")
	a.kill()
	endAnn = ann.connect(b)
	push(b, "five")
	ann.wants(`"one"`, `"two"`, `"three"`, `"four"`, `"five"`)
	bob.wants(`"one"`, `"two"`, `"three"`)
	endAnn()
	endBob()
	if f := ann.stats.DecryptFailed + bob.stats.DecryptFailed; f > 0 {
		t.Errorf("%d frames did not open", f)
	}
	broadcasts := 0
	for id, sum := range ann.wire.frames {
		if bob.wire.frames[id] == sum {
			broadcasts++
		}
	}
	if broadcasts < 3 {
		t.Errorf("%d frames went to both members, want the three broadcasts at least", broadcasts)
	}
}
