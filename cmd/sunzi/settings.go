package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/logging"
)

// settings are the flags of every command that reads a configuration.
type settings struct {
	file  string
	named map[string]*string // flags of single keys, by key
	set   []string           // key=value
}

// settingFlags adds --config, --set and a flag for each of the keys.
func settingFlags(c *cobra.Command, keys ...string) *settings {
	s := &settings{named: map[string]*string{}}
	c.Flags().StringVarP(&s.file, "config", "c", os.Getenv("SUNZI_CONFIG"), "configuration file, YAML (variable SUNZI_CONFIG)")
	c.Flags().StringArrayVar(&s.set, "set", nil, "set any key, as in --set hub.heartbeat=30s; may be repeated")
	for _, key := range keys {
		s.named[key] = c.Flags().String(flagName(key), "", docOf(key))
	}
	return s
}

func flagName(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

func docOf(key string) string {
	for _, f := range config.Fields() {
		if f.Key == key {
			text, _, _ := strings.Cut(f.Doc, ". ")
			return strings.TrimSuffix(strings.ToLower(text[:1])+text[1:], ".")
		}
	}
	panic("there is no key " + key) // a flag of this package names it
}

// load reads the configuration on top of base. What was strange but not wrong
// is told on stderr.
func (s *settings) load(c *cobra.Command, base config.Config) (config.Loaded, error) {
	flags := map[string]string{}
	for _, kv := range s.set {
		key, value, ok := strings.Cut(kv, "=")
		if !ok {
			return config.Loaded{}, fmt.Errorf("--set %s: write key=value", kv)
		}
		flags[key] = value
	}
	for key, value := range s.named {
		if c.Flags().Changed(flagName(key)) {
			flags[key] = *value
		}
	}
	l, err := config.Load(config.Sources{Base: base, File: s.file, Environ: os.Environ(), Flags: flags})
	for _, w := range l.Warnings {
		c.PrintErrln("sunzi: warning:", w)
	}
	return l, err
}

// takes is the check of a command's arguments, with an error that says what it
// wants.
func takes(what string, check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check(c, args) == nil {
			return nil
		}
		return fmt.Errorf("%s takes %s, and got %d arguments; see %s --help",
			strings.TrimPrefix(c.CommandPath(), "sunzi "), what, len(args), c.CommandPath())
	}
}

// openLog makes the server's logger.
func openLog(c *cobra.Command, cfg config.Config) (*slog.Logger, func() error, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Log.Level)); err != nil {
		return nil, nil, fmt.Errorf("log.level: %w", err)
	}
	log, files, err := logging.Open(logging.Config{
		Level: level, Format: cfg.Log.Format, Dir: cfg.Log.Dir, Out: c.ErrOrStderr(),
		MaxSize: int(cfg.Log.MaxSize >> 20), MaxAge: int(cfg.Log.MaxAge / (24 * time.Hour)),
		MaxFiles: cfg.Log.MaxFiles, Every: cfg.Log.Every,
	})
	if err != nil {
		return nil, nil, err
	}
	return log, files.Close, nil
}
