// Package server joins the parts of a Sunzi server: store, domain, hub, API
// and listeners, and owns their lifetime. It is the only place that knows all
// of them.
//
// Read first: [New] (what stands on what) and [Server.Run] (the order of an
// end). parts.go turns the operator's configuration into each part's own.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/sunzi-push/sunzi/api"
	"github.com/sunzi-push/sunzi/api/js"
	"github.com/sunzi-push/sunzi/cmd/internal/config"
	"github.com/sunzi-push/sunzi/cmd/internal/devdata"
	"github.com/sunzi-push/sunzi/cmd/internal/logging"
	"github.com/sunzi-push/sunzi/cmd/internal/sealkeys"
	"github.com/sunzi-push/sunzi/hub"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/push/cluster"
	"github.com/sunzi-push/sunzi/push/seal"
	"github.com/sunzi-push/sunzi/push/token"
	"github.com/sunzi-push/sunzi/store"
)

// gcPercent is the GOGC that the server runs with unless the environment says
// otherwise: what an idle connection costs in memory is mostly the collector's
// head room (see bench/results), and this server makes little garbage.
const gcPercent = 50

// Server is one node.
type Server struct {
	cfg       config.Config
	seams     Seams
	log       *slog.Logger
	registry  *prometheus.Registry
	store     *store.Store
	hub       *hub.Hub
	service   *push.Service
	records   token.OutsideRecords // the store, or what stands in front of it
	authority *token.Authority
	keys      *token.Keyring
	sealing   *seal.Service  // nil: nothing is sealed
	sealKey   string         // its public key, as clients write it
	newKeys   *sealkeys.Keys // made, and not saved before the store was looked at; nil: they were there
	data      *devdata.Data  // nil but for sunzi dev
	dev       DevInfo
	node      string // its name among others; empty: alone

	public, admin *http.Server     // admin is nil where none is configured
	pending       *pending         // of the public listener
	number        *number          // nil where the number is configured
	cluster       *cluster.Cluster // nil: one node alone
	certs         *certificates    // nil without TLS
	listeners     map[*http.Server]net.Listener
	draining      chan struct{} // closed when Run begins to end
}

// backend is what sessions need, of both its makers.
type backend struct {
	*push.Gate
	*push.Desk
}

// New opens the store and binds the listeners, so that everything that can
// fail at the start fails here, and Addr is known. Connections are served
// once Run was called; whoever connects before waits. Where it answers an
// error nothing is left open.
func New(cfg config.Config, log *slog.Logger) (*Server, error) { return NewWith(cfg, log, Seams{}) }

// NewWith is New with parts of the caller's own.
func NewWith(cfg config.Config, log *slog.Logger, seams Seams) (*Server, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	if seams.Clock == nil {
		seams.Clock = time.Now
	}
	s := &Server{
		cfg: cfg, seams: seams, log: log, registry: prometheus.NewRegistry(),
		listeners: map[*http.Server]net.Listener{}, draining: make(chan struct{}),
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	steps := []func() error{s.openDev, s.openSealing, s.openStore, s.checkSealing, s.joinDomain, s.joinAPI, s.joinAdmin, s.introduceDev}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, s.closeAll())
		}
	}
	return s, nil
}

const openTimeout = 30 * time.Second

func (s *Server) openStore() error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	var err error
	s.store, err = store.Open(ctx, s.storeConfig())
	return err
}

// joinDomain makes credentials, hub and service, and ties the knot between
// them: the store tells the service of commits, the service the hub, and the
// hub asks the service.
func (s *Server) joinDomain() error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	newID, err := s.newIDs(ctx)
	if err != nil {
		return err
	}
	arrivals := &presence{push.Alone{}}
	s.hub, err = hub.New(s.hubConfig(), hub.Deps{
		Remote: remote, Log: logging.Named(s.log, logging.HubLog), Metrics: s.registry, Presence: arrivals,
	})
	if err != nil {
		return err
	}
	var elsewhere push.Elsewhere = push.Alone{}
	s.records = s.store
	if s.cfg.Cluster.Redis != "" {
		if s.cluster, err = cluster.Open(ctx, s.clusterConfig(), s.clusterDeps()); err != nil {
			return err
		}
		elsewhere, arrivals.Presence, s.records = s.cluster, s.cluster, s.cluster.Records(s.store)
	}
	if err := s.joinCredentials(); err != nil {
		return err
	}
	parts := push.Parts{}
	if s.sealing != nil {
		s.sealing.Keep(s.store)
		parts.Sealing = s.sealing
	}
	ports := s.seams.wrap(Ports{Storage: s.store, Sessions: s.hub, Elsewhere: elsewhere, NewID: newID})
	parts.Config, parts.Store, parts.Sessions, parts.Elsewhere = s.cfg.PushConfig(), ports.Storage, ports.Sessions, ports.Elsewhere
	parts.Authority, parts.Keys = s.authority, s.keys
	parts.NewID, parts.Now, parts.Metrics = ports.NewID, s.seams.Clock, push.NewMetrics(s.registry)
	parts.Log = logging.Named(s.log, logging.ServerLog)
	s.service = push.New(parts)
	s.store.SetListener(s.service)
	s.hub.Serve(backend{s.service.Gate, s.service.Desk})
	return nil
}

// joinCredentials makes who checks tokens and keys.
func (s *Server) joinCredentials() error {
	authority, err := s.cfg.AuthorityConfig()
	if err != nil {
		return err
	}
	if s.authority, err = token.NewAuthority(authority, s.records, s.seams.Clock); err != nil {
		return err
	}
	s.keys = token.NewKeyring(s.store, s.seams.Clock)
	return nil
}

func (s *Server) joinAPI() error {
	deps := api.Deps{
		Pusher: s.service, Clients: s.service, Groups: s.service, Sessions: s.hub,
		Keys: s.keys, Authority: s.authority, Tokens: s.records, Backend: backend{s.service.Gate, s.service.Desk},
		Socket: s.hub, Library: js.Handler(), Draining: s.draining,
		Allower: s.allower(), Now: s.seams.Clock,
		Log: logging.Named(s.log, logging.APILog), Metrics: s.registry,
	}
	if s.cfg.HTTP.Echo {
		deps.Echo = s.hub.EchoHandler()
	}
	if s.cfg.Dev {
		deps.Console = s.livePage()
	}
	handler, err := api.New(s.apiConfig(), deps)
	if err != nil {
		return err
	}
	s.public = s.httpServer(s.clientCerts(handler))
	s.pending = newPending(s.cfg.HTTP.MaxPending)
	s.public.ConnState = s.pending.watch
	if err := s.bind(s.public, s.cfg.Listen); err != nil {
		return err
	}
	return s.secure()
}

func (s *Server) joinAdmin() error {
	if s.cfg.Admin.Listen == "" {
		return nil
	}
	var profiles http.Handler
	if s.cfg.Admin.Pprof {
		profiles = pprofHandler()
	}
	s.admin = s.httpServer(api.Admin(api.AdminDeps{
		Console: profiles,
		Ready: map[string]func(context.Context) error{
			"store": s.store.Ping,
			"drain": func(context.Context) error {
				select {
				case <-s.draining:
					return errors.New("the server is shutting down")
				default:
					return nil
				}
			},
		},
		Degraded: s.degraded(),
		Metrics:  s.registry,
		Version:  Version(),
	}))
	return s.bind(s.admin, s.cfg.Admin.Listen)
}

func (s *Server) bind(srv *http.Server, addr string) error {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err == nil {
		s.listeners[srv] = ln
	}
	return err
}

func (s *Server) httpServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s.cfg.HTTP.HeaderTimeout,
		IdleTimeout:       s.cfg.HTTP.IdleTimeout,
		MaxHeaderBytes:    int(s.cfg.HTTP.MaxHeader),
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // broken peers, all of it
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
}

// Run serves until ctx ends, then drains: it turns unready, closes sessions
// spread over hub.drain, finishes requests in flight, writes the acks it has
// gathered, and closes what New opened. It answers nil after an orderly end.
func (s *Server) Run(ctx context.Context) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	var service, listening sync.WaitGroup
	service.Go(func() { s.service.Run(work) })
	if s.number != nil {
		service.Go(func() { s.number.run(work) })
	}
	if s.cluster != nil {
		service.Go(func() { s.cluster.Run(work) })
	}
	if s.certs != nil {
		service.Go(func() { s.certs.run(work, s.cfg.TLS.Reload) })
	}

	failed := make(chan error, len(s.listeners))
	for srv, ln := range s.listeners {
		listening.Go(func() {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("the listener on %s ended: %w", ln.Addr(), err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.log.Info("shutting down", "sessions", s.hub.Len())
	err = errors.Join(err, s.end())
	listening.Wait()
	stopWork()
	service.Wait()
	err = errors.Join(err, s.store.Close())
	s.closeSealing()
	return err
}

// end stops taking work and waits for what is under way, at most for
// http.shutdown_timeout.
func (s *Server) end() error {
	close(s.draining)
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.HTTP.ShutdownTimeout)
	defer cancel()
	err := s.hub.Shutdown(ctx)
	s.pending.closeFresh()
	for srv := range s.listeners {
		if cut := srv.Shutdown(ctx); cut != nil {
			err = errors.Join(err, cut, srv.Close())
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.log.Warn("some connections had to be cut", "after", s.cfg.HTTP.ShutdownTimeout)
		return nil
	}
	return err
}

// closeAll undoes a New that failed half-way.
func (s *Server) closeAll() error {
	var errs []error
	for _, ln := range s.listeners {
		errs = append(errs, ln.Close())
	}
	if s.hub != nil {
		errs = append(errs, s.hub.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	s.closeSealing()
	return errors.Join(errs...)
}

// Addr is the address of the public listener.
func (s *Server) Addr() string { return s.listeners[s.public].Addr().String() }
