package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/api/wsclient"
	"github.com/sunzi-push/sunzi/crt"
)

// listenOptions are the flags of listen.
type listenOptions struct {
	token, client, realm, device, cursors string
	seal, serverKey, sealKeys             string
	count                                 int
	json                                  bool
}

func listenCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "listen",
		Short: "Connect as a client, print its messages and ack them",
		Long: `Connect as a client, print each message and ack it: what was printed is gone
from the mailbox. Without --token (or SUNZI_TOKEN) it is the client of sunzi
dev, and takes its connection over from the live page.`,
		Example: "  sunzi listen\n  sunzi listen --url https://push.example.com --token \"$TOKEN\" --json --count 1",
		Args:    cobra.NoArgs,
	}
	r := remoteFlags(c)
	o := &listenOptions{}
	c.Flags().StringVar(&o.token, "token", "", "client token, or connect key (variable SUNZI_TOKEN)")
	c.Flags().StringVar(&o.client, "client", "", "client ID; the token's by default")
	c.Flags().StringVar(&o.realm, "realm", "", "realm of the client; with --client")
	c.Flags().StringVar(&o.device, "device", "", "device ID that the token is bound to")
	c.Flags().StringVar(&o.cursors, "cursors", "", "file that keeps the cursor, so that nothing is printed twice after a crash; empty: the server's cursor")
	c.Flags().StringVar(&o.seal, "seal", "", "have messages sealed: crt or aead; needs --server-key. none gives up the sealing keys of before, with what waits under them")
	c.Flags().StringVar(&o.serverKey, "server-key", "", "the server's sealing identity, as sunzi key show prints it; sunzi dev's own by default")
	c.Flags().StringVar(&o.sealKeys, "seal-keys", "", "file that keeps the client's sealing keys; empty: memory, and what waits sealed at the end is lost")
	c.Flags().IntVar(&o.count, "count", 0, "end after so many messages; 0: never")
	c.Flags().BoolVar(&o.json, "json", false, "print one line of JSON a message")
	c.RunE = func(c *cobra.Command, _ []string) error {
		cfg, err := o.config(r)
		if err != nil {
			return err
		}
		l := &listener{c: c, o: o, enough: make(chan struct{})}
		cfg.OnState, cfg.OnEvent = l.state, l.event
		return l.run(c.Context(), cfg)
	}
	return c
}

// config says where to connect, and as whom.
func (o *listenOptions) config(r *remote) (wsclient.Config, error) {
	dev, err := r.find()
	if err != nil {
		return wsclient.Config{}, err
	}
	if o.token == "" {
		o.token = os.Getenv("SUNZI_TOKEN")
	}
	if o.token == "" {
		o.token = dev.Token
	}
	if o.token == "" {
		return wsclient.Config{}, errors.New("no token; set SUNZI_TOKEN or --token (sunzi token mint makes one)")
	}
	if !strings.Contains(r.url, "://") {
		return wsclient.Config{}, fmt.Errorf("--url %s: write http:// or https:// in front, as in https://push.example.com", r.url)
	}
	if o.realm != "" && o.client == "" {
		return wsclient.Config{}, errors.New("--realm needs --client; without both it is the token's client")
	}
	cfg := wsclient.Config{
		URL: socketURL(r.base(), o.realm, o.client), Token: o.token,
		ClientID: o.client, Realm: o.realm, Device: o.device,
	}
	if o.cursors != "" {
		cfg.Cursors = wsclient.NewFileCursors(o.cursors)
	}
	if o.seal == "" || o.seal == wsclient.SealNone {
		cfg.Seal = o.seal
		return cfg, nil
	}
	if o.serverKey == "" {
		o.serverKey = dev.SealKey
	}
	cfg.Seal = o.seal
	if cfg.ServerKey, err = base64.RawURLEncoding.DecodeString(o.serverKey); err != nil || len(cfg.ServerKey) != crt.KeySize {
		return cfg, errors.New("--seal needs --server-key: 43 characters, as sunzi key show prints them on the server")
	}
	if o.sealKeys != "" {
		cfg.SealKeys = wsclient.NewFileSealKeys(o.sealKeys)
	}
	return cfg, nil
}

// socketURL is the socket of the server at an http URL. It names the client
// where that is said, so that a token of another one is refused.
func socketURL(base, realm, client string) string {
	if rest, ok := strings.CutPrefix(base, "http"); ok {
		base = "ws" + rest
	}
	base += "/ws"
	for _, part := range []string{realm, client} {
		if part != "" {
			base += "/" + url.PathEscape(part)
		}
	}
	return base
}

// listener prints what a client hears. Its methods are called by the client's
// goroutines.
type listener struct {
	c *cobra.Command
	o *listenOptions

	mu     sync.Mutex // of the output and what follows
	heard  int
	enough chan struct{} // closed after --count messages
}

// run listens until ctx ends, enough was heard, or the client gave up.
func (l *listener) run(ctx context.Context, cfg wsclient.Config) error {
	client, err := wsclient.New(cfg)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx, l.message) }()
	select {
	case err = <-ended:
	case <-l.enough:
		client.Close() // sends the ack that is due
		err = <-ended
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return nil //nolint:nilerr // a signal is how this ends
	}
	return err
}

// heardMessage is a message as --json prints it.
type heardMessage struct {
	ID       string          `json:"id"`
	Seq      uint64          `json:"seq,string,omitempty"`
	Sent     int64           `json:"ts"` // unix ms
	Topic    string          `json:"topic"`
	Data     json.RawMessage `json:"data,omitempty"`
	Bytes    []byte          `json:"data_base64,omitempty"`
	Replayed bool            `json:"replayed,omitempty"`
	Sealed   bool            `json:"sealed,omitempty"`
}

func (l *listener) message(ctx context.Context, m *wsclient.Message) error {
	if l.full() {
		<-ctx.Done() // neither printed nor acked: it stays in the mailbox
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.print(m); err != nil {
		return err
	}
	if l.heard++; l.heard == l.o.count {
		close(l.enough)
	}
	return nil
}

func (l *listener) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.o.count > 0 && l.heard >= l.o.count
}

func (l *listener) print(m *wsclient.Message) error {
	out := l.c.OutOrStdout()
	if l.o.json {
		return json.NewEncoder(out).Encode(heardMessage{
			ID: m.ID, Seq: m.Seq, Sent: m.Sent.UnixMilli(), Topic: m.Topic,
			Data: m.Data, Bytes: m.Bytes, Replayed: m.Replayed, Sealed: m.Sealed,
		})
	}
	data := string(m.Data)
	if m.Bytes != nil {
		data = fmt.Sprintf("(%d bytes)", len(m.Bytes))
	}
	replayed := ""
	if m.Replayed {
		replayed = "  (replayed)"
	}
	_, err := fmt.Fprintf(out, "%s  %d  %q  %s%s\n", m.Sent.Format(time.TimeOnly), m.Seq, m.Topic, data, replayed)
	return err
}

// state tells on stderr where the connection is.
func (l *listener) state(s wsclient.StateChange) {
	text := string(s.To)
	if s.Cause != nil && s.To != wsclient.Failed { // that is the command's error, told once
		text += ": " + s.Cause.Error()
	}
	if s.RetryIn > 0 {
		text += fmt.Sprintf("; again in %s", s.RetryIn.Round(time.Millisecond))
	}
	l.tell(text)
}

// event tells on stderr what is no message.
func (l *listener) event(e wsclient.Event) {
	switch e.Kind {
	case wsclient.KindWelcome:
		l.tell("welcome, client " + e.ClientID)
		if e.Welcome != nil && e.Welcome.Token != "" {
			l.tell("its token, told this once (SUNZI_TOKEN for the next time): " + e.Welcome.Token)
		}
	case wsclient.KindReplayComplete:
		l.tell(fmt.Sprintf("replayed up to %d", e.Seq))
	case wsclient.KindGap:
		l.tell(fmt.Sprintf("gap from %d to %d: %s", e.From, e.To, e.Reason))
	case wsclient.KindTombstone:
		l.tell(fmt.Sprintf("push %s at %d was cancelled", e.ID, e.Seq))
	case wsclient.KindMemberJoined, wsclient.KindMemberLeft:
		l.tell(fmt.Sprintf("%s: %s in %q", e.Kind, e.ClientID, e.Group))
	case wsclient.KindTyping:
		l.tell(fmt.Sprintf("%s types in %q", e.SenderName, e.Conversation))
	case wsclient.KindError:
		l.tell(fmt.Sprintf("error %d: %s", e.Code, e.Text))
	case wsclient.KindSealed:
		l.tell(fmt.Sprintf("sealing keys of generation %d", e.Generation))
	case wsclient.KindFailed, wsclient.KindCursor, wsclient.KindSealKeys:
		l.tell(fmt.Sprintf("%s at %d: %v", e.Kind, e.Seq, e.Err))
	}
}

func (l *listener) tell(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c.PrintErrln("sunzi:", text)
}
