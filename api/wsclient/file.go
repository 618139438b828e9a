package wsclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// file keeps small values by key in one file, which only its owner may read.
type file[T any] struct {
	path  string
	what  string // is in it, for errors
	limit int    // bytes that are read
	mu    sync.Mutex
	m     map[string]T // nil: not yet read
}

func (s *file[T]) load(key string) (v T, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return v, false, err
	}
	v, ok = s.m[key]
	return v, ok, nil
}

func (s *file[T]) save(key string, v T) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.read(); err != nil {
		return err
	}
	s.m[key] = v
	return s.write()
}

func (s *file[T]) read() error {
	if s.m != nil {
		return nil
	}
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		s.m = map[string]T{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("wsclient: %s: %w", s.what, err)
	}
	defer f.Close() //nolint:errcheck // only read
	p, err := io.ReadAll(io.LimitReader(f, int64(s.limit)+1))
	if err != nil {
		return fmt.Errorf("wsclient: %s: %w", s.what, err)
	}
	m := map[string]T{}
	if len(p) > s.limit {
		return fmt.Errorf("wsclient: %s: %s is too large", s.what, s.path)
	}
	if err := json.Unmarshal(p, &m); err != nil {
		return fmt.Errorf("wsclient: %s: %s: %w", s.what, s.path, err)
	}
	s.m = m
	return nil
}

func (s *file[T]) write() (err error) {
	p, err := json.Marshal(s.m)
	if err != nil {
		return fmt.Errorf("wsclient: %s: %w", s.what, err)
	}
	dir := filepath.Dir(s.path)
	f, err := os.CreateTemp(dir, "."+s.what+"-*")
	if err != nil {
		return fmt.Errorf("wsclient: %s: %w", s.what, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("wsclient: %s: %w", s.what, err)
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
