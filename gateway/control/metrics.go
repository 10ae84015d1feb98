package control

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// maxGauges bounds what other packages may show here.
const maxGauges = 512

// metricName is what a metric may be called: what every scraper reads without quoting.
var metricName = regexp.MustCompile(`^[a-z][a-z0-9_]{2,99}$`)

// Gauge is one number of another package's Stats, read when metrics are scraped. Labels are fixed: nothing a caller
// chooses may become one, or callers could fill the memory of whoever scrapes.
type Gauge struct {
	Name    string // as gatewright_ledger_records_total
	Help    string
	Labels  map[string]string
	Counter bool // it only grows
	Value   func() float64
}

// maxSeries bounds what one Family may show at a time.
const maxSeries = 2000

// Family is numbers of another package whose labels are not known beforehand: tenants, which admins of the gateway make. As
// for a Gauge, no caller may choose a label's value.
type Family struct {
	Name    string
	Help    string
	Labels  []string // names
	Counter bool
	Values  func(emit func(v float64, labels ...string)) // called when metrics are scraped; labels in the order of Labels
}

// family is a Family as prometheus collects it.
type family struct {
	Family
	desc *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (f family) Describe(ch chan<- *prometheus.Desc) { ch <- f.desc }

// Collect implements prometheus.Collector.
func (f family) Collect(ch chan<- prometheus.Metric) {
	kind, n := prometheus.GaugeValue, 0
	if f.Counter {
		kind = prometheus.CounterValue
	}
	f.Values(func(v float64, labels ...string) {
		if n++; n > maxSeries {
			return
		}
		if m, err := prometheus.NewConstMetric(f.desc, kind, v, labels...); err == nil {
			ch <- m
		}
	})
}

// metrics are this port's own numbers and the gauges it was given. Labels come from the route table, from status codes
// and from the closed list of refusal codes.
type metrics struct {
	handler  http.Handler
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	refusals *prometheus.CounterVec
}

func newMetrics(gauges []Gauge, families []Family) (*metrics, error) {
	if len(gauges) > maxGauges {
		return nil, fmt.Errorf("metrics: %d gauges exceed %d", len(gauges), maxGauges)
	}
	registry := prometheus.NewRegistry()
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewright_control_requests_total", Help: "Authenticated control calls by route and status."}, []string{"op", "status"}),
		seconds:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gatewright_control_seconds", Help: "Time of authenticated control calls, in seconds.", Buckets: []float64{.001, .005, .02, .1, .5, 2, 10}}, []string{"op"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatewright_control_refused_total", Help: "Control requests refused before a caller was known, by reason."}, []string{"code"}),
	}
	all := []prometheus.Collector{m.requests, m.seconds, m.refusals, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	for _, g := range gauges {
		if !metricName.MatchString(g.Name) || g.Value == nil {
			return nil, fmt.Errorf("metrics: %q is no metric", g.Name)
		}
		opts := prometheus.Opts{Name: g.Name, Help: g.Help, ConstLabels: g.Labels}
		if g.Counter {
			all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts(opts), g.Value))
			continue
		}
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), g.Value))
	}
	for _, f := range families {
		if !metricName.MatchString(f.Name) || f.Values == nil {
			return nil, fmt.Errorf("metrics: %q is no metric", f.Name)
		}
		all = append(all, family{f, prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)})
	}
	for _, c := range all {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	m.handler = promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
	return m, nil
}

func (m *metrics) served(route *Route, status int, took time.Duration) {
	op := "unmatched"
	if route != nil {
		op = route.Op
	}
	m.requests.WithLabelValues(op, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(op).Observe(took.Seconds())
}

func (m *metrics) refused(code string) { m.refusals.WithLabelValues(code).Inc() }
