// Package doctor looks at a machine as a server of a given configuration would
// find it, and says what to do about what it finds. It changes nothing.
//
// Read first: [Examine], then machine.go, services.go and redis.go for the
// checks. It may run beside a server of the same configuration.
package doctor

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
)

// Grade is how bad a finding is.
type Grade uint8

// The grades.
const (
	Good Grade = iota
	Doubt
	Bad // a server would not start, or promises would not hold
)

func (g Grade) String() string { return [...]string{"ok", "warn", "FAIL"}[g] }

// Finding is what one check found.
type Finding struct {
	Check  string // what was looked at, in a few words
	Grade  Grade
	Text   string // what was found
	Remedy string // what to do; empty where nothing is to be done
}

// checkTimeout bounds one check.
const checkTimeout = 5 * time.Second

// check is one look at one thing.
type check struct {
	name string
	run  func(ctx context.Context, c *config.Config) Finding
}

// checks is everything that is looked at, in order.
var checks = []check{
	{"open files", openFiles},
	{"backlog of new connections", acceptBacklog},
	{"clock", clock},
	{"data folder", dataFolder},
	{"listen", func(ctx context.Context, c *config.Config) Finding { return port(ctx, c.Listen, "") }},
	{"admin.listen", func(ctx context.Context, c *config.Config) Finding { return port(ctx, c.Admin.Listen, "/livez") }},
	{"store", storeFile},
	{"durability", durability},
	{"redis", joined},
	{"certificate", certificate},
}

// Examine runs every check; each has five seconds.
func Examine(ctx context.Context, c config.Config) []Finding {
	found := make([]Finding, 0, len(checks))
	for _, ch := range checks {
		call, cancel := context.WithTimeout(ctx, checkTimeout)
		f := ch.run(call, &c)
		cancel()
		f.Check = ch.name
		found = append(found, f)
	}
	return found
}

// Write prints the findings, a line each and its remedy below, and answers how
// many are [Bad].
func Write(w io.Writer, found []Finding) (bad int, err error) {
	for _, f := range found {
		if f.Grade == Bad {
			bad++
		}
		if _, err := fmt.Fprintf(w, "%-4s  %s: %s\n", f.Grade, f.Check, f.Text); err != nil {
			return bad, err
		}
		if f.Remedy == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "      -> %s\n", f.Remedy); err != nil {
			return bad, err
		}
	}
	return bad, nil
}

func good(format string, args ...any) Finding {
	return Finding{Grade: Good, Text: fmt.Sprintf(format, args...)}
}
