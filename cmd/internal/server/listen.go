package server

import (
	"net"
	"net/http"
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
