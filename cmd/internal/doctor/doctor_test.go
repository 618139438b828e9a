package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/store"
)

func TestTooFewOpenFilesFail(t *testing.T) {
	c := config.Default()
	c.Hub.MaxConnections = 100_000
	if f := judgeFiles(20_000, &c); f.Grade != Bad || f.Remedy == "" {
		t.Errorf("20,000 files for 100,000 connections: %+v", f)
	}
	c.Hub.MaxConnections = 5_000
	if f := judgeFiles(20_000, &c); f.Grade != Good {
		t.Errorf("20,000 files for 5,000 connections: %+v", f)
	}
	c.Hub.MaxConnections = 0
	if f := judgeFiles(1024, &c); f.Grade == Good {
		t.Errorf("1,024 files for connections without limit: %+v", f)
	}
}

func TestAPortThatIsTakenIsTold(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	addr := ln.Addr().String()
	if f := port(t.Context(), addr, ""); f.Grade != Doubt || f.Remedy == "" {
		t.Errorf("a taken port: %+v", f)
	}
	if f := port(t.Context(), addr, "/livez"); f.Grade != Good {
		t.Errorf("a port with our server on it: %+v", f)
	}
	if f := port(t.Context(), addr, "/other"); f.Grade != Doubt {
		t.Errorf("a port with another server on it: %+v", f)
	}
	if f := port(t.Context(), "192.0.2.1:80", ""); f.Grade != Bad || f.Remedy == "" {
		t.Errorf("an address of no interface here: %+v", f)
	}
}

func TestAFolderThatCantBeWrittenFails(t *testing.T) {
	c := config.Default()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Data = filepath.Join(file, "data")
	if f := dataFolder(t.Context(), &c); f.Grade != Bad || f.Remedy == "" {
		t.Errorf("a folder below a file: %+v", f)
	}
	c.Data = filepath.Join(t.TempDir(), "not", "yet", "there")
	if f := dataFolder(t.Context(), &c); f.Grade == Bad {
		t.Errorf("a folder to be made: %+v", f)
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(filepath.Dir(c.Data)))); err != nil || len(left) != 0 {
		t.Errorf("the check left %v behind, %v", left, err)
	}
}

func TestStoresAreToldApart(t *testing.T) {
	c := config.Default()
	c.Data = t.TempDir()
	if f := storeFile(t.Context(), &c); f.Grade != Good {
		t.Errorf("no store yet: %+v", f)
	}
	if _, _, err := store.Migrate(t.Context(), store.Config{Path: c.StorePath(), Limits: c.PushConfig()}); err != nil {
		t.Fatal(err)
	}
	if f := storeFile(t.Context(), &c); f.Grade != Good || !strings.Contains(f.Text, "up to date") {
		t.Errorf("a store: %+v", f)
	}
	if err := os.WriteFile(c.StorePath(), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if f := storeFile(t.Context(), &c); f.Grade != Bad || f.Remedy == "" {
		t.Errorf("a file that is no store: %+v", f)
	}
	c.Store.Sync = "normal"
	if f := durability(t.Context(), &c); f.Grade != Doubt || f.Remedy == "" {
		t.Errorf("sync normal: %+v", f)
	}
}

func TestCertificatesAreToldByTheirDates(t *testing.T) {
	c := config.Default()
	if f := certificate(t.Context(), &c); f.Grade != Good {
		t.Errorf("no TLS: %+v", f)
	}
	day := 24 * time.Hour
	for _, tc := range []struct {
		name     string
		from, to time.Duration // from now
		want     Grade
	}{
		{"a year left", -day, 365 * day, Good},
		{"a week left", -day, 7 * day, Doubt},
		{"ended", -2 * day, -day, Bad},
		{"not yet", day, 2 * day, Bad},
	} {
		c.TLS.Cert, c.TLS.Key = writePair(t, time.Now().Add(tc.from), time.Now().Add(tc.to))
		if f := certificate(t.Context(), &c); f.Grade != tc.want {
			t.Errorf("%s: %+v", tc.name, f)
		}
	}
	other, _ := writePair(t, time.Now(), time.Now().Add(day))
	c.TLS.Cert = other
	if f := certificate(t.Context(), &c); f.Grade != Bad || f.Remedy == "" {
		t.Errorf("a key of another certificate: %+v", f)
	}
}

// writePair makes a certificate of its own key, and answers their files.
func writePair(t *testing.T, from, to time.Time) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestEveryFindingIsWrittenWithItsRemedy(t *testing.T) {
	found := Examine(t.Context(), func() config.Config {
		c := config.Default()
		c.Data, c.Listen, c.Admin.Listen = t.TempDir(), "127.0.0.1:0", ""
		return c
	}())
	found = append(found, Finding{"one", Bad, "is wrong", "mend it"})
	var out strings.Builder
	bad, err := Write(&out, found)
	if err != nil || bad != 1 {
		t.Errorf("%d bad, %v:\n%s", bad, err, out.String())
	}
	if !strings.Contains(out.String(), "FAIL  one: is wrong\n      -> mend it\n") || len(found) != len(checks)+1 {
		t.Errorf("written:\n%s", out.String())
	}
}
