package control

import (
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"path"
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
		a.metrics.handler.ServeHTTP(w, r)
	case "profile":
		if h := profileOf(r); h != nil {
			h.ServeHTTP(w, r)
			return
		}
		notFound().write(w)
	default:
		notFound().write(w)
	}
}

// ready says whether calls are served. Why not is for the log, once, since anybody may ask and as often as they like.
func (a *API) ready(w http.ResponseWriter) {
	var err error
	if a.deps.Ready != nil {
		err = a.deps.Ready()
	}
	if before := a.lame.Swap(err != nil); err != nil {
		if !before {
			a.log.Warn("not ready", "error", err)
		}
		status(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	status(w, http.StatusOK, "ready")
}

// profileOf finds the runtime profile a path names; nil when there is none. The index page and the command line, which
// may hold secrets, are left out.
func profileOf(r *http.Request) http.Handler {
	switch name := path.Base(r.URL.Path); name {
	case "profile":
		return http.HandlerFunc(pprof.Profile)
	case "trace":
		return http.HandlerFunc(pprof.Trace)
	case "symbol":
		return http.HandlerFunc(pprof.Symbol)
	case "heap", "goroutine", "allocs", "block", "mutex", "threadcreate":
		return pprof.Handler(name)
	}
	return nil
}

func status(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"status": text}) // the client may be gone
}
