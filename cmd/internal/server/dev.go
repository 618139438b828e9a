package server

import (
	"context"
	"net/http"
	"strings"
	"time"

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
		return err
	}
	if err := s.devClient(ctx, secrets); err != nil {
		return err
	}
	url := "http://" + s.Addr()
	s.dev = DevInfo{
		URL: url, WSURL: "ws" + strings.TrimPrefix(url, "http") + "/ws", Page: url + "/",
		APIKey: secrets.APIKey, ClientID: secrets.ClientID, Token: secrets.Token,
	}
	return s.data.Save()
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

func (s *Server) livePage() http.Handler { return nil }
