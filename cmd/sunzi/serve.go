package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/server"
)

func serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a server for production",
		Long: `Run a server. It is configured by a file, variables and flags, the later
before the earlier; sunzi config check and sunzi config show tell what they
come to. SIGINT and SIGTERM drain it, a second one ends it at once.`,
		Args: cobra.NoArgs,
	}
	s := settingFlags(c, "listen", "admin.listen", "data", "log.level", "log.format")
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := s.load(c, config.Default())
		if err != nil {
			return err
		}
		return runServer(c, l.Config, func(srv *server.Server, log *slog.Logger) error {
			log.Info("listening", "address", srv.Addr(), "data", l.Config.Data)
			return nil
		})
	}
	return c
}

// runServer starts a server, calls ready, and runs until the command's
// context ends.
func runServer(c *cobra.Command, cfg config.Config, ready func(*server.Server, *slog.Logger) error) (err error) {
	log, closeLog, err := openLog(c, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeLog()) }()
	srv, err := server.New(cfg, log)
	if err != nil {
		return startError(cfg, err)
	}
	ctx := c.Context()
	if err := ready(srv, log); err != nil {
		// What New opened is closed by Run alone.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		return errors.Join(err, srv.Run(ended))
	}
	return srv.Run(ctx)
}

// startError says what to do about the usual reasons why a server does not
// start.
func startError(cfg config.Config, err error) error {
	addr, flag := cfg.Listen, "--listen"
	var op *net.OpError
	if errors.As(err, &op) && op.Addr != nil {
		addr = op.Addr.String()
		if p := portOf(addr); p == portOf(cfg.Admin.Listen) && p != portOf(cfg.Listen) {
			flag = "--admin-listen"
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return oneLine(err, "the address %s is taken by another program; stop that, or take another with %s", addr, flag)
	case op != nil && errors.Is(err, syscall.EACCES):
		return oneLine(err, "the address %s is reserved for root; take a port above 1023 with %s", addr, flag)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return oneLine(err, "the address %s is not one of this machine; take another with %s", addr, flag)
	}
	return err
}

// portOf is the port of host:port, nothing where there is none.
func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
