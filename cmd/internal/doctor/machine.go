package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/sunzi-push/sunzi/cmd/internal/config"
)

// ownFiles is what a node opens beside sockets of clients: listeners, the
// store, logs.
const ownFiles = 128

// openFiles compares the limit with the connections that are configured. A
// server raises its soft limit to the hard one by itself, as every Go program.
func openFiles(_ context.Context, c *config.Config) Finding {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return Finding{Grade: Doubt, Text: "the limit can't be read: " + err.Error()}
	}
	return judgeFiles(limit.Max, c)
}

func judgeFiles(limit uint64, c *config.Config) Finding {
	need := uint64(max(c.Hub.MaxConnections, 0) + max(c.HTTP.MaxPending, 0) + ownFiles)
	const remedy = "raise it with LimitNOFILE= of the systemd unit, --ulimit nofile= of the container, or ulimit -n"
	switch {
	case limit < need:
		return Finding{Grade: Bad, Text: fmt.Sprintf("%d may be open, and hub.max_connections with http.max_pending comes to %d", limit, need), Remedy: remedy}
	case c.Hub.MaxConnections == 0 && limit < 65536:
		return Finding{Grade: Doubt, Text: fmt.Sprintf("%d may be open, which bounds the connections of this node", limit), Remedy: remedy}
	}
	return good("%d may be open", limit)
}

// acceptBacklog is the kernel's queue of connections that nobody accepted yet:
// a crowd that comes back at once has to fit in.
func acceptBacklog(context.Context, *config.Config) Finding {
	raw, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	n, perr := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || perr != nil {
		return Finding{Grade: Doubt, Text: "net.core.somaxconn can't be read"}
	}
	if n < 1024 {
		return Finding{Grade: Doubt, Text: fmt.Sprintf("net.core.somaxconn is %d: when many clients come back at once, some are refused", n),
			Remedy: "sysctl -w net.core.somaxconn=4096"}
	}
	return good("net.core.somaxconn is %d", n)
}

// clockUnsynchronised is TIME_ERROR of adjtimex(2).
const clockUnsynchronised = 5

// clock asks the kernel whether anybody keeps its clock right: tokens and TTLs
// are compared over machines.
func clock(context.Context, *config.Config) Finding {
	state, err := syscall.Adjtimex(&syscall.Timex{})
	if err != nil {
		return Finding{Grade: Doubt, Text: "the kernel does not say whether the clock is kept right: " + err.Error()}
	}
	if state == clockUnsynchronised {
		return Finding{Grade: Doubt, Text: "nobody keeps the clock of this machine right; tokens and TTLs go by it",
			Remedy: "run chrony or systemd-timesyncd, here or on the container's host"}
	}
	return good("kept right")
}

// littleDisk is where a busy server has hours left rather than days.
const littleDisk = 1 << 30

// dataFolder looks whether the folder can be written, and how much fits.
func dataFolder(_ context.Context, c *config.Config) Finding {
	dir := c.Data
	for { // a folder that is not there yet is made in the nearest one that is
		if _, err := os.Stat(dir); err == nil {
			break
		} else if !errors.Is(err, os.ErrNotExist) || dir == filepath.Dir(dir) {
			return Finding{Grade: Bad, Text: err.Error(), Remedy: "choose another folder with --data, or mend this one"}
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return Finding{Grade: Bad, Text: "can't be written: " + plain(err), Remedy: "give the user that runs the server the right to write " + dir}
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return Finding{Grade: Doubt, Text: plain(err)}
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return Finding{Grade: Doubt, Text: "its free space can't be read: " + err.Error()}
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free < littleDisk {
		return Finding{Grade: Doubt, Text: fmt.Sprintf("%d MiB are free on its disk", free>>20), Remedy: "free some, or move the folder with --data"}
	}
	return good("can be written, %d GiB are free", free>>30)
}

// plain is the reason without the name of a file that is nobody's business.
func plain(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// port looks whether an address can be listened on. One that is taken by a
// server that answers at path, or with no path to ask at, is a doubt only: it
// may be the one that is asked about.
func port(ctx context.Context, addr, path string) Finding {
	if addr == "" {
		return good("none is configured")
	}
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err == nil {
		if err := ln.Close(); err != nil {
			return Finding{Grade: Doubt, Text: err.Error()}
		}
		return good("%s is free", addr)
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && path != "" && alive(ctx, addr, path):
		return good("%s is taken by a server that answers", addr)
	case errors.Is(err, syscall.EADDRINUSE):
		return Finding{Grade: Doubt, Text: addr + " is taken; where that is not this server, it would not start",
			Remedy: "stop what listens there (ss -ltnp shows it), or choose another address"}
	case errors.Is(err, syscall.EACCES):
		return Finding{Grade: Bad, Text: addr + " is reserved for root", Remedy: "take a port above 1023, or give the binary CAP_NET_BIND_SERVICE"}
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return Finding{Grade: Bad, Text: addr + " is not an address of this machine", Remedy: "take one that ip addr shows, or 0.0.0.0 for all"}
	}
	return Finding{Grade: Bad, Text: err.Error(), Remedy: "choose another address"}
}

func alive(ctx context.Context, addr, path string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}
