package server

import (
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
)

// boundPending bounds the connections that net/http holds: half-done requests
// and upgrades, idle keep-alives. Each costs a goroutine and its buffers. A
// socket that was upgraded is the hub's and no longer counted. At the limit a
// new connection is closed; what is there is served.
func boundPending(limit int64) func(net.Conn, http.ConnState) {
	if limit <= 0 {
		return nil
	}
	var held atomic.Int64
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			if held.Add(1) > limit {
				_ = c.Close() // net/http sees it and reports StateClosed
			}
		case http.StateHijacked, http.StateClosed:
			held.Add(-1)
		}
	}
}

// pprofHandler serves the runtime's profiles. Importing net/http/pprof also
// registers them on http.DefaultServeMux, which nothing here serves.
func pprofHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
