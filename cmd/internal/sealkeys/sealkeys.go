// Package sealkeys is the file of a server's sealing keys: its identity, which
// clients pin, and the keys that wrap clients' keys in the database. All nodes
// of a cluster have the same.
//
// Read first: [Open]. A Keys is not changed after it was made.
package sealkeys

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/sunzi-push/sunzi/crt"
)

const maxFile = 64 << 10

// Keys are the secrets, each of 32 bytes.
type Keys struct {
	Identity []byte
	Wrap     map[uint32][]byte // by number; the highest wraps
}

// kept is the form of the file, and of the variable SUNZI_SEAL_KEYS.
type kept struct {
	Identity string            `json:"identity"` // base64
	Wrap     map[uint32]string `json:"wrap"`     // base64
}

// New makes keys.
func New() *Keys { return &Keys{random(), map[uint32][]byte{1: random()}} }

func random() []byte {
	b := make([]byte, crt.KeySize)
	rand.Read(b) // never fails (crypto/rand, since Go 1.24)
	return b
}

// Rotated has one more key, which wraps from now on. The others still unwrap.
func (k *Keys) Rotated() *Keys {
	next := &Keys{k.Identity, map[uint32][]byte{}}
	highest := uint32(0)
	for n, key := range k.Wrap {
		next.Wrap[n] = key
		highest = max(highest, n)
	}
	next.Wrap[highest+1] = random()
	return next
}

// Parse reads the text of a file. Errors hold nothing of it.
func Parse(text []byte) (*Keys, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f kept
	if err := d.Decode(&f); err != nil || d.More() {
		return nil, errors.New("the sealing keys are no valid JSON")
	}
	k := &Keys{Wrap: make(map[uint32][]byte)}
	var err error
	if k.Identity, err = decode(f.Identity); err != nil {
		return nil, fmt.Errorf("the sealing keys: identity %w", err)
	}
	for n, s := range f.Wrap {
		if n == 0 {
			return nil, errors.New("the sealing keys: wrap counts from 1")
		}
		if k.Wrap[n], err = decode(s); err != nil {
			return nil, fmt.Errorf("the sealing keys: wrap %d %w", n, err)
		}
	}
	if len(k.Wrap) == 0 {
		return nil, errors.New("the sealing keys: wrap holds none")
	}
	return k, nil
}

func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) != crt.KeySize {
		return nil, fmt.Errorf("is not the base64 of %d bytes", crt.KeySize)
	}
	return b, nil
}

// Open reads the file, which nobody but its owner may read or write. Where it is
// missing the error is [fs.ErrNotExist].
func Open(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the file of sealing keys can't be opened: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the file of sealing keys can't be read: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the file of sealing keys %s is no file", path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("the file of sealing keys %s can be read by others (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return nil, fmt.Errorf("the file of sealing keys can't be read: %w", err)
	}
	k, err := Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// Save writes the file, whole or not at all, with mode 0600.
func (k *Keys) Save(path string) (err error) {
	f := kept{base64.StdEncoding.EncodeToString(k.Identity), make(map[uint32]string)}
	for n, key := range k.Wrap {
		f.Wrap[n] = base64.StdEncoding.EncodeToString(key)
	}
	b, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".seal-*") // mode 0600
	if err != nil {
		return fmt.Errorf("the file of sealing keys can't be written: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("the file of sealing keys can't be written: %w", err)
			_ = os.Remove(tmp.Name()) // what failed is told already
		}
	}()
	_, err = tmp.Write(append(b, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// Public is the identity's public key as operators and clients write it:
// base64url without padding.
func (k *Keys) Public() (string, error) {
	id, err := crt.NewIdentity(k.Identity)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(id.Public()), nil
}

// Newest has the newest wrapping key alone.
func (k *Keys) Newest() *Keys {
	highest := uint32(0)
	for n := range k.Wrap {
		highest = max(highest, n)
	}
	return &Keys{k.Identity, map[uint32][]byte{highest: k.Wrap[highest]}}
}
