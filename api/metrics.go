package api

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what the API counts. Labels come from the route table and from
// fixed lists, all of them at zero from the start.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
	ended    *prometheus.CounterVec // streams
	events   *prometheus.CounterVec

	routes map[string]bool // static
}

var (
	classes       = []string{"1xx", "2xx", "3xx", "4xx", "5xx"}
	streamEnds    = []string{"gone", "write", "closed", "store", "expired", "draining"}
	streamEvents  = []string{"message", "gap", "notice", "other"}
	requestTimes  = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	streamingOnly = "GET /v1/events" // its duration says nothing of latency
)

func newMetrics(reg prometheus.Registerer, names []string, streams func() float64) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_http_requests_total", Help: "HTTP requests by route and class of status.",
		}, []string{"route", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "sunzi_http_request_seconds", Help: "Time from a request's head to the end of its answer.", Buckets: requestTimes,
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "sunzi_http_requests_in_flight", Help: "HTTP requests that run now, event streams included."}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sunzi_http_panics_total", Help: "Requests that ended in a panic."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_sse_ended_total", Help: "Event streams that ended, by why.",
		}, []string{"why"}),
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sunzi_sse_events_total", Help: "Events sent on event streams, by kind.",
		}, []string{"kind"}),
		routes: map[string]bool{other: true},
	}
	for _, n := range append(names, other) {
		m.routes[n] = true
		for _, c := range classes {
			m.requests.WithLabelValues(n, c)
		}
		if n != streamingOnly {
			m.seconds.WithLabelValues(n)
		}
	}
	for _, why := range streamEnds {
		m.ended.WithLabelValues(why)
	}
	for _, kind := range streamEvents {
		m.events.WithLabelValues(kind)
	}
	reg.MustRegister(m.requests, m.seconds, m.inFlight, m.panics, m.ended, m.events,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sunzi_sse_streams", Help: "Event streams that are open now."}, streams))
	return m
}

func (m *metrics) known(route string) bool { return m.routes[route] }

func (m *metrics) done(route string, status int, took time.Duration) {
	class := classes[min(max(status/100, 1), 5)-1]
	m.requests.WithLabelValues(route, class).Inc()
	if route != streamingOnly {
		m.seconds.WithLabelValues(route).Observe(took.Seconds())
	}
}
