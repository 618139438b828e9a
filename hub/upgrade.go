package hub

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 4.2.2 asks for it; nothing is kept secret by it
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// echoMessage bounds a message to the echo endpoint: conformance suites send
// 16 MiB.
const echoMessage = 16 << 20

// request is an upgrade under way.
type request struct {
	r      *http.Request
	codec  wire.Codec
	name   string // the sub-protocol to answer with
	remote netip.AddrPort
	answer http.Header // of the 101
	echo   bool
	gen    uint64 // place among the requests, which is the session's
}

// ServeHTTP upgrades /ws, /ws/{client_id} and /ws/{realm}/{client_id}
// (segments percent-decoded) to a session. It blocks while the credentials
// are checked, at most [Config.UpgradeTimeout].
//
// What is no proper upgrade is answered over HTTP (RFC 6455 section 4.2).
// Credentials that are refused are refused after the handshake, by close code,
// because a browser shows a page neither status nor body of a failed one.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, ok := pathClient(r.URL)
	if !ok {
		h.refuse(w, upgradeBad, http.StatusNotFound, push.CodeNotFound, "the path is /ws, /ws/{client_id} or /ws/{realm}/{client_id}")
		return
	}
	if h.backend.Load() == nil {
		h.refuse(w, upgradeError, http.StatusServiceUnavailable, push.CodeShuttingDown, errNoBackend.Error())
		return
	}
	q, token, ok := h.checkRequest(w, r)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.UpgradeTimeout)
	defer cancel()
	a, refusal := h.serving().Admit(ctx, push.Credentials{Token: token, Path: path, Remote: q.remote.Addr()})
	c := h.newConn(q)
	if refusal != nil {
		h.met.upgrade(upgradeRefused)
		if refusal.Cause != nil {
			h.log.Warn("connection refused", "code", refusal.Code, "reason", refusal.Reason, "err", refusal.Cause)
		}
		h.handOver(w, q, c, upgraded{refusal: refusal})
		return
	}
	c.key = push.ClientKey{Realm: strings.Clone(a.Client.Realm), ID: strings.Clone(a.Client.ID)}
	if a.Device != "" || a.Minted != "" {
		c.rare = &rare{device: a.Device, minted: a.Minted}
	}
	c.setToken(a.Identity)
	if a.Refreshed != "" {
		q.answer.Set("Refresh-Token", a.Refreshed)
	}
	if h.handOver(w, q, c, upgraded{}) {
		h.met.upgrade(upgradeOK)
	}
}

// EchoHandler upgrades to a connection that sends every message back, on the
// same read and write path as sessions, for conformance suites. It checks no
// credentials, and it is reachable only where it is mounted.
func (h *Hub) EchoHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q, _, ok := h.checkRequest(w, r)
		if !ok {
			return
		}
		q.echo = true
		c := h.newConn(q)
		if h.handOver(w, q, c, upgraded{}) {
			h.met.upgrade(upgradeOK)
		}
	})
}

// checkRequest judges all but the credentials, and takes a place among the
// connections. Where it answers false, it has answered the request.
func (h *Hub) checkRequest(w http.ResponseWriter, r *http.Request) (q *request, token string, ok bool) {
	q = &request{r: r, answer: http.Header{}, gen: h.table.gen.Add(1)}
	if !h.checkHandshake(w, r) {
		return nil, "", false
	}
	if !h.orig.allows(r.Header.Get("Origin"), r.Host) {
		h.refuse(w, upgradeOrigin, http.StatusForbidden, push.CodeForbiddenOrigin, "this origin is not on the allow-list")
		return nil, "", false
	}
	q.codec, q.name, token, ok = wire.ParseProtocols(r.Header.Values("Sec-Websocket-Protocol"))
	if !ok {
		h.refuse(w, upgradeBad, http.StatusBadRequest, push.CodeInvalidRequest,
			"offer the sub-protocol "+wire.ProtocolJSON+" or "+wire.ProtocolMsgpack+", or none")
		return nil, "", false
	}
	if scheme, t, found := strings.Cut(r.Header.Get("Authorization"), " "); token == "" && found && strings.EqualFold(scheme, "Bearer") {
		token = strings.TrimSpace(t)
	}
	if token == "" && h.cfg.QueryToken {
		token = r.URL.Query().Get("token")
	}
	q.remote = h.remote(r)
	if h.draining.Load() {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, upgradeDraining, http.StatusServiceUnavailable, push.CodeShuttingDown, "the server is shutting down")
		return nil, "", false
	}
	if !h.gate.admit(q.remote.Addr(), time.Now()) {
		w.Header().Set("Retry-After", "1")
		h.refuse(w, upgradeLimited, http.StatusServiceUnavailable, push.CodeOverloaded, "too many connections; try again later")
		return nil, "", false
	}
	return q, token, true
}

// checkHandshake is RFC 6455 section 4.2.1.
func (h *Hub) checkHandshake(w http.ResponseWriter, r *http.Request) bool {
	bad := func(status int, text string) bool {
		code := push.CodeInvalidRequest
		switch status {
		case http.StatusMethodNotAllowed:
			code = push.CodeMethod
		case http.StatusUpgradeRequired:
			code = push.CodeUpgrade
		}
		h.refuse(w, upgradeBad, status, code, text)
		return false
	}
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return bad(http.StatusMethodNotAllowed, "a WebSocket is opened by GET")
	}
	if !r.ProtoAtLeast(1, 1) || r.ProtoMajor > 1 || !hasToken(r.Header, "Connection", "upgrade") || !hasToken(r.Header, "Upgrade", "websocket") {
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		return bad(http.StatusUpgradeRequired, "this address takes WebSocket upgrades over HTTP/1.1")
	}
	if r.Header.Get("Sec-Websocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		return bad(http.StatusUpgradeRequired, "Sec-WebSocket-Version must be 13")
	}
	key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key"))
	if err != nil || len(key) != 16 || len(r.Header.Values("Sec-Websocket-Key")) != 1 {
		return bad(http.StatusBadRequest, "Sec-WebSocket-Key must be 16 bytes in base64")
	}
	if r.ContentLength != 0 {
		return bad(http.StatusBadRequest, "an upgrade has no body")
	}
	return true
}

// hasToken looks for a token in a comma-separated header, ignoring case.
func hasToken(header http.Header, name, token string) bool {
	for _, line := range header.Values(name) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// pathClient is the client that the path names, nil for none.
func pathClient(u *url.URL) (*push.ClientKey, bool) {
	rest, ok := strings.CutPrefix(u.EscapedPath(), "/ws")
	rest = strings.TrimSuffix(rest, "/")
	if !ok || (rest != "" && rest[0] != '/') {
		return nil, false
	}
	if rest == "" {
		return nil, true
	}
	var parts []string
	for s := range strings.SplitSeq(rest[1:], "/") {
		p, err := url.PathUnescape(s)
		if err != nil || !push.ValidName(p) {
			return nil, false
		}
		parts = append(parts, p)
	}
	switch len(parts) {
	case 1:
		return &push.ClientKey{ID: parts[0]}, true
	case 2:
		return &push.ClientKey{Realm: parts[0], ID: parts[1]}, true
	}
	return nil, false
}

func (h *Hub) newConn(q *request) *conn {
	c := &conn{
		loop: h.loops[int(h.next.Add(1))%len(h.loops)], codec: q.codec, port: q.remote.Port(), gen: q.gen,
		sid: rand.Uint64(), //nolint:gosec // G404: a name, which need not be hard to guess, only another than before
	}
	if q.remote.IsValid() {
		c.addr = q.remote.Addr().As16()
	}
	if q.echo {
		c.flags |= flagEcho
	}
	return c
}

// handOver completes the handshake and gives the socket to c's loop. Where it
// answers false, the place that was taken is free again.
func (h *Hub) handOver(w http.ResponseWriter, q *request, c *conn, up upgraded) bool {
	fail := func(err error) bool {
		h.gate.release(q.remote.Addr())
		h.met.upgrade(upgradeError)
		h.log.Warn("upgrade failed", "remote", q.remote, "err", err)
		return false
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.gate.release(q.remote.Addr())
		h.refuse(w, upgradeError, http.StatusInternalServerError, push.CodeInternal, "this connection can't be upgraded")
		return false
	}
	if up.early, err = answer(nc, rw, q, h.cfg.UpgradeTimeout); err != nil {
		_ = nc.Close()
		return fail(err)
	}
	more, err := c.moveIn(nc)
	if err != nil {
		return fail(err)
	}
	up.early = append(up.early, more...)
	now := time.Now()
	c.connected = now.UnixMilli()
	c.lastMsg.Store(c.connected)
	if !c.loop.post(command{c: c, kind: cmdAdd, x: up}) {
		c.discard()
		h.met.upgrade(upgradeError)
		return false
	}
	if !q.echo && up.refusal == nil {
		h.logConn("connected", c)
	}
	return true
}

// answer writes the 101 and takes what was read beyond the request.
func answer(nc net.Conn, rw *bufio.ReadWriter, q *request, timeout time.Duration) (early []byte, err error) {
	sum := sha1.Sum([]byte(q.r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see import
	b := make([]byte, 0, 256)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	b = append(b, "\r\n"...)
	if q.name != "" {
		b = append(b, "Sec-WebSocket-Protocol: "+q.name+"\r\n"...)
	}
	if t := q.answer.Get("Refresh-Token"); t != "" {
		b = append(b, "Refresh-Token: "+t+"\r\n"...)
	}
	b = append(b, "\r\n"...)
	if err := nc.SetDeadline(time.Now().Add(timeout)); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if _, err := nc.Write(b); err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	if n := rw.Reader.Buffered(); n > 0 {
		early = make([]byte, n)
		if _, err := rw.Read(early); err != nil {
			return nil, fmt.Errorf("upgrade: %w", err)
		}
	}
	return early, nil
}

// refuse answers a request that is not upgraded, as RFC 9457 problem.
func (h *Hub) refuse(w http.ResponseWriter, result upgradeResult, status int, code push.Code, detail string) {
	h.met.upgrade(result)
	info := code.Info()
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	body, err := json.Marshal(map[string]any{
		"type": "/problems/" + info.Name, "title": info.Title, "status": status, "detail": detail,
		"code": int(code), "retryable": info.Retryable, "request_id": w.Header().Get("X-Request-Id"),
	})
	if err != nil {
		h.log.Error("problem not encoded", "err", err)
		return
	}
	if _, err := w.Write(append(body, '\n')); err != nil {
		h.log.Debug("problem not written", "err", err)
	}
}
