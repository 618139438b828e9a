// Command sunzi is the push server and its operator's tool in one: dev and
// serve run a server, send and listen use one, token, key, migrate and move
// look after one, config and id explain.
//
// Read first: root, which lists the subcommands, one file each. What joins
// the parts of a server is cmd/internal/server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main without the exit. It answers the exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) int {
	ctx, stop := untilSignal(context.Background())
	defer stop()
	c := root()
	c.SetArgs(args)
	c.SetIn(in)
	c.SetOut(out)
	c.SetErr(errOut)
	err := c.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	tell(errOut, err)
	return 1
}

// tell writes an error as one line, or as a list where it joins several.
func tell(w io.Writer, err error) {
	lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
	for i := range lines {
		lines[i] = packages.ReplaceAllString(lines[i], "")
	}
	if len(lines) == 1 {
		fmt.Fprintln(w, "sunzi:", lines[0])
		return
	}
	fmt.Fprintf(w, "sunzi: %d problems:\n", len(lines))
	for _, line := range lines {
		fmt.Fprintln(w, "  "+line)
	}
}

// packages are the names that errors of ours begin with, for logs and
// programmers.
var packages = regexp.MustCompile(`^((api|hub|push|snowflake|store|token|wire|wsclient): )+`)

// exitSignal is the code of a process that was ended by a signal.
const exitSignal = 130

// untilSignal ends the context at the first SIGINT or SIGTERM, so that the
// command can drain, and the process at the second.
func untilSignal(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for first := true; ; first = false {
			select {
			case <-signals:
				if !first {
					os.Exit(exitSignal)
				}
				cancel()
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		<-ended
		cancel()
	}
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use:   "sunzi",
		Short: "A WebSocket push server that keeps what offline clients missed",
		Long: `Sunzi owns the connections of browsers and mobiles, takes pushes over HTTP,
keeps what an offline client missed, and says what became of each push.

Start with:  sunzi dev`,
		Args:          cobra.ArbitraryArgs, // showCommands refuses them
		RunE:          showCommands,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetVersionTemplate("sunzi {{.Version}}\n")
	c.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	c.AddCommand(devCommand(), serveCommand(), sendCommand(), listenCommand(), inspectCommand(),
		tokenCommand(), keyCommand(), migrateCommand(), moveCommand(), configCommand(), idCommand(), doctorCommand())
	return c
}

// release is set by the linker of a release build.
var release = ""

// version is the release, or what the toolchain knows of the source.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	if release != "" {
		v = release
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+"
		}
	}
	return fmt.Sprintf("%s%s%s (%s)", v, revision, dirty, info.GoVersion)
}

// oneLine is an error whose text is said as it is, its cause kept.
func oneLine(cause error, format string, args ...any) error {
	return &said{fmt.Sprintf(format, args...), cause}
}

type said struct {
	text  string
	cause error
}

func (s *said) Error() string { return s.text }
func (s *said) Unwrap() error { return s.cause }

// showCommands is what a command does that only has subcommands. Cobra by
// itself would show the help for one that does not exist, and succeed.
func showCommands(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unknown command %q for %q; see %s --help", args[0], c.CommandPath(), c.CommandPath())
	}
	return c.Help()
}
