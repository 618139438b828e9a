package server

import (
	"runtime/debug"
	"strconv"

	"github.com/sunzi-push/sunzi/api"
	"github.com/sunzi-push/sunzi/cmd/internal/logging"
	"github.com/sunzi-push/sunzi/hub"
	"github.com/sunzi-push/sunzi/push"
	"github.com/sunzi-push/sunzi/store"
)

func (s *Server) storeConfig() store.Config {
	c := s.cfg.StoreConfig()
	c.Clock = s.seams.Clock
	if s.sealing != nil {
		c.Sealer, c.Covers = s.sealing, push.Covers(s.cfg.Seal.Cover)
	}
	c.Log, c.Metrics = logging.Named(s.log, logging.StoreLog), store.NewMetrics(s.registry)
	return c
}

func (s *Server) hubConfig() hub.Config {
	c, d := s.cfg.Hub, hub.DefaultConfig()
	d.Loops = c.Loops
	d.Heartbeat, d.PongWait, d.HelloWait, d.IdleTimeout, d.ExpiryWarning = c.Heartbeat, c.PongTimeout, c.HelloWait, c.IdleTimeout, c.ExpiryWarning
	d.MessageTimeout, d.WriteTimeout, d.CloseTimeout, d.Drain = c.MessageTimeout, c.WriteTimeout, c.CloseTimeout, c.Drain
	d.UpgradeTimeout, d.ComeBack, d.LogConnections = c.UpgradeTimeout, c.ComeBack, c.LogConnections
	d.MaxFrame, d.MaxMessage = int64(c.MaxFrame), int64(c.MaxMessage)
	d.MaxConnections, d.PerClient, d.PerAddress = c.MaxConnections, c.PerClient, c.PerAddress
	d.ConnectRate, d.ConnectBurst = c.ConnectRate, c.ConnectBurst
	d.MessageRate, d.MessageBurst = c.MessageRate, c.MessageBurst
	d.Outbound = int(c.Outbound)
	d.Origins, d.QueryToken = s.cfg.HTTP.WebSocketOrigins, s.cfg.HTTP.QueryToken
	return d
}

func (s *Server) apiConfig() api.Config {
	h := s.cfg.HTTP
	return api.Config{
		BaseURL:        s.cfg.PublicURL,
		Node:           s.nodeName(),
		RequestTimeout: h.RequestTimeout, MaxBody: int64(h.MaxBody), MaxBatchBody: int64(h.MaxBatchBody),
		MaxTokenTTL: s.cfg.Tokens.MaxTTL, Rate: h.Rate, Burst: h.Burst, PerKey: h.PerKey,
		TrustedProxies: s.cfg.TrustedProxies(),
		CORS: api.CORS{
			Origins: s.cfg.CORS.Origins, Methods: s.cfg.CORS.Methods, Headers: s.cfg.CORS.Headers,
			Credentials: s.cfg.CORS.Credentials, MaxAge: s.cfg.CORS.MaxAge,
		},
		SSE: api.SSE{
			Heartbeat: s.cfg.SSE.Heartbeat, WriteTimeout: s.cfg.SSE.WriteTimeout, ExpiryWarning: s.cfg.Hub.ExpiryWarning,
			Queue: s.cfg.SSE.Queue, PageBytes: api.DefaultConfig().SSE.PageBytes, MaxStreams: s.cfg.SSE.MaxStreams,
			QueryToken: h.QueryToken,
		},
	}
}

// nodeName is how the status API calls this node: as the others do where there
// are any, else by its number.
func (s *Server) nodeName() string {
	if s.node != "" {
		return s.node
	}
	return strconv.FormatInt(s.cfg.Snowflake.Node, 10)
}

// VersionInfo is what /version and --version tell.
type VersionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
}

// Version reads what the Go linker recorded.
func Version() VersionInfo {
	v := VersionInfo{Version: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	v.Version, v.Go = info.Main.Version, info.GoVersion
	for _, kv := range info.Settings {
		if kv.Key == "vcs.revision" {
			v.Revision = kv.Value
		}
	}
	return v
}
