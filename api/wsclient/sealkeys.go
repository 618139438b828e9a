package wsclient

import (
	"bytes"
	"context"
	"sync"
)

// SealKeyStore keeps what a client opens sealed messages with, by key as a
// [CursorStore] does. The state is secret, and opaque: the store keeps it as
// it is, readable to nobody else, and forgets what it replaces. Save keeps a
// copy, since the state is overwritten after it; it returns
// when the state would survive what the store is meant to survive: what is
// sealed is lost with its keys.
type SealKeyStore interface {
	// Load answers false where nothing is kept.
	Load(ctx context.Context, key string) (state []byte, ok bool, err error)
	Save(ctx context.Context, key string, state []byte) error
}

// MemorySealKeys is a [SealKeyStore] that lives as long as the process.
type MemorySealKeys struct {
	mu sync.Mutex
	m  map[string][]byte
}

// NewMemorySealKeys makes an empty store.
func NewMemorySealKeys() *MemorySealKeys { return &MemorySealKeys{m: map[string][]byte{}} }

// Load never fails.
func (s *MemorySealKeys) Load(_ context.Context, key string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.m[key]
	return bytes.Clone(state), ok, nil
}

// Save never fails.
func (s *MemorySealKeys) Save(_ context.Context, key string, state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[key] = bytes.Clone(state)
	return nil
}

// FileSealKeys is a [SealKeyStore] in one file of mode 0600, written as
// [FileCursors] is. Copies of it open what was sealed until their keys are
// forgotten here.
type FileSealKeys struct{ f file[[]byte] }

// maxKeysFile bounds what is read: some hundred clients with a thousand groups
// each, many more with few.
const maxKeysFile = 64 << 20

// NewFileSealKeys keeps keys in the file, which need not exist yet.
func NewFileSealKeys(path string) *FileSealKeys {
	return &FileSealKeys{file[[]byte]{path: path, what: "seal-keys", limit: maxKeysFile}}
}

// Load reads the file the first time.
func (s *FileSealKeys) Load(_ context.Context, key string) ([]byte, bool, error) {
	return s.f.load(key)
}

// Save blocks for two flushes to disk: file and folder.
func (s *FileSealKeys) Save(_ context.Context, key string, state []byte) error {
	return s.f.save(key, bytes.Clone(state))
}
