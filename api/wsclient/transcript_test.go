package wsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sunzi-push/sunzi/api/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// transcript is one file of api/wire/testdata/transcripts; CLIENTS.md section
// 12 defines it.
type transcript struct {
	Name    string
	Needs   []string
	Options options
	Steps   []step
}

type options struct {
	URL    string
	Token  string
	Tokens []struct {
		Token  string
		Error  bool
		GiveUp bool `json:"give_up"`
	}
	Device      string
	Seal        string
	Saved       *Cursor
	Random      *float64
	MaxFailures int `json:"max_failures"`
}

type step struct {
	Do           string
	Fail, Code   int
	Block        *bool
	Signal       string
	Seq          string
	Conversation string `json:"conversation_id"`
	SenderName   string `json:"sender_name"`
	Message      json.RawMessage
	Reason       string
	MS           int

	State     string
	Connect   *struct{ Path, Token string }
	NoConnect bool `json:"no_connect"`
	Sent      *[]any
	Handled   *[]string
	Events    *[]map[string]any
	Saved     *savedCursor
	Closed    uint16
	Asked     *[]string
	Refresh   *struct {
		Status   string
		Failures int
	}
	Identity *struct {
		ClientID string `json:"client_id"`
		Token    string
	}
}

// savedCursor has the cursor's name in transcripts.
type savedCursor struct{ Incarnation, Cursor string }

func (c *Cursor) UnmarshalJSON(p []byte) error {
	var s struct{ Incarnation, Cursor, Seq string }
	if err := json.Unmarshal(p, &s); err != nil {
		return err
	}
	n, err := strconv.ParseUint(s.Cursor+s.Seq, 10, 64)
	c.Incarnation, c.Seq = s.Incarnation, n
	return err
}

func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("../wire/testdata/transcripts/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		p, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var tr transcript
		if err := json.Unmarshal(p, &tr); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if slices.Contains(tr.Needs, "offline") { // a browser's signal, which Go does not have
			continue
		}
		for _, c := range []wire.Codec{wire.JSON, wire.Msgpack} {
			t.Run(fmt.Sprintf("%s/%d", tr.Name, c), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { play(t, &tr, c) })
			})
		}
	}
}

// stage is the fake world around one client.
type stage struct {
	t     *testing.T
	codec wire.Codec
	c     *Client
	store *MemoryCursors

	mu       sync.Mutex
	tokens   options
	attempts []attempt
	pending  chan *fakeSocket // of the attempt under way; nil socket: refused
	socket   *fakeSocket
	sent     []any
	handled  []string
	events   []Event
	asked    []string
	welcome  *wire.Welcome
	fail     int
	code     int
	block    chan struct{}
	runs     sync.WaitGroup
}

type attempt struct{ path, token string }

func play(t *testing.T, tr *transcript, codec wire.Codec) {
	o := tr.Options
	s := &stage{t: t, codec: codec, store: NewMemoryCursors(), tokens: o}
	cfg := Config{URL: or(o.URL, "wss://push.example/ws/alice"), Device: o.Device, Seal: o.Seal, MaxFailures: o.MaxFailures,
		Cursors: s.store, Msgpack: codec == wire.Msgpack, OnEvent: s.event}
	if cfg.Token = or(o.Token, "t0"); len(o.Tokens) > 0 {
		cfg.Token, cfg.TokenFunc = "", s.token
	}
	if o.Saved != nil {
		_ = s.store.Save(t.Context(), aliceKey, *o.Saved)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.c, c.dial = c, s.dial
	c.random = func() float64 { return 0.5 }
	if o.Random != nil {
		c.random = func() float64 { return *o.Random }
	}
	for i, st := range tr.Steps {
		s.do(i, st)
		synctest.Wait()
		if t.Failed() {
			t.Logf("at step %d: %s", i, st.Do)
			break
		}
	}
	s.leftOver()
	s.mu.Lock()
	if s.block != nil {
		close(s.block)
		s.block = nil
	}
	s.mu.Unlock()
	c.Close()
	s.runs.Wait()
}

const aliceKey = "wss://push.example//alice"

func (s *stage) do(i int, st step) {
	s.t.Helper()
	switch st.Do {
	case "start":
		s.runs.Go(func() { _ = s.c.Run(context.Background(), s.handle) })
	case "close":
		s.runs.Go(s.c.Close)
	case "handler":
		s.setHandler(st)
	case "wake":
		s.c.Wake()
	case "read":
		n, _ := strconv.ParseUint(st.Seq, 10, 64)
		s.c.MarkRead(n)
	case "typing":
		if err := s.c.Typing(st.Conversation, st.SenderName); err != nil {
			s.t.Error(err)
		}
	case "accept", "refuse":
		s.decide(st.Do == "accept")
	case "send":
		s.socket.push(inbound{p: s.encode(st.Message)})
	case "disconnect":
		f := &Failure{Code: uint16(st.Code), Reason: st.Reason}
		s.socket.push(inbound{err: f})
	case "advance":
		time.Sleep(time.Duration(st.MS) * time.Millisecond)
	case "expect":
		s.expect(i, st)
	default:
		s.t.Errorf("step %d: unknown %q", i, st.Do)
	}
}

func (s *stage) setHandler(st step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail, s.code = st.Fail, st.Code
	if st.Block == nil {
		return
	}
	if *st.Block {
		s.block = make(chan struct{})
	} else {
		close(s.block)
		s.block = nil
	}
}

func (s *stage) handle(_ context.Context, m *Message) error {
	s.mu.Lock()
	s.handled = append(s.handled, m.ID)
	block := s.block
	var err error
	if s.fail > 0 {
		s.fail--
		if err = errors.New("told to fail"); s.code != 0 {
			err = fmt.Errorf("wrapped: %w", WithCode(err, s.code))
		}
	}
	s.mu.Unlock()
	if block != nil {
		<-block
	}
	return err
}

func (s *stage) event(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Kind == KindWelcome {
		s.welcome = e.Welcome
		return
	}
	s.events = append(s.events, e)
}

func (s *stage) token(_ context.Context, why Why) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, string(why))
	if len(s.tokens.Tokens) == 0 {
		return "", errors.New("asked too often")
	}
	a := s.tokens.Tokens[0]
	s.tokens.Tokens = s.tokens.Tokens[1:]
	switch {
	case a.GiveUp:
		return "", fmt.Errorf("told to: %w", ErrGiveUp)
	case a.Error:
		return "", errors.New("told to fail")
	}
	return a.Token, nil
}

func (s *stage) dial(ctx context.Context, raw, token string) (transport, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	pending := make(chan *fakeSocket, 1)
	s.attempts = append(s.attempts, attempt{u.EscapedPath(), token})
	s.pending = pending
	s.mu.Unlock()
	select {
	case f := <-pending:
		if f == nil {
			return nil, errors.New("told to refuse")
		}
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *stage) decide(accept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		s.t.Error("no attempt is under way")
		return
	}
	var f *fakeSocket
	if accept {
		f = &fakeSocket{s: s, more: make(chan struct{}, 1), gone: make(chan struct{})}
		s.socket = f
	}
	s.pending <- f
	s.pending = nil
}

// encode gives a transcript's message in the codec that is spoken. What JSON
// can't be read as stays as it is.
func (s *stage) encode(p json.RawMessage) []byte {
	if s.codec == wire.JSON {
		return p
	}
	return transcode(s.t, p)
}

func (s *stage) leftOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts)+len(s.sent)+len(s.handled)+len(s.events)+len(s.asked) > 0 && !s.t.Failed() {
		s.t.Errorf("left over: attempts %v, sent %v, handled %v, events %v, asked %v", s.attempts, s.sent, s.handled, s.events, s.asked)
	}
}

func (s *stage) expect(i int, st step) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := func(what string, got, want any) {
		s.t.Helper()
		s.t.Errorf("step %d: %s is %v, want %v", i, what, got, want)
	}
	if got := string(s.c.State()); st.State != "" && got != st.State {
		wrong("state", got, st.State)
	}
	s.expectAttempts(wrong, st)
	if st.Sent != nil {
		if !sameMessages(s.sent, *st.Sent) {
			wrong("sent", s.sent, *st.Sent)
		}
		s.sent = nil
	}
	if st.Handled != nil {
		if !slices.Equal(s.handled, *st.Handled) {
			wrong("handled", s.handled, *st.Handled)
		}
		s.handled = nil
	}
	if st.Events != nil {
		s.expectEvents(wrong, *st.Events)
	}
	if st.Asked != nil {
		if !slices.Equal(s.asked, *st.Asked) {
			wrong("asked", s.asked, *st.Asked)
		}
		s.asked = nil
	}
	if st.Saved != nil {
		got, _, _ := s.store.Load(context.Background(), aliceKey)
		if got.Incarnation != st.Saved.Incarnation || strconv.FormatUint(got.Seq, 10) != st.Saved.Cursor {
			wrong("saved", got, *st.Saved)
		}
	}
	s.expectRest(wrong, st)
}

func (s *stage) expectRest(wrong func(string, any, any), st step) {
	if st.Closed != 0 {
		if s.socket == nil || s.socket.closed != st.Closed {
			wrong("closed", s.socket, st.Closed)
		}
	}
	if r := s.c.RefreshStatus(); st.Refresh != nil && (r.Status != st.Refresh.Status || r.Failures != st.Refresh.Failures) {
		wrong("refresh", r, *st.Refresh)
	}
	if st.Identity != nil && (s.welcome == nil || s.welcome.ClientID != st.Identity.ClientID || s.welcome.Token != st.Identity.Token) {
		wrong("identity", s.welcome, *st.Identity)
	}
}

func (s *stage) expectAttempts(wrong func(string, any, any), st step) {
	if st.NoConnect && len(s.attempts) > 0 {
		wrong("attempts", s.attempts, "none")
	}
	if st.Connect == nil {
		return
	}
	if len(s.attempts) != 1 || s.attempts[0].path != st.Connect.Path ||
		(st.Connect.Token != "" && s.attempts[0].token != st.Connect.Token) {
		wrong("attempts", s.attempts, *st.Connect)
	}
	s.attempts = nil
}

func (s *stage) expectEvents(wrong func(string, any, any), want []map[string]any) {
	if len(want) != len(s.events) {
		wrong("events", s.events, want)
		s.events = nil
		return
	}
	for i, w := range want {
		e := s.events[i]
		seq := func(n uint64) string { return strconv.FormatUint(n, 10) }
		got := map[string]any{"kind": string(e.Kind), "id": e.ID, "seq": seq(e.Seq), "from": seq(e.From), "to": seq(e.To),
			"reason": e.Reason, "group": e.Group, "client_id": e.ClientID, "conversation_id": e.Conversation,
			"sender_id": e.ClientID, "sender_type": e.SenderType, "sender_name": e.SenderName, "code": float64(e.Code), "message": e.Text}
		for k, v := range w {
			if !reflect.DeepEqual(got[k], v) {
				wrong("event "+k, got[k], v)
			}
		}
	}
	s.events = nil
}

func sameMessages(got, want []any) bool {
	return slices.EqualFunc(got, want, same)
}

func same(g, w any) bool {
	wm, ok := w.(map[string]any)
	gm, ok2 := g.(map[string]any)
	if !ok || !ok2 {
		return w == "*" || reflect.DeepEqual(g, w)
	}
	if len(wm) != len(gm) {
		return false
	}
	for k, v := range wm {
		if !same(gm[k], v) {
			return false
		}
	}
	return true
}

// fakeSocket is a connection to the stage.
type fakeSocket struct {
	s      *stage
	more   chan struct{}
	gone   chan struct{}
	closed uint16 // under stage.mu
	queue  []inbound
}

func (f *fakeSocket) Codec() wire.Codec { return f.s.codec }

func (f *fakeSocket) push(in inbound) {
	f.s.mu.Lock()
	f.queue = append(f.queue, in)
	f.s.mu.Unlock()
	poke(f.more)
}

func (f *fakeSocket) Read() ([]byte, error) {
	for {
		f.s.mu.Lock()
		if len(f.queue) > 0 {
			in := f.queue[0]
			f.queue = f.queue[1:]
			f.s.mu.Unlock()
			return in.p, in.err
		}
		f.s.mu.Unlock()
		select {
		case <-f.more:
		case <-f.gone:
			return nil, errors.New("closed here")
		}
	}
}

func (f *fakeSocket) Write(p []byte) error {
	var m wire.ClientMessage
	if err := wire.DecodeClient(f.s.codec, p, &m); err != nil {
		f.s.t.Errorf("the client sent what is malformed: %v", err)
	}
	var v any
	if err := json.Unmarshal(wire.EncodeClient(wire.JSON, &m), &v); err != nil {
		return err
	}
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.s.sent = append(f.s.sent, v)
	return nil
}

func (f *fakeSocket) Close(code uint16, _ string) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if f.closed == 0 {
		f.closed = code
		close(f.gone)
	}
}
