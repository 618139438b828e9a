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
	// A key is never sent to a server that it was not given for: the dev
	// server's key goes with the dev server's URL.
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
	if r.key == "" {
		return errors.New("no API key; set SUNZI_KEY or --key")
	}
	return nil
}

// problem is the part of an RFC 9457 answer that people read.
type problem struct {
	Title, Detail string
	Code          int
	RequestID     string `json:"request_id"`
}

const (
	callTimeout = 30 * time.Second
	maxAnswer   = 16 << 20
)

// call does one request of the open API. out nil drops the answer.
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
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.url, "/")+path, body)
	if err != nil {
		return fmt.Errorf("--url: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r.unreachable(err)
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%s broke off its answer: %w", r.url, err)
	}
	if resp.StatusCode >= 300 {
		return refused(resp.Status, b)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("%s does not answer like a Sunzi server: %w", r.url, err)
	}
	return nil
}

func (r *remote) unreachable(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return oneLine(err, "nothing listens at %s; is the server running?", r.url)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("%s can't be reached: %w", r.url, err)
}

func refused(status string, body []byte) error {
	var p problem
	if json.Unmarshal(body, &p) != nil || p.Title == "" {
		return fmt.Errorf("the server answered %s", status)
	}
	text := p.Title
	if p.Detail != "" {
		text += ": " + p.Detail
	}
	return fmt.Errorf("%s (code %d, request %s)", text, p.Code, p.RequestID)
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
	st, err := store.Open(c.Context(), store.Config{Path: l.Config.StorePath(), Limits: l.Config.PushConfig(), Sync: store.Sync(l.Config.Store.Sync)})
	if err != nil {
		return nil, config.Config{}, err
	}
	return st, l.Config, nil
}
