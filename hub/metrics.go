package hub

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sunzi-push/sunzi/api/wire"
	"github.com/sunzi-push/sunzi/push"
)

// counters are one loop's. The loop writes them, mostly alone, so that an
// atomic add costs no more than its own cache line; scrapes add the loops up.
type counters struct {
	open, sockets, queued, slow atomic.Int64 // gauges
	lastMsg, lastBeat           atomic.Int64 // unix ms

	turns, commands          atomic.Uint64
	writes, bytesIn          atomic.Uint64
	bytesOut                 atomic.Uint64
	pingsIn, pingsOut        atomic.Uint64
	pongsIn, pongsOut        atomic.Uint64
	pongTimeouts             atomic.Uint64
	slowCloses, rateStops    atomic.Uint64
	malformed, fetches       atomic.Uint64
	replays, replayed, ended atomic.Uint64 // started; messages; complete
	sealed, covers, session  atomic.Uint64 // frames with a place, without, and for one session alone

	in     [typeCount]atomic.Uint64
	out    [typeCount]atomic.Uint64
	drops  [dropCount]atomic.Uint64
	closes [len(closeCodes) + 1][byCount]atomic.Uint64
}

const typeCount = int(wire.TypeSealed) + 1

// dropReason says why a live-only message or a notice was not sent. Messages
// of mailboxes are never dropped.
type dropReason uint8

const (
	dropGone      dropReason = iota // the session ended
	dropNotOpen                     // no welcome yet
	dropReplaying                   // sealed, and the replay is not over
	dropFull                        // the outbound limit is reached
	dropBusy                        // the loop is far behind
	dropEncoding                    // the body can't be encoded
	dropUnsealed                    // it has to be sealed, and the session does not seal so
	dropCount
)

var dropNames = [dropCount]string{"gone", "not_open", "replaying", "full", "busy", "encoding", "unsealed"}

// closer says who ended a connection.
type closer uint8

const (
	byServer closer = iota // our close frame was first
	byPeer                 // the peer's was
	byNobody               // the stream ended without one
	byCount
)

var closerNames = [byCount]string{"server", "client", "none"}

// closeCodes are the codes that are counted by name; what a peer makes up is
// counted as other.
var closeCodes = [...]push.CloseCode{
	push.CloseNormal, push.CloseGoingAway, push.CloseProtocolError, push.CloseUnsupported, 1005, codeAbnormal,
	push.CloseInvalidUTF8, push.CloseTooBig, push.CloseInternal,
	push.CloseUnauthorized, push.CloseMalformed, push.CloseTokenExpired, push.CloseTokenRevoked,
	push.CloseDisconnected, push.CloseDeleted, push.CloseReplaced, push.CloseForbidden,
	push.CloseTryLater, push.CloseAuthDown, push.CloseSlow, push.CloseTooMany, push.ClosePongTimeout,
	push.CloseIdle, push.CloseHelloTimeout, push.CloseMessageTimeout,
	push.CloseDraining, push.CloseRestored,
}

// count counts c's close, once.
func (c *conn) count(code push.CloseCode, by closer) {
	if c.has(flagCounted) {
		return
	}
	c.flags |= flagCounted
	i := len(closeCodes)
	for j, known := range closeCodes {
		if known == code {
			i = j
		}
	}
	c.loop.count.closes[i][by].Add(1)
	c.logClose(code, by)
}

type upgradeResult uint8

const (
	upgradeOK       upgradeResult = iota
	upgradeRefused                // credentials; closed after the handshake
	upgradeBad                    // no proper upgrade request
	upgradeOrigin                 // forbidden origin
	upgradeLimited                // connection limit or rate
	upgradeDraining               // shutting down
	upgradeError                  // trouble here, or the peer left
	upgradeCount
)

var upgradeNames = [upgradeCount]string{"ok", "refused", "bad_request", "forbidden_origin", "limited", "draining", "error"}

// metrics collects the loops' counters when it is scraped. All series exist
// from the start.
type metrics struct {
	hub      *Hub
	upgrades [upgradeCount]atomic.Uint64
	rows     []row
}

// row is one series: how to read it from a loop, or from the hub.
type row struct {
	desc   *prometheus.Desc
	kind   prometheus.ValueType
	labels []string
	loop   func(*counters) float64
	hub    func() float64
}

func (m *metrics) upgrade(r upgradeResult) { m.upgrades[r].Add(1) }

func newMetrics(h *Hub) *metrics {
	m := &metrics{hub: h}
	m.connectionRows()
	m.messageRows()
	m.loopRows()
	return m
}

func (m *metrics) connectionRows() {
	conns := desc("sunzi_connections", "Open sessions by transport.", "transport")
	m.gauge(conns, func(c *counters) float64 { return float64(c.open.Load()) }, "websocket")
	m.rows = append(m.rows, row{desc: conns, kind: prometheus.GaugeValue, labels: []string{"sse"},
		hub: func() float64 { return float64(m.hub.table.others.Load()) }})
	m.gauge(desc("sunzi_hub_sockets", "Sockets on the loops, those being closed and echoes included."),
		func(c *counters) float64 { return float64(c.sockets.Load()) })
	up := desc("sunzi_upgrades_total", "WebSocket upgrade requests by result.", "result")
	for r, name := range upgradeNames {
		m.rows = append(m.rows, row{desc: up, kind: prometheus.CounterValue, labels: []string{name},
			hub: func() float64 { return float64(m.upgrades[r].Load()) }})
	}
	closes := desc("sunzi_closes_total", "Ended connections by close code and by who closed first.", "code", "by")
	for i := range len(closeCodes) + 1 {
		name := "other"
		if i < len(closeCodes) {
			name = strconv.Itoa(int(closeCodes[i]))
		}
		for by, who := range closerNames {
			m.counter(closes, func(c *counters) uint64 { return c.closes[i][by].Load() }, name, who)
		}
	}
	m.counter(desc("sunzi_pong_timeouts_total", "Connections closed because a ping was not answered."),
		func(c *counters) uint64 { return c.pongTimeouts.Load() })
	beats := desc("sunzi_heartbeats_total", "RFC 6455 pings and pongs by kind and direction.", "kind", "direction")
	m.counter(beats, func(c *counters) uint64 { return c.pingsIn.Load() }, "ping", "in")
	m.counter(beats, func(c *counters) uint64 { return c.pingsOut.Load() }, "ping", "out")
	m.counter(beats, func(c *counters) uint64 { return c.pongsIn.Load() }, "pong", "in")
	m.counter(beats, func(c *counters) uint64 { return c.pongsOut.Load() }, "pong", "out")
	m.newest(desc("sunzi_last_message_timestamp_seconds", "When the last message came or went on any connection; 0: none since the start."),
		func(c *counters) int64 { return c.lastMsg.Load() })
	m.newest(desc("sunzi_last_heartbeat_timestamp_seconds", "When the last ping or pong was heard on any connection; 0: none since the start."),
		func(c *counters) int64 { return c.lastBeat.Load() })
	m.gauge(desc("sunzi_slow_sessions", "Sessions at their outbound limit."),
		func(c *counters) float64 { return float64(c.slow.Load()) })
	m.counter(desc("sunzi_slow_closes_total", "Sessions closed because they did not read."),
		func(c *counters) uint64 { return c.slowCloses.Load() })
	m.counter(desc("sunzi_rate_stops_total", "Times that reading from a connection stopped because it sent too much."),
		func(c *counters) uint64 { return c.rateStops.Load() })
}

func (m *metrics) messageRows() {
	in := desc("sunzi_messages_in_total", "Messages from clients by type.", "type")
	for _, t := range append([]wire.Type{wire.TypeUnknown}, wire.ClientTypes...) {
		m.counter(in, func(c *counters) uint64 { return c.in[t].Load() }, t.String())
	}
	m.counter(in, func(c *counters) uint64 { return c.malformed.Load() }, "malformed")
	out := desc("sunzi_messages_out_total", "Messages to clients by type.", "type")
	for _, t := range wire.ServerTypes {
		m.counter(out, func(c *counters) uint64 { return c.out[t].Load() }, t.String())
	}
	m.counter(desc("sunzi_replayed_messages_total", "Messages sent as replay, of all sent."),
		func(c *counters) uint64 { return c.replayed.Load() })
	sealed := desc("sunzi_sealed_frames_total", "Sealed frames sent, of all messages: of a mailbox, for one session alone (what was not stored sealed), or without a place (covers).", "place")
	m.counter(sealed, func(c *counters) uint64 { return c.sealed.Load() }, "mailbox")
	m.counter(sealed, func(c *counters) uint64 { return c.covers.Load() }, "none")
	m.counter(sealed, func(c *counters) uint64 { return c.session.Load() }, "session")
	replays := desc("sunzi_replays_total", "Replays by what they came to.", "state")
	m.counter(replays, func(c *counters) uint64 { return c.replays.Load() }, "started")
	m.counter(replays, func(c *counters) uint64 { return c.ended.Load() }, "complete")
	m.counter(desc("sunzi_mailbox_fetches_total", "Pages of mailboxes that sessions asked for."),
		func(c *counters) uint64 { return c.fetches.Load() })
	drops := desc("sunzi_live_drops_total", "Live-only messages and notices not sent, by reason.", "reason")
	for r, name := range dropNames {
		m.counter(drops, func(c *counters) uint64 { return c.drops[r].Load() }, name)
	}
}

func (m *metrics) loopRows() {
	bytes := desc("sunzi_socket_bytes_total", "Bytes read and written on WebSocket connections.", "direction")
	m.counter(bytes, func(c *counters) uint64 { return c.bytesIn.Load() }, "in")
	m.counter(bytes, func(c *counters) uint64 { return c.bytesOut.Load() }, "out")
	m.counter(desc("sunzi_socket_writes_total", "Calls to write."), func(c *counters) uint64 { return c.writes.Load() })
	m.gauge(desc("sunzi_outbound_queue_bytes", "Bytes that the kernel did not take yet."),
		func(c *counters) float64 { return float64(c.queued.Load()) })
	m.counter(desc("sunzi_loop_turns_total", "Turns of the event loops."), func(c *counters) uint64 { return c.turns.Load() })
	m.counter(desc("sunzi_loop_commands_total", "Commands that the turns took: over turns, how much one turn gathers."),
		func(c *counters) uint64 { return c.commands.Load() })
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func (m *metrics) counter(d *prometheus.Desc, f func(*counters) uint64, labels ...string) {
	m.rows = append(m.rows, row{desc: d, kind: prometheus.CounterValue, labels: labels,
		loop: func(c *counters) float64 { return float64(f(c)) }})
}

func (m *metrics) gauge(d *prometheus.Desc, f func(*counters) float64, labels ...string) {
	m.rows = append(m.rows, row{desc: d, kind: prometheus.GaugeValue, labels: labels, loop: f})
}

// newest is the latest of the loops' times, in seconds.
func (m *metrics) newest(d *prometheus.Desc, f func(*counters) int64) {
	m.rows = append(m.rows, row{desc: d, kind: prometheus.GaugeValue, hub: func() float64 {
		latest := int64(0)
		for _, l := range m.hub.loops {
			latest = max(latest, f(&l.count))
		}
		return float64(latest) / 1000
	}})
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	var last *prometheus.Desc
	for _, r := range m.rows {
		if r.desc != last {
			ch <- r.desc
			last = r.desc
		}
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, r := range m.rows {
		v := 0.0
		if r.hub != nil {
			v = r.hub()
		} else {
			for _, l := range m.hub.loops {
				v += r.loop(&l.count)
			}
		}
		ch <- prometheus.MustNewConstMetric(r.desc, r.kind, v, r.labels...)
	}
}
