// Package devdata is the folder of sunzi dev: it is made on the first start,
// with secrets of its own, and kept by every later one.
//
// Read first: [Open]. A Data belongs to one goroutine. It holds no lock on
// the folder: the store does.
package devdata

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sunzi-push/sunzi/push/token"
)

const (
	secretsFile = "secrets.json" // made once
	serverFile  = "dev.json"     // of the server that ran last
	maxFile     = 64 << 10
)

// KeyScopes are the scopes of the API key of sunzi dev: everything.
var KeyScopes = []token.Scope{
	token.ScopePush, token.ScopeRead, token.ScopeClients, token.ScopeGroups, token.ScopeTokens, token.ScopeAdmin,
}

// Secrets are what the first start makes. TokenSecret and APIKey are always
// there; client and token are the server's to make, and to make again where
// the store does not know them.
type Secrets struct {
	TokenSecret string `json:"token_secret"`
	APIKey      string `json:"api_key"` // to be imported into the keyring with [KeyScopes]
	ClientID    string `json:"client_id,omitempty"`
	Token       string `json:"token,omitempty"`
}

// Data is an opened folder.
type Data struct {
	Dir     string
	Secrets Secrets
}

// Open makes the folder (mode 0700) and its secrets (0600) where they are
// missing, and reads them. Errors are one clear sentence.
func Open(dir string) (*Data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder %s can't be made: %w", dir, plain(err))
	}
	d := &Data{Dir: dir}
	err := read(filepath.Join(dir, secretsFile), &d.Secrets)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Secrets = Secrets{TokenSecret: newSecret(), APIKey: token.NewKeyText(KeyScopes)}
		return d, d.Save()
	case err != nil:
		return nil, fmt.Errorf("the secrets of the data folder can't be read: %w", err)
	case len(d.Secrets.TokenSecret) < token.MinSecret || d.Secrets.APIKey == "":
		// New ones would log out every client without a word.
		return nil, fmt.Errorf("%s is not complete; restore it, or remove it to start with new secrets", filepath.Join(dir, secretsFile))
	}
	return d, writable(dir)
}

// Save writes the secrets, whole or not at all.
func (d *Data) Save() error { return write(d.Dir, secretsFile, d.Secrets) }

// SaveServer keeps how to reach the server that runs on this folder, for
// sunzi send and sunzi listen. info is written as JSON.
func (d *Data) SaveServer(info any) error { return write(d.Dir, serverFile, info) }

// ReadServer reads what SaveServer kept last into info; fs.ErrNotExist where
// no server ever ran on the folder. The server may have ended since.
func ReadServer(dir string, info any) error { return read(filepath.Join(dir, serverFile), info) }

func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	return base64.RawStdEncoding.EncodeToString(b)
}

func read(path string, v any) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		return fmt.Errorf("%s is no valid JSON: %w", path, err)
	}
	return nil
}

// write replaces the file in one step and flushes it: a crash leaves the old
// one or the new one.
func write(dir, name string, v any) (err error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s can't be written: %w", name, err)
	}
	f, err := os.CreateTemp(dir, "."+name+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the data folder %s can't be written to: %w", dir, plain(err))
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s can't be written: %w", filepath.Join(dir, name), err)
			_ = os.Remove(f.Name()) // what failed is told already
		}
	}()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return fmt.Errorf("the data folder %s can't be written to: %w", dir, plain(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// plain is the cause without the path, which the sentence names already.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
