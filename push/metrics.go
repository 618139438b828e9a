package push

import "github.com/prometheus/client_golang/prometheus"

// Metrics counts what the domain does. All labels come from fixed sets and
// start at zero.
type Metrics struct {
	pushes      *prometheus.CounterVec // by outcome
	targets     *prometheus.CounterVec // by state
	acks        prometheus.Counter
	failed      prometheus.Counter
	ackFlushes  prometheus.Counter
	replayPages prometheus.Counter
	liveDropped prometheus.Counter
	covers      prometheus.Counter
	opened      *prometheus.CounterVec // by kind
	accept      prometheus.Histogram
	acceptToAck prometheus.Histogram
	chores      *prometheus.CounterVec // by chore, outcome
}

var (
	pushOutcomes = []string{"accepted", "duplicate", "scheduled", "expanding", "refused", "unavailable"}
	targetStates = []string{"stored", "live", "missed", "rejected", "cancelled"}
	// latencies run from a tenth of a millisecond to a week: acks of
	// clients that were away belong in it.
	latencies = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600, 3600, 86400, 604800}
)

// NewMetrics registers the domain's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_pushes_total", Help: "Pushes by what became of the request."}, []string{"outcome"}),
		targets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_push_targets_total", Help: "Targets of pushes: entries stored, live-only messages handed over or missed, targets rejected, entries cancelled."}, []string{"state"}),
		acks: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_acks_total", Help: "Ack messages taken from clients."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_dead_letters_total", Help: "Entries that clients gave up on."}),
		ackFlushes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_ack_flushes_total", Help: "Times that gathered acks were written."}),
		replayPages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_replay_pages_total", Help: "Pages read from mailboxes for sessions."}),
		liveDropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_live_dropped_total", Help: "store=never messages that a full session could not take."}),
		covers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_seal_covers_total", Help: "Sealed frames of this node handed to its sessions that have no message in them."}),
		accept: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sunzi_accept_seconds", Help: "Time from a push's validation to its durable answer.", Buckets: latencies}),
		acceptToAck: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sunzi_accept_to_ack_seconds", Help: "Time from acceptance to the client's ack, sampled.", Buckets: latencies}),
		chores: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_chores_total", Help: "Steps of periodic work."}, []string{"chore", "outcome"}),
	}
	m.opened = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sunzi_sessions_opened_total", Help: "Sessions that were welcomed: new clients', and those of clients that came back."}, []string{"kind"})
	for _, k := range []string{"new", "returning"} {
		m.opened.WithLabelValues(k)
	}
	reg.MustRegister(m.opened)
	for _, o := range pushOutcomes {
		m.pushes.WithLabelValues(o)
	}
	for _, s := range targetStates {
		m.targets.WithLabelValues(s)
	}
	for _, c := range choreNames {
		m.chores.WithLabelValues(c, "done")
		m.chores.WithLabelValues(c, "failed")
	}
	reg.MustRegister(m.pushes, m.targets, m.acks, m.failed, m.ackFlushes, m.replayPages, m.liveDropped, m.covers, m.accept, m.acceptToAck, m.chores)
	return m
}
