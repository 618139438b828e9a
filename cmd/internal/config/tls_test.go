package config

import (
	"strings"
	"testing"
	"time"
)

func TestTLSIsRefusedWhereItsPartsDoNotFit(t *testing.T) {
	for key, change := range map[string]func(*Config){
		"tls.key":             func(c *Config) { c.TLS.Cert = "cert.pem" },
		"tls.min_version":     func(c *Config) { c.TLS.MinVersion = "1.1" },
		"tls.client_ca":       func(c *Config) { c.TLS.ClientCA = "ca.pem" },
		"tls.client_required": func(c *Config) { c.TLS.ClientRequired = true },
		"tls.reload":          func(c *Config) { c.TLS.Reload = time.Millisecond },
		"http.proxy_protocol": func(c *Config) { c.HTTP.ProxyProtocol = true },
	} {
		t.Run(key, func(t *testing.T) {
			c := DevDefault()
			if err := c.Validate(); err != nil {
				t.Fatal(err)
			}
			change(&c)
			if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
				t.Errorf("got %v", err)
			}
		})
	}
}
