package wsclient

import (
	"context"
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
type FileCursors struct{ f file[Cursor] }

// maxCursorFile bounds what is read: some ten thousand clients.
const maxCursorFile = 4 << 20

// NewFileCursors keeps cursors in the file, which need not exist yet.
func NewFileCursors(path string) *FileCursors {
	return &FileCursors{file[Cursor]{path: path, what: "cursors", limit: maxCursorFile}}
}

// Load reads the file the first time.
func (s *FileCursors) Load(_ context.Context, key string) (Cursor, bool, error) { return s.f.load(key) }

// Save blocks for two flushes to disk: file and folder.
func (s *FileCursors) Save(_ context.Context, key string, c Cursor) error { return s.f.save(key, c) }
