package server

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/sunzi-push/sunzi/api/console"
	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/devdata"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/token"
)

// DevInfo is what sunzi dev prints.
type DevInfo struct {
	URL      string `json:"url"`
	WSURL    string `json:"ws_url"`
	Page     string `json:"page"`
	APIKey   string `json:"api_key"`
	ClientID string `json:"client_id"`
	Token    string `json:"token"`
	SealKey  string `json:"seal_key,omitempty"` // the server's sealing identity, for clients to pin
}

// Curl is one line for a shell that pushes to the client.
func (d DevInfo) Curl() string {
	return fmt.Sprintf(`curl -sS %s/v1/push -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' `+
		`-d '{"to":{"client":"%s"},"topic":"greeting","data":"hello"}'`, d.URL, d.APIKey, d.ClientID)
}

// Snippet is JavaScript, for a module, that receives as the client.
func (d DevInfo) Snippet() string {
	return fmt.Sprintf(`import { connect } from '%s/client/sunzi.js';
const push = connect('%s', { clientId: '%s', token: '%s',
  // seal: 'crt', serverKey: '%s', // what is pushed comes sealed
});
push.on('*', m => console.log(m.topic, m.data));`, d.URL, d.WSURL, d.ClientID, d.Token, d.SealKey)
}

// Dev is what a configuration with Dev set was started with.
func (s *Server) Dev() DevInfo { return s.dev }

// openDev takes the secrets of the data folder; the first start makes them.
func (s *Server) openDev() error {
	if !s.cfg.Dev {
		return nil
	}
	data, err := devdata.Open(s.cfg.Data)
	if err != nil {
		return err
	}
	s.data = data
	s.cfg.Tokens.Secret, s.cfg.Tokens.SecretFile = config.Secret(data.Secrets.TokenSecret), ""
	return nil
}

// introduceDev makes the client and its token where the store does not know
// them, and keeps them for the next start.
func (s *Server) introduceDev() error {
	if !s.cfg.Dev {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	secrets := &s.data.Secrets
	if _, err := s.keys.Import(ctx, secrets.APIKey, "sunzi dev", devdata.KeyScopes, nil); err != nil {
		return fmt.Errorf("the API key of sunzi dev can't be used: %w; if you revoked it, remove secrets.json from the data folder", err)
	}
	if err := s.devClient(ctx, secrets); err != nil {
		return err
	}
	scheme := "http://"
	if s.cfg.TLS.Enabled() {
		scheme = "https://"
	}
	url := scheme + reachable(s.Addr())
	s.dev = DevInfo{
		URL: url, WSURL: "ws" + strings.TrimPrefix(url, "http") + "/ws", Page: url + "/",
		APIKey: secrets.APIKey, ClientID: secrets.ClientID, Token: secrets.Token,
		SealKey: s.sealKey,
	}
	return s.data.Save()
}

// reachable is a listening address as this machine can open it: every
// interface means the loopback one too.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// renewBefore is the life that a kept token must still have at the start.
const renewBefore = 24 * time.Hour

func (s *Server) devClient(ctx context.Context, secrets *devdata.Secrets) error {
	key := push.ClientKey{ID: secrets.ClientID}
	known, err := s.store.Mailboxes(ctx, []push.ClientKey{key})
	if err != nil {
		return err
	}
	if known[0] == nil {
		if key, err = s.service.Register(ctx, key); err != nil {
			return err
		}
		secrets.ClientID, secrets.Token = key.ID, ""
	}
	rec, err := s.authority.Check(ctx, secrets.Token)
	if err == nil && time.Until(rec.Expires) > renewBefore && rec.Client == key.ID {
		return nil
	}
	secrets.Token, _, err = s.authority.Mint(ctx, token.MintRequest{Client: key.ID})
	return err
}

// livePage is the page of sunzi dev and the settings that it loads.
func (s *Server) livePage() http.Handler {
	var mu sync.Mutex // over the kept secrets: the page may be open twice
	return console.Handler(console.Config{
		Listen: s.cfg.Listen, Log: s.log,
		Settings: func(ctx context.Context) (console.Settings, error) {
			mu.Lock()
			defer mu.Unlock()
			before := s.data.Secrets
			if err := s.devClient(ctx, &s.data.Secrets); err != nil {
				return console.Settings{}, err
			}
			now := s.data.Secrets
			if now != before {
				if err := s.data.Save(); err != nil {
					return console.Settings{}, err
				}
			}
			d := s.dev
			d.ClientID, d.Token = now.ClientID, now.Token
			return console.Settings{
				SealKey: s.sealKey,
				WSURL:   d.WSURL, ClientID: d.ClientID, Token: d.Token, APIKey: d.APIKey,
				Curl: d.Curl(), Snippet: d.Snippet(),
			}, nil
		},
	})
}
