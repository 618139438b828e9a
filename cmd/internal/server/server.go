// Package server joins the parts of a Sunzi server: store, domain, hub, API
// and listeners, and owns their lifetime.
//
// Read first: [New] and [Server.Run].
package server

import (
	"context"
	"errors"
	"log/slog"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
)

// Server is one running node.
type Server struct{}

// DevInfo is what sunzi dev prints.
type DevInfo struct {
	URL      string `json:"url"`
	WSURL    string `json:"ws_url"`
	Page     string `json:"page"`
	APIKey   string `json:"api_key"`
	ClientID string `json:"client_id"`
	Token    string `json:"token"`
}

// New opens the store and binds the listeners, so that everything that can
// fail at the start fails here, and Addr is known. Connections are served
// once Run was called; whoever connects before waits.
func New(cfg config.Config, log *slog.Logger) (*Server, error) {
	return nil, errors.New("the server is not assembled")
}

// Run serves until ctx ends, then drains and closes what New opened.
func (s *Server) Run(ctx context.Context) error { return nil }

// Addr is the address of the public listener.
func (s *Server) Addr() string { return "" }

// Dev is what a configuration with Dev set was started with.
func (s *Server) Dev() DevInfo { return DevInfo{} }
