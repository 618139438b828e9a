package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/hub"
	"github.com/sunzi-push/sunzi/push"
)

// suites are those of TLS 1.2 with forward secrecy and authenticated
// encryption; the ones of 1.3 are all so. HTTP/2 forbids others (RFC 9113
// section 9.2.2).
var suites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}

// certificates is what the public listener proves itself with, and whom it
// believes, read again when the files change. A connection keeps what it
// began with.
type certificates struct {
	cfg config.TLS // static
	log *slog.Logger

	now atomic.Pointer[tls.Config]

	seen [][]byte // what the files held when last looked at; owned by newCertificates, then run
}

// newCertificates reads the files. That they can't be used is an error here,
// and only here.
func newCertificates(cfg config.TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{cfg: cfg, log: log}
	seen, err := c.read()
	if err != nil {
		return nil, err
	}
	return c, c.use(seen)
}

// files are the keys of the configuration with the files that they name.
func (c *certificates) files() [][2]string {
	files := [][2]string{{"tls.cert", c.cfg.Cert}, {"tls.key", c.cfg.Key}}
	if c.cfg.ClientCA != "" {
		files = append(files, [2]string{"tls.client_ca", c.cfg.ClientCA})
	}
	return files
}

func (c *certificates) read() ([][]byte, error) {
	var all [][]byte
	for _, f := range c.files() {
		b, err := os.ReadFile(f[1])
		if err != nil {
			return nil, fmt.Errorf("%s: can't be read: %w", f[0], err)
		}
		all = append(all, b)
	}
	return all, nil
}

// use makes what the files hold the configuration of new connections.
func (c *certificates) use(files [][]byte) error {
	c.seen = files
	pair, err := tls.X509KeyPair(files[0], files[1])
	if err != nil {
		return fmt.Errorf("tls.cert and tls.key: %w", err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: c.cfg.Oldest(), CipherSuites: suites,
		NextProtos: []string{"h2", "http/1.1"},
	}
	if c.cfg.ClientCA != "" {
		cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, x509.NewCertPool()
		if !cfg.ClientCAs.AppendCertsFromPEM(files[2]) {
			return errors.New("tls.client_ca: holds no certificate in PEM")
		}
	}
	c.now.Store(cfg)
	return nil
}

// look takes over files that have changed. What can't be read or used is
// logged, once for what the files hold, and the old is kept.
func (c *certificates) look() {
	files, err := c.read()
	if err == nil && slices.EqualFunc(files, c.seen, bytes.Equal) {
		return
	}
	if err == nil {
		err = c.use(files)
	}
	if err != nil {
		c.log.Error("certificate not reloaded; the old one is kept", "err", err)
		return
	}
	args := []any{"cert", c.cfg.Cert}
	if leaf := c.now.Load().Certificates[0].Leaf; leaf != nil {
		args = append(args, "not_after", leaf.NotAfter)
	}
	c.log.Info("certificate reloaded", args...)
}

// run looks at the files at each interval (zero: never) and SIGHUP, until ctx
// ends.
func (c *certificates) run(ctx context.Context, interval time.Duration) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	var tick <-chan time.Time
	if interval > 0 {
		t := time.NewTicker(interval)
		defer t.Stop()
		tick = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		case <-tick:
		}
		c.look()
	}
}

// serverConfig is for a listener: it asks for what is current at each
// handshake.
func (c *certificates) serverConfig() *tls.Config {
	return &tls.Config{
		MinVersion:         c.cfg.Oldest(),
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load(), nil },
	}
}

// secure puts what the configuration asks for over the bound public listener:
// the PROXY header first, as it comes before TLS.
func (s *Server) secure() error {
	if s.cfg.HTTP.ProxyProtocol {
		s.listeners[s.public] = &proxyListener{s.listeners[s.public], s.cfg.TrustedProxies(), s.cfg.HTTP.HeaderTimeout, s.log}
	}
	if !s.cfg.TLS.Enabled() {
		return nil
	}
	certs, err := newCertificates(s.cfg.TLS, s.log)
	if err != nil {
		return err
	}
	s.certs = certs
	s.listeners[s.public] = hub.ListenTLS(s.listeners[s.public], certs.serverConfig())
	s.public.TLSNextProto = nil // net/http then serves HTTP/2 where ALPN chose it
	return nil
}

// clientCerts refuses API keys on connections without a client certificate,
// where the configuration wants one.
func (s *Server) clientCerts(next http.Handler) http.Handler {
	if !s.cfg.TLS.ClientRequired {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hasAPIKey(r) && (r.TLS == nil || len(r.TLS.VerifiedChains) == 0) {
			refuseWithoutCert(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hasAPIKey reports whether the request is an application's: its credential
// has the form of an API key. Connect keys (ck_) are for clients.
func hasAPIKey(r *http.Request) bool {
	scheme, raw, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return ok && strings.EqualFold(scheme, "Bearer") && strings.HasPrefix(strings.TrimSpace(raw), "sk_")
}

func refuseWithoutCert(w http.ResponseWriter) {
	info := push.CodeForbidden.Info()
	body, err := json.Marshal(map[string]any{
		"type": "/problems/" + info.Name, "title": info.Title, "status": http.StatusForbidden, "code": int(info.Code),
		"retryable": false, "detail": "API keys are taken on connections with a client certificate alone",
	})
	if err != nil { // text and numbers always marshal
		panic("server: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(append(body, '\n')) // the peer may be gone
}
