package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/api/pushclient"
	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/devdata"
	"github.com/sunzi-push/sunzi/cmd/internal/server"
	"github.com/sunzi-push/sunzi/store"
)

// remote is which server a command talks to. What is set wins in this order:
// flags, SUNZI_URL and SUNZI_KEY, the server that sunzi dev ran last on the
// data folder.
type remote struct {
	url, key, data string
}

func remoteFlags(c *cobra.Command) *remote {
	r := &remote{}
	c.Flags().StringVar(&r.url, "url", os.Getenv("SUNZI_URL"), "server, as in https://push.example.com (variable SUNZI_URL)")
	c.Flags().StringVar(&r.key, "key", "", "API key (variable SUNZI_KEY, which other users of the machine can't see)")
	c.Flags().StringVar(&r.data, "data", config.Default().Data, "data folder of sunzi dev, for what is not set otherwise")
	return r
}

// find fills what is missing, and answers what sunzi dev left.
func (r *remote) find() (server.DevInfo, error) {
	var dev server.DevInfo
	if r.key == "" {
		r.key = os.Getenv("SUNZI_KEY")
	}
	// The key that sunzi dev made is sent to the server of sunzi dev alone.
	if r.url != "" {
		return dev, nil
	}
	err := devdata.ReadServer(r.data, &dev)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dev, fmt.Errorf("which server? Set --url and --key (SUNZI_URL, SUNZI_KEY), or start sunzi dev")
	case err != nil:
		return dev, fmt.Errorf("what sunzi dev left can't be read: %w", err)
	}
	r.url = dev.URL
	if r.key == "" {
		r.key = dev.APIKey
	}
	return dev, nil
}

func (r *remote) needKey() error {
	if _, err := r.find(); err != nil {
		return err
	}
	if !strings.HasPrefix(r.url, "http://") && !strings.HasPrefix(r.url, "https://") {
		return fmt.Errorf("--url %s: write http:// or https:// in front, as in https://push.example.com", r.url)
	}
	if r.key == "" {
		return errors.New("no API key; set SUNZI_KEY or --key")
	}
	return nil
}

// base is the URL that paths are put behind.
func (r *remote) base() string { return strings.TrimRight(r.url, "/") }

const (
	callTimeout = 10 * time.Second // of one try
	callTries   = 3
	maxAnswer   = 16 << 20
)

// client is the library that talks to the server.
func (r *remote) client() (*pushclient.Client, error) {
	if err := r.needKey(); err != nil {
		return nil, err
	}
	return pushclient.New(r.url, r.key, pushclient.WithTries(callTries), pushclient.WithTimeout(callTimeout),
		pushclient.WithBackoff(100*time.Millisecond, time.Second))
}

// failed says what went wrong with a call, for people.
func (r *remote) failed(err error) error {
	var e *pushclient.Error
	var u *url.Error
	switch {
	case errors.As(err, &e) && e.Status == http.StatusUnauthorized && e.Code != 0:
		return oneLine(err, "%s does not take this API key; check --key or SUNZI_KEY (code %d, request %s)", r.url, e.Code, e.RequestID)
	case errors.As(err, &e) && e.Code != 0: // the detail says all that the title does
		return oneLine(err, "%s (code %d, request %s)", e.Detail, e.Code, e.RequestID)
	case errors.As(err, &e):
		return oneLine(err, "%s answered %d %s, not like a Sunzi server", r.url, e.Status, e.Title)
	case errors.Is(err, syscall.ECONNREFUSED):
		return oneLine(err, "nothing listens at %s; is the server running?", r.url)
	case errors.As(err, &u):
		return oneLine(err, "%s can't be reached: %v", r.url, u.Err)
	}
	return err
}

// call does one request of the part of the open API that the library leaves
// out: keys. out nil drops the answer.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	if err := r.needKey(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base()+path, body)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r.failed(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s broke off its answer: %w", r.url, err)
	}
	if resp.StatusCode >= 300 {
		return r.failed(problem(resp, b))
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s does not answer like a Sunzi server: %w", r.url, err)
	}
	return nil
}

// problem reads an RFC 9457 answer.
func problem(resp *http.Response, body []byte) *pushclient.Error {
	var p struct {
		Title, Detail string
		Code          int
		RequestID     string `json:"request_id"`
	}
	_ = json.Unmarshal(body, &p) // what is none keeps its status alone
	if p.Title == "" {
		p.Title = http.StatusText(resp.StatusCode)
	}
	return &pushclient.Error{Status: resp.StatusCode, Code: p.Code, Title: p.Title, Detail: p.Detail, RequestID: p.RequestID}
}

// localStore opens the store that a configuration names, for what must work
// before there is a key to talk to a server with. A running server holds it.
func localStore(c *cobra.Command, s *settings) (*store.Store, config.Config, error) {
	// A secret is not needed to manage keys, and sunzi dev has its own.
	base := config.Default()
	base.Dev = true
	l, err := s.load(c, base)
	if err != nil {
		return nil, config.Config{}, err
	}
	st, err := store.Open(c.Context(), l.Config.StoreConfig())
	if err != nil {
		return nil, config.Config{}, err
	}
	return st, l.Config, nil
}
