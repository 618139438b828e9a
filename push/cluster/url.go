package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// parseURL reads [Config.URL]. Taken apart by hand: net/url refuses lists of
// hosts. Errors never hold any of it, since that might be the password.
func parseURL(raw string) (*redis.UniversalOptions, error) {
	bad := func(what string) error { return errors.New("cluster: the Redis URL " + what) }
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, bad("must begin with redis://, redis+sentinel://, redis+cluster:// or the same with rediss")
	}
	o := &redis.UniversalOptions{}
	base, kind, _ := strings.Cut(scheme, "+")
	if base != "redis" && base != "rediss" || strings.Contains(rest, "?") {
		return nil, bad("has an unknown scheme, or a query")
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		user, password, both := strings.Cut(rest[:i], ":")
		var err1, err2 error
		o.Username, err1 = url.PathUnescape(user)
		o.Password, err2 = url.PathUnescape(password)
		if !both || err1 != nil || err2 != nil {
			return nil, bad("must have user:password before the @, percent-encoded; the user may be empty")
		}
		rest = rest[i+1:]
	}
	hosts, path, _ := strings.Cut(rest, "/")
	for h := range strings.SplitSeq(hosts, ",") {
		host, port, err := net.SplitHostPort(h)
		if err != nil || host == "" || port == "" {
			return nil, bad("must name host:port, several with commas between them")
		}
		o.Addrs = append(o.Addrs, h)
	}
	if base == "rediss" {
		host, _, _ := net.SplitHostPort(o.Addrs[0])
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	}
	db := path
	switch kind {
	case "":
		if len(o.Addrs) > 1 {
			return nil, bad("names several hosts: use redis+cluster:// or redis+sentinel://")
		}
	case "cluster":
		o.IsClusterMode = true
		if o.TLSConfig != nil {
			o.TLSConfig.ServerName = "" // each node's own
		}
		if path != "" {
			return nil, bad("has a path, which a cluster has no use for")
		}
	case "sentinel":
		o.MasterName, db, _ = strings.Cut(path, "/")
		if o.MasterName == "" {
			return nil, bad("must name the master after the sentinels: …/master/0")
		}
		if o.TLSConfig != nil {
			o.TLSConfig.ServerName = ""
		}
	default:
		return nil, bad("has an unknown scheme")
	}
	if db != "" {
		n, err := strconv.Atoi(db)
		if err != nil || n < 0 {
			return nil, bad("must have the number of a database as its path")
		}
		o.DB = n
	}
	return o, nil
}

// newClient makes the client. Retries are left to callers, who know what is
// still worth it; a call ends when its context does.
func newClient(o *redis.UniversalOptions, timeout time.Duration, dial dialer) redis.UniversalClient {
	o.MaxRetries = -1
	o.Protocol = 2 // nothing of RESP3 is used
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = timeout, timeout, timeout, timeout
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	redis.SetLogger(quiet{})
	if dial != nil {
		o.Dialer = secured(dial, timeout, o.TLSConfig)
	}
	return redis.NewUniversalClient(o)
}

// quiet keeps go-redis from writing to stderr past the operator's log, in a form
// of its own: what it has to say comes back as errors.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// secured is a dialer with what go-redis leaves to one that is given: the bound
// on its time, and TLS. Without a name of its own in the configuration, a server
// has to prove that of the address.
func secured(dial dialer, timeout time.Duration, config *tls.Config) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := dial(ctx, network, addr)
		if err != nil || config == nil {
			return conn, err
		}
		own := config.Clone()
		if own.ServerName == "" {
			if own.ServerName, _, err = net.SplitHostPort(addr); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
		}
		over := tls.Client(conn, own)
		if err := over.HandshakeContext(ctx); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return over, nil
	}
}
