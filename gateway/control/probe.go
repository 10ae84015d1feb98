package control

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
)

// probe answers what is not part of the API: liveness, readiness, the document, metrics and profiles. Whoever comes
// here may have it: the route is open, the peer is on this machine, or the call is authorized and recorded.
func (a *API) probe(w http.ResponseWriter, r *http.Request, route *Route) {
	switch route.Op {
	case "healthz":
		status(w, http.StatusOK, "ok")
	case "readyz":
		a.ready(w)
	case "openapi":
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(a.spec) // the client may be gone
	case "metrics":
		if !a.cfg.Metrics {
			notFound().write(w)
			return
		}
		a.metrics.handler.ServeHTTP(w, r)
	case "profile":
		a.profile(w, r, route.target(r.URL.Path))
	default:
		notFound().write(w)
	}
}

// ready says whether calls are served; why not is for the log, since anybody may ask.
func (a *API) ready(w http.ResponseWriter) {
	if a.deps.Ready != nil {
		if err := a.deps.Ready(); err != nil {
			a.log.Warn("not ready", "error", err)
			status(w, http.StatusServiceUnavailable, "not ready")
			return
		}
	}
	status(w, http.StatusOK, "ready")
}

// profile serves the runtime's profiles, without its index page and without the command line.
func (a *API) profile(w http.ResponseWriter, r *http.Request, name string) {
	if !a.cfg.Profiles {
		notFound().write(w)
		return
	}
	switch name {
	case "profile":
		pprof.Profile(w, r)
	case "trace":
		pprof.Trace(w, r)
	case "symbol":
		pprof.Symbol(w, r)
	case "heap", "goroutine", "allocs", "block", "mutex", "threadcreate":
		pprof.Handler(name).ServeHTTP(w, r)
	default:
		notFound().write(w)
	}
}

func status(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // the client may be gone
}
