package config

import (
	"crypto/tls"
	"slices"
	"time"
)

// TLS is https and wss on the public listener.
type TLS struct {
	Cert           string        `koanf:"cert" doc:"File of the certificate and what it was issued by, PEM. With it and tls.key the public listener speaks https and wss alone. Empty: http and ws, for a proxy in front."`
	Key            string        `koanf:"key" doc:"File of the certificate's private key, PEM."`
	MinVersion     string        `koanf:"min_version" doc:"Oldest version that is spoken: 1.2 or 1.3."`
	ClientCA       string        `koanf:"client_ca" doc:"File of authorities, PEM. A client certificate that is shown must be issued by one of them. Empty: none is asked for."`
	ClientRequired bool          `koanf:"client_required" doc:"Refuse requests with an API key on connections that showed no client certificate. Clients with tokens need none. Needs client_ca."`
	Reload         time.Duration `koanf:"reload" doc:"How often the files are looked at; SIGHUP does it at once. New connections get the new certificate, those that are open stay. A pair that does not fit is logged and not used. Zero: at SIGHUP alone."`
}

func defaultTLS() TLS { return TLS{MinVersion: "1.2", Reload: time.Minute} }

// Enabled reports whether the public listener speaks TLS.
func (t TLS) Enabled() bool { return t.Cert != "" }

// Oldest is MinVersion as crypto/tls has it.
func (t TLS) Oldest() uint16 {
	if t.MinVersion == "1.3" {
		return tls.VersionTLS13
	}
	return tls.VersionTLS12
}

func (c Config) checkTLS(p *checks) {
	t := c.TLS
	p.that((t.Cert == "") == (t.Key == ""), "tls.key", "is set without tls.cert, or the other way round; TLS needs both, and neither is none")
	p.that(slices.Contains([]string{"1.2", "1.3"}, t.MinVersion), "tls.min_version", "is %q; take 1.2 or 1.3", t.MinVersion)
	p.that(t.ClientCA == "" || t.Enabled(), "tls.client_ca", "is set without tls.cert")
	p.that(!t.ClientRequired || t.ClientCA != "", "tls.client_required", "needs tls.client_ca")
	p.that(t.Reload == 0 || t.Reload >= time.Second, "tls.reload", "must be at least 1s; 0 is at SIGHUP alone")
	p.that(!c.HTTP.ProxyProtocol || len(c.HTTP.TrustedProxies) > 0, "http.proxy_protocol", "needs http.trusted_proxies, the addresses that may send the header")
}
