package cluster

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what goes between nodes. Labels come from fixed sets.
type metrics struct {
	nodes   prometheus.Gauge
	hints   *prometheus.CounterVec // by outcome
	letters *prometheus.CounterVec // by direction
	covers  *prometheus.CounterVec // by outcome
	errors  *prometheus.CounterVec // by what
	closed  *prometheus.CounterVec // by why
	tokens  *prometheus.CounterVec // by source
	resyncs prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sunzi_cluster_" + name, Help: help}, []string{label})
		for _, x := range values {
			v.WithLabelValues(x)
		}
		reg.MustRegister(v)
		return v
	}
	m := &metrics{
		nodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sunzi_cluster_nodes", Help: "Living nodes as of the last beat, this one included."}),
		hints:   vec("hints_total", "Clients that were hinted to other nodes; had no session elsewhere; were dropped by a full queue, by Redis, or for a node that did not hear.", "outcome", "sent", "nobody", "dropped"),
		letters: vec("letters_total", "Letters between nodes: sent, received, dropped by a full outbox, by Redis or because nobody heard, not understood.", "outcome", "sent", "received", "dropped", "malformed"),
		covers:  vec("covers_total", "Covers of sealed frames for clients that are not here: sent to their node; had no session elsewhere; were dropped by a full queue, by Redis, or for a node that did not hear. Received: another node's, handed to sessions here.", "outcome", "sent", "nobody", "dropped", "received"),
		errors:  vec("redis_errors_total", "Calls of Redis that failed.", "call", "beat", "register", "lookup", "publish", "subscribe", "token", "limit"),
		closed:  vec("closed_total", "Sessions closed for another node: a newer session there, one of unknown order, or asked for.", "why", "replaced", "unsettled", "asked"),
		tokens:  vec("tokens_total", "Token look-ups by who answered them.", "source", "cache", "store", "refused"),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_cluster_resyncs_total", Help: "Times that all clients of this node were registered again."}),
	}
	reg.MustRegister(m.nodes, m.resyncs)
	return m
}
