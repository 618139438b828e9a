package wsclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Cursor is how far a client has come in one mailbox.
type Cursor struct {
	Incarnation string `json:"incarnation"`
	Seq         uint64 `json:"seq,string"`
}

// CursorStore keeps cursors by key (origin, realm and client ID in one
// string). Save returns when the cursor would survive what the store is meant
// to survive. Both are called by one client's goroutines, one at a time for
// one key; one store may serve several clients.
type CursorStore interface {
	// Load answers false where nothing is kept.
	Load(ctx context.Context, key string) (Cursor, bool, error)
	Save(ctx context.Context, key string, c Cursor) error
}

// MemoryCursors is a [CursorStore] that lives as long as the process.
type MemoryCursors struct {
	mu sync.Mutex
	m  map[string]Cursor
}

// NewMemoryCursors makes an empty store.
func NewMemoryCursors() *MemoryCursors { return &MemoryCursors{m: map[string]Cursor{}} }

// Load never fails.
func (s *MemoryCursors) Load(_ context.Context, key string) (Cursor, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.m[key]
	return c, ok, nil
}

// Save never fails.
func (s *MemoryCursors) Save(_ context.Context, key string, c Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[key] = c
	return nil
}

// FileCursors is a [CursorStore] in one small file, for few clients: each
// save writes a new file, flushes it, and renames it over the old one, so
// that a crash leaves one or the other, never half of one. One process at a
// time may use a file.
type FileCursors struct {
	path string
	mu   sync.Mutex
	m    map[string]Cursor // nil: not yet read
}

// maxCursorFile bounds what is read: some ten thousand clients.
const maxCursorFile = 4 << 20

// NewFileCursors keeps cursors in the file, which need not exist yet.
func NewFileCursors(path string) *FileCursors { return &FileCursors{path: path} }

// Load reads the file the first time.
func (s *FileCursors) Load(_ context.Context, key string) (Cursor, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return Cursor{}, false, err
	}
	c, ok := s.m[key]
	return c, ok, nil
}

// Save blocks for two flushes to disk: file and folder.
func (s *FileCursors) Save(_ context.Context, key string, c Cursor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return err
	}
	s.m[key] = c
	return s.write()
}

func (s *FileCursors) read() error {
	if s.m != nil {
		return nil
	}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.m = map[string]Cursor{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("wsclient: cursors: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	p, err := io.ReadAll(io.LimitReader(f, maxCursorFile+1))
	if err != nil {
		return fmt.Errorf("wsclient: cursors: %w", err)
	}
	m := map[string]Cursor{}
	if len(p) > maxCursorFile {
		return fmt.Errorf("wsclient: cursors: %s is too large", s.path)
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return fmt.Errorf("wsclient: cursors: %s: %w", s.path, err)
	}
	s.m = m
	return nil
}

func (s *FileCursors) write() (err error) {
	p, err := json.Marshal(s.m)
	if err != nil {
		return fmt.Errorf("wsclient: cursors: %w", err)
	}
	dir := filepath.Dir(s.path)
	f, err := os.CreateTemp(dir, ".cursors-*")
	if err != nil {
		return fmt.Errorf("wsclient: cursors: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("wsclient: cursors: %w", err)
			_ = os.Remove(f.Name()) // what failed is told
		}
	}()
	_, err = f.Write(p)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), s.path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the rename itself durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
