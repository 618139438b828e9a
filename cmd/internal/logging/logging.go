// Package logging sets up the server's logs: text or JSON, to stderr or to
// rotated files.
//
// Read first: [Open]. Its logger may be used from any goroutine. Parts of the
// server take a named logger with [Named]: calls ("api"), database ("store"),
// connections ("hub"); the name is the attribute "log", and picks the file
// where there are files. Payloads and secrets are not filtered here: whoever
// logs leaves them out.
package logging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/DeRuina/timberjack"
)

// The named logs. What has no name goes to [ServerLog].
const (
	ServerLog = "server"
	APILog    = "api"   // calls of the open API
	StoreLog  = "store" // database operations
	HubLog    = "hub"   // connections
)

var names = []string{ServerLog, APILog, StoreLog, HubLog}

// Config says what is logged, and where to.
type Config struct {
	Level  slog.Level // least that is logged
	Format string     // "text" or "json"
	// Dir holds one file a named log; empty means Out.
	Dir      string
	Out      io.Writer     // nil: stderr
	MaxSize  int           // MiB at which a file is rotated; zero: 100
	MaxAge   int           // days that rotated files stay; zero: for ever
	MaxFiles int           // rotated files that stay of each log; zero: all
	Every    time.Duration // rotate after so long as well; zero: by size alone
}

// key is the attribute that names a log.
const key = "log"

// Named is l with its records marked as of the named log.
func Named(l *slog.Logger, name string) *slog.Logger { return l.With(key, name) }

// Open makes the logger. The closer flushes and closes its files, and stops
// what rotates them; nothing may be logged after.
func Open(cfg Config) (*slog.Logger, io.Closer, error) {
	opts := &slog.HandlerOptions{Level: cfg.Level}
	make := func(w io.Writer) slog.Handler {
		if cfg.Format == "json" {
			return slog.NewJSONHandler(w, opts)
		}
		return slog.NewTextHandler(w, opts)
	}
	if cfg.Dir == "" {
		if cfg.Out == nil {
			cfg.Out = os.Stderr
		}
		return slog.New(make(cfg.Out)), files(nil), nil
	}
	if err := writable(cfg.Dir); err != nil {
		return nil, nil, err
	}
	var all files
	h := &split{byName: map[string]slog.Handler{}}
	for _, name := range names {
		f := &timberjack.Logger{
			Filename: filepath.Join(cfg.Dir, name+".log"), FileMode: 0o600,
			MaxSize: cfg.MaxSize, MaxAge: cfg.MaxAge, MaxBackups: cfg.MaxFiles,
			RotationInterval: cfg.Every, Compression: "none",
		}
		all = append(all, f)
		h.byName[name] = make(f)
	}
	h.Handler = h.byName[ServerLog]
	return slog.New(h), all, nil
}

// writable makes the folder where missing and tries to write to it: a log
// that fails later fails silently.
func writable(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("the log folder can't be made: %w", err)
	}
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return fmt.Errorf("the log folder can't be written to: %w", err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

type files []*timberjack.Logger

func (f files) Close() error {
	errs := make([]error, 0, len(f))
	for _, l := range f {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

// split is a handler that sends a logger's records to the file of its name.
type split struct {
	slog.Handler
	byName map[string]slog.Handler
}

// WithAttrs changes the file where the attribute that names a log is among
// them, and hands all of them on.
func (s *split) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := s.Handler
	all := s.byName
	i := slices.IndexFunc(attrs, func(a slog.Attr) bool { return a.Key == key })
	if i >= 0 {
		if h, ok := s.byName[attrs[i].Value.String()]; ok {
			next = h
		}
	}
	// What was added before goes to every file that may be chosen later.
	byName := make(map[string]slog.Handler, len(all))
	for name, h := range all {
		byName[name] = h.WithAttrs(attrs)
	}
	return &split{next.WithAttrs(attrs), byName}
}

// WithGroup opens the group everywhere.
func (s *split) WithGroup(name string) slog.Handler {
	byName := make(map[string]slog.Handler, len(s.byName))
	for n, h := range s.byName {
		byName[n] = h.WithGroup(name)
	}
	return &split{s.Handler.WithGroup(name), byName}
}

// Handle is the file's.
func (s *split) Handle(ctx context.Context, r slog.Record) error { return s.Handler.Handle(ctx, r) }
