package store

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NewMetrics registers the store's metrics and answers the hooks that feed
// them. A name that is registered already is a programmer's error and panics.
func NewMetrics(r prometheus.Registerer) Metrics {
	took := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "sunzi_store_commit_seconds",
		Help:    "Time of a commit group, from BEGIN until COMMIT has returned.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 13),
	})
	size := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "sunzi_store_commit_operations",
		Help:    "Operations that shared a commit group.",
		Buckets: prometheus.ExponentialBuckets(1, 2, 11),
	})
	failed := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sunzi_store_rollbacks_total",
		Help: "Commit groups that were rolled back.",
	})
	waiting := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "sunzi_store_waiting_operations",
		Help: "Operations left waiting when the last commit group was taken.",
	})
	r.MustRegister(took, size, failed, waiting)
	return Metrics{
		Committed: func(n int, d time.Duration) {
			size.Observe(float64(n))
			took.Observe(d.Seconds())
		},
		Failed:  failed.Inc,
		Waiting: func(n int) { waiting.Set(float64(n)) },
	}
}
