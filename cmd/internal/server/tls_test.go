package server

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/hub/frame"
	"github.com/sunzi-push/sunzi/hub/hubtest"
)

// authority issues certificates for 127.0.0.1.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	last int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, cert: &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, last: 1}
	der, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue answers a pair in PEM, with the next serial number.
func (a *authority) issue(t *testing.T) (cert, key []byte) {
	t.Helper()
	a.last++
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(a.last), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}},
		a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// node is a whole server with what its tests need.
type node struct {
	*Server
	ca   *authority
	dir  string
	logs *lockedBuffer
}

// running starts a server of sunzi dev with the echo endpoint, over TLS where
// change asks for it.
func running(t *testing.T, change func(n *node, cfg *config.Config)) *node {
	t.Helper()
	n := &node{ca: newAuthority(t), dir: t.TempDir(), logs: new(lockedBuffer)}
	cfg := config.DevDefault()
	cfg.Listen, cfg.Data, cfg.HTTP.Echo = "127.0.0.1:0", filepath.Join(n.dir, "data"), true
	cfg.Store.Sync = "off"
	change(n, &cfg)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := New(cfg, slog.New(slog.NewTextHandler(n.logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	n.Server = s
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return n
}

// overTLS asks for TLS with a pair of the node's authority.
func overTLS(t *testing.T) func(*node, *config.Config) {
	return func(n *node, cfg *config.Config) {
		cfg.TLS.Cert, cfg.TLS.Key, cfg.TLS.Reload = filepath.Join(n.dir, "cert.pem"), filepath.Join(n.dir, "key.pem"), time.Second
		cert, key := n.ca.issue(t)
		n.write(t, "cert.pem", cert)
		n.write(t, "key.pem", key)
	}
}

func (n *node) write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// client asks over the HTTP version that ALPN takes.
func (n *node) client(t *testing.T, h2 bool, certs ...tls.Certificate) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.ca.pool(), Certificates: certs, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: h2}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// ask asks the API for the client of sunzi dev.
func (n *node) ask(t *testing.T, c *http.Client) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://"+n.Addr()+"/v1/clients/"+n.Dev().ClientID, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+n.Dev().APIKey)
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp
}

// echo opens a wss connection to the echo endpoint.
func (n *node) echo(t *testing.T) (*hubtest.Client, *tls.Conn) {
	t.Helper()
	tc, err := tls.Dial("tcp", n.Addr(), &tls.Config{RootCAs: n.ca.pool(), MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	return hubtest.Open(t, tc, hubtest.Handshake{Path: "/echo"}), tc
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
		time.Sleep(5 * time.Millisecond) // polling a condition, not waiting for time
	}
}

func TestTheAPIIsServedOverTLSInBothVersionsOfHTTP(t *testing.T) {
	n := running(t, overTLS(t))
	for want, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		if resp := n.ask(t, n.client(t, h2)); resp.StatusCode != http.StatusOK || resp.Proto != want {
			t.Errorf("%d over %s, want 200 over %s", resp.StatusCode, resp.Proto, want)
		}
	}
	resp, err := n.client(t, true).Get("https://" + n.Addr() + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Proto != "HTTP/2.0" {
		t.Errorf("a socket over %s: %d, want to be told of HTTP/1.1", resp.Proto, resp.StatusCode)
	}
	if _, err := tls.Dial("tcp", n.Addr(), &tls.Config{RootCAs: n.ca.pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}); err == nil {
		t.Error("TLS 1.1 was taken")
	}
	if _, err := tls.Dial("tcp", n.Addr(), &tls.Config{RootCAs: n.ca.pool(), MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}}); err == nil {
		t.Error("a CBC suite was taken")
	}
}

func TestSocketsOverTLSOutliveANewCertificate(t *testing.T) {
	n := running(t, overTLS(t))
	c, before := n.echo(t)
	c.Text("one")
	c.Want(frame.Text, "one")

	cert, key := n.ca.issue(t)
	n.write(t, "cert.pem", cert) // as an operator copies: the pair does not fit for a while
	until(t, "the broken pair is told", func() bool { return strings.Contains(n.logs.String(), "certificate not reloaded") })
	_, still := n.echo(t)
	if got, want := serial(still), serial(before); got != want {
		t.Errorf("serial number %s while the pair is broken, want %s", got, want)
	}
	n.write(t, "key.pem", key)
	until(t, "the new pair is told", func() bool { return strings.Contains(n.logs.String(), "certificate reloaded") })
	_, after := n.echo(t)
	if got := serial(after); got == serial(before) {
		t.Errorf("serial number %s, as before", got)
	}
	c.Text("two")
	c.Want(frame.Text, "two")
	if n := strings.Count(n.logs.String(), "certificate not reloaded"); n != 1 {
		t.Errorf("the broken pair was told %d times", n)
	}
}

func serial(c *tls.Conn) string {
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestAHangUpReloadsTheCertificateAtOnce(t *testing.T) {
	n := running(t, func(n *node, cfg *config.Config) {
		overTLS(t)(n, cfg)
		cfg.TLS.Reload = 0
	})
	n.echo(t) // served, so that the signal is listened for soon
	cert, key := n.ca.issue(t)
	n.write(t, "cert.pem", cert)
	n.write(t, "key.pem", key)
	hold := keepFromHangUp(t)
	defer hold()
	until(t, "the new pair is told", func() bool {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(n.logs.String(), "certificate reloaded")
	})
}

func TestAPairThatDoesNotFitStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	cfg := config.DevDefault()
	n := &node{ca: newAuthority(t), dir: dir}
	overTLS(t)(n, &cfg)
	cert, _ := n.ca.issue(t)
	n.write(t, "cert.pem", cert)
	cfg.Listen, cfg.Data = "127.0.0.1:0", filepath.Join(dir, "data")
	if _, err := New(cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "tls.cert and tls.key") {
		t.Fatalf("got %v", err)
	}
}

func TestAPIKeysNeedAClientCertificateWhereItIsAskedFor(t *testing.T) {
	n := running(t, func(n *node, cfg *config.Config) {
		overTLS(t)(n, cfg)
		n.write(t, "ca.pem", n.ca.pem())
		cfg.TLS.ClientCA, cfg.TLS.ClientRequired = filepath.Join(n.dir, "ca.pem"), true
	})
	pair := func(a *authority) tls.Certificate {
		cert, key := a.issue(t)
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, h2 := range []bool{false, true} {
		if resp := n.ask(t, n.client(t, h2)); resp.StatusCode != http.StatusForbidden || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("without a certificate: %d, %s", resp.StatusCode, resp.Header.Get("Content-Type"))
		}
		if resp := n.ask(t, n.client(t, h2, pair(n.ca))); resp.StatusCode != http.StatusOK {
			t.Errorf("with a certificate: %d", resp.StatusCode)
		}
	}
	c, _ := n.echo(t) // clients need none
	c.Text("x")
	c.Want(frame.Text, "x")

	stranger := pair(newAuthority(t))
	tc, err := tls.Dial("tcp", n.Addr(), &tls.Config{RootCAs: n.ca.pool(), MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }})
	if err == nil {
		defer func() { _ = tc.Close() }()
		_, err = tc.Read(make([]byte, 1)) // TLS 1.3 tells after the handshake
	}
	if err == nil || !strings.Contains(err.Error(), "remote error") {
		t.Errorf("a certificate of another authority: %v", err)
	}
}

// keepFromHangUp lets the process live through a SIGHUP that comes before the
// server listens for it.
func keepFromHangUp(t *testing.T) (stop func()) {
	t.Helper()
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return func() { signal.Stop(c) }
}
