package control_test

import (
	"net/http/httptest"
	"testing"
)

// BenchmarkRead is a whole authenticated read over a ledger in memory: checks, handler, record, answer.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b)
	h := w.api.Handler()
	r := w.request("GET", "/api/v1/whoami", w.viewer, "")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}

// BenchmarkRefused is what a stranger costs.
func BenchmarkRefused(b *testing.B) {
	w := newWorld(b)
	h := w.api.Handler()
	r := w.request("GET", "/api/v1/whoami", "ak_live_nonsense", "")
	b.ReportAllocs()
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
