package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/bench/chaos/planted"
	"github.com/sunzi-push/sunzi/bench/chaos/stage"
	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/devdata"
	"github.com/sunzi-push/sunzi/cmd/internal/server"
	"github.com/sunzi-push/sunzi/push/token"
	"github.com/sunzi-push/sunzi/store"
)

// node is sunzi serve with what a chaos run needs beside: a clock that is
// stepped by lines on standard input ("clock 30s" is half a minute ahead), an
// end with that input, links before Redis, and a planted defect.
func node() *cobra.Command {
	var keyOnly bool
	c := &cobra.Command{
		Use: "node", Short: "Be a node of a chaos run", Args: cobra.NoArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := config.Load(config.Sources{Base: config.Default(), Environ: os.Environ()})
			if err != nil {
				return err
			}
			if keyOnly {
				return makeKey(c, l.Config)
			}
			return serveNode(c, l.Config)
		},
	}
	c.Flags().BoolVar(&keyOnly, "make-key", false, "only make an API key and print it")
	return c
}

// makeKey makes the key that producers use, and prints it as JSON.
func makeKey(c *cobra.Command, cfg config.Config) error {
	st, err := store.Open(c.Context(), cfg.StoreConfig())
	if err != nil {
		return err
	}
	raw, _, err := token.NewKeyring(st, nil).Create(c.Context(), "chaos", devdata.KeyScopes, nil)
	if err := errors.Join(err, st.Close()); err != nil {
		return err
	}
	return json.NewEncoder(c.OutOrStdout()).Encode(raw)
}

func serveNode(c *cobra.Command, cfg config.Config) error {
	seams, clock, err := nodeSeams()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	srv, err := server.NewWith(cfg, log, seams)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(c.Context())
	defer stop()
	go func() {
		clock.obey(c.InOrStdin())
		stop() // who started it is gone
	}()
	if _, err := fmt.Fprintln(c.OutOrStdout(), srv.Addr()); err != nil {
		stop()
	}
	return srv.Run(ctx)
}

func nodeSeams() (server.Seams, *steppedClock, error) {
	clock := &steppedClock{}
	seams := server.Seams{Clock: clock.now, DialRedis: dialer(os.Getenv(stage.EnvDial))}
	name := os.Getenv(stage.EnvPlant)
	if name == "" {
		return seams, clock, nil
	}
	d, err := planted.Named(name)
	if err != nil {
		return seams, nil, err
	}
	seams.Wrap = func(p server.Ports) server.Ports { return server.Ports(d.Plant(planted.Ports(p))) }
	return seams, clock, nil
}

// steppedClock is the machine's clock and a step. It is harsher than a real
// one: intervals between its times, which the monotonic clock would measure,
// have the step in them too.
type steppedClock struct{ step atomic.Int64 }

func (s *steppedClock) now() time.Time { return time.Now().Add(time.Duration(s.step.Load())) }

// obey reads steps until its input ends.
func (s *steppedClock) obey(in io.Reader) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		word, ok := strings.CutPrefix(lines.Text(), "clock ")
		if d, err := time.ParseDuration(word); ok && err == nil {
			s.step.Store(int64(d))
		}
	}
}

// dialer reaches addresses through their links: address=link, separated by
// commas. Empty: nil.
func dialer(links string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if links == "" {
		return nil
	}
	by := map[string]string{}
	for pair := range strings.SplitSeq(links, ",") {
		addr, link, _ := strings.Cut(pair, "=")
		by[addr] = link
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if link, ok := by[addr]; ok {
			addr = link
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}
