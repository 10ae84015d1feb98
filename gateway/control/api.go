package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxCredential bounds the Authorization header's value, in bytes: an API key has below 100.
const maxCredential = 256

// Deps is everything the API stands on. All fields are required but Exports and Subjects (nil: nothing is exported), Connectors, Approvals, Devices, Terms, Usage
// and Witness (nil: there are none), Gauges, Families, Strangers and Ready (nil means ready).
type Deps struct {
	Directory  Directory
	Catalogue  Catalogue
	Connectors Connectors
	Logins     UpstreamLogins // nil: no server takes tokens
	Plans      Plans
	Approvals  Approvals
	Devices    Devices
	Sessions   Sessions // nil: there are none
	Seals      Seals    // nil: nothing is sealed
	Terms      Terms
	Usage      Usage
	Ledger     Ledger
	Exports    Exports
	Subjects   Subjects
	Proofs     Proofs // nil: nothing is published
	LogFiles   LogFiles
	Witness    Witness
	Sinks      Sinks     // nil: there are none
	Retention  Retention // nil: everything is kept
	Bundles    Bundles
	Revisions  Revisions // nil: none are kept
	Vault      Vault
	Strangers  Strangers
	Gauges     []Gauge
	Families   []Family
	Filters    Filters      // nil: none can be uploaded
	Policies   Policies     // zero: changes of policy are not judged
	Ready      func() error // nil when calls are served; else why not, shown to nobody but the log
	Now        func() time.Time
	Rand       io.Reader
	Log        *slog.Logger
}

// Strangers counts refusals of callers who showed no valid credential; pipeline.Strangers is the one both ports share.
type Strangers interface {
	Note(addr netip.Addr, code pipeline.Code, at time.Time)
}

var _ Strangers = (*pipeline.Strangers)(nil)

// API answers the control port.
type API struct {
	cfg     Config
	deps    Deps
	log     *slog.Logger
	guard   guard
	mux     *http.ServeMux
	byPat   map[string]*Route
	cursors cursors
	replays *replays
	flows   flows // answers that flow
	compile turn  // who compiles a bundle that a request brought
	metrics *metrics
	spec    []byte      // the OpenAPI document
	lame    atomic.Bool // the last answer of readyz was no
}

// fill has parts that an installation does without refuse what is asked of them.
func (deps *Deps) fill() {
	if deps.Sessions == nil {
		deps.Sessions = noSessions{}
	}
	if deps.Seals == nil {
		deps.Seals = noSessions{}
	}
	if deps.Connectors == nil {
		deps.Connectors = noConnectors{}
	}
	if deps.Logins == nil {
		deps.Logins = noUpstreamLogins{}
	}
	if deps.Exports == nil || deps.Subjects == nil {
		deps.Exports = noExports{}
	}
	if deps.Filters == nil {
		deps.Filters = noFilters{}
	}
	if deps.Revisions == nil {
		deps.Revisions = noRevisions{}
	}
	if deps.Terms == nil {
		deps.Terms = noTerms{}
	}
	if deps.Usage == nil {
		deps.Usage = noUsage{}
	}
	if deps.Approvals == nil {
		deps.Approvals = noApprovals{}
	}
	if deps.Sinks == nil {
		deps.Sinks = noSinks{}
	}
	if deps.Retention == nil {
		deps.Retention = noRetention{}
	}
	if deps.Proofs == nil {
		deps.Proofs = noProofs{}
	}
	if deps.Witness == nil {
		deps.Witness = noWitness{}
	}
	if deps.Devices == nil {
		deps.Devices = noDevices{}
	}
}

// New builds the API. It fails on a bad config, a missing part, or a route without a handler.
func New(cfg Config, deps Deps) (*API, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if deps.Directory == nil || deps.Catalogue == nil || deps.Plans == nil || deps.Ledger == nil || deps.Bundles == nil ||
		deps.Vault == nil || deps.Now == nil || deps.Rand == nil || deps.Log == nil {
		return nil, errors.New("control: a part is missing")
	}
	deps.fill()
	g, err := parseGuard(cfg)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	key := make([]byte, 32)
	if _, err := io.ReadFull(deps.Rand, key); err != nil {
		return nil, fmt.Errorf("control: make a cursor key: %w", err)
	}
	a := &API{
		compile: make(turn, 1),
		cfg:     cfg, deps: deps, log: deps.Log, guard: g, mux: http.NewServeMux(), byPat: map[string]*Route{},
		cursors: cursors{key}, replays: newReplays(cfg.ReplayEntries, cfg.ReplayFor),
	}
	if a.metrics, err = newMetrics(deps.Gauges, deps.Families); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := a.mount(); err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	return a, nil
}

// Handler is the whole port.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serve) }

// OpenAPI is the document as served.
func (a *API) OpenAPI() []byte { return slices.Clone(a.spec) }

// secure sets what every answer of this port carries, refusals too.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// serve walks the row of checks in the package's comment.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	start := a.deps.Now()
	secure(w.Header())
	if len(r.TransferEncoding) > 0 {
		// No route takes a chunked body, and net/http hides a Content-Length beside it (RFC 9112, 6.3): whatever else
		// is on this connection, two readers may cut it differently.
		w.Header().Set("Connection", "close")
	}
	if strings.HasPrefix(r.URL.Path, oauthPrefix) {
		a.serveOAuth(w, r)
		return
	}
	if p := a.guard.check(r); p != nil {
		a.metrics.refused(p.Code)
		p.write(w)
		return
	}
	if strings.HasPrefix(r.URL.Path, witnessPrefix) {
		a.serveWitness(w, r)
		return
	}
	route := a.match(r)
	if route != nil && (route.Open || route.Loopback && direct(r)) {
		a.probe(w, r, route)
		return
	}
	c, p := a.identify(r, route, start)
	if p != nil {
		a.metrics.refused(p.Code)
		if p.Status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gatewright"`)
		}
		p.write(w)
		return
	}
	out := newAnswer()
	stream := a.run(out, r, c)
	if c.stream != nil {
		a.serveFlow(w, r, c, out, start)
		return
	}
	c.finish(r.Context(), out)
	a.release(c, out)
	a.metrics.served(c.route, out.status, a.deps.Now().Sub(start))
	if stream && !c.broken {
		w.Header().Set("Gatewright-Record", c.id)
		a.probe(w, r, route)
		return
	}
	out.send(w)
}

// match finds the row for a request; nil when there is none. ServeMux hands HEAD to the GET row: only open rows, which
// anybody may get, take it.
func (a *API) match(r *http.Request) *Route {
	_, pattern := a.mux.Handler(r)
	route := a.byPat[pattern]
	switch {
	case route == nil, r.Method == http.MethodHead && !route.Open:
		return nil
	case route.Op == "get-log-file" && strings.Count(r.URL.Path, "/") < 4: // the mux would redirect to a path with a slash
		return nil
	case route.Op == "metrics" && !a.cfg.Metrics, route.Op == "profile" && (!a.cfg.Profiles || profileOf(r) == nil):
		return nil
	}
	return route
}

// identify turns the one Bearer key into a caller. Every way it can fail gives the same answer.
func (a *API) identify(r *http.Request, route *Route, start time.Time) (*call, *problem) {
	addr := a.guard.client(r)
	caller, err := a.authenticate(r)
	if err != nil || !caller.Valid() {
		if a.deps.Strangers != nil {
			a.deps.Strangers.Note(addr, pipeline.Unauthenticated, start)
		}
		return nil, refuse(http.StatusUnauthorized, "unauthenticated", "this needs a valid key", "send Authorization: Bearer with a management key")
	}
	id, err := ledger.NewID(start, a.deps.Rand)
	if err != nil {
		a.log.Error("control call without a record id", "error", err)
		return nil, auditUnavailable()
	}
	c := &call{api: a, caller: caller, route: route, method: method(r.Method), addr: addr, id: id, start: start}
	if route != nil {
		c.target = route.target(r.URL.Path)
	}
	return c, nil
}

var errNoCredential = errors.New("no single bearer credential")

func (a *API) authenticate(r *http.Request) (identity.Caller, error) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 || len(values[0]) > maxCredential {
		return identity.Caller{}, errNoCredential
	}
	scheme, key, ok := strings.Cut(values[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || key == "" {
		return identity.Caller{}, errNoCredential
	}
	return a.deps.Directory.Authenticate([]byte(key), a.deps.Now())
}

// method is a request's method as a record may hold it.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

// run answers an identified call into out and never lets a panic through. It reports whether the answer is a stream
// that starts once the call is recorded.
func (a *API) run(out *answer, r *http.Request, c *call) (stream bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		a.log.Error("control call panicked", "record", c.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		c.refuse(out, internal())
		stream = false
	}()
	if p := a.authorize(r, c); p != nil {
		c.refuse(out, p)
		return false
	}
	if c.route.Loopback {
		out.WriteHeader(http.StatusOK)
		return true
	}
	body, p := a.readBody(r, c.route)
	if p != nil {
		c.refuse(out, p)
		out.header.Set("Connection", "close") // what is left of the body is not worth reading
		return false
	}
	c.commit(body)
	a.apply(out, r, c, body)
	return false
}

// refuse answers with p under the call's record id.
func (c *call) refuse(out *answer, p *problem) {
	p.Record, c.code = c.id, p.Code
	out.replace(p)
}

// authorize is law: kind of key, tenant, route, role, in this order.
func (a *API) authorize(r *http.Request, c *call) *problem {
	if !slices.Contains(managementKeys, c.caller.Kind()) {
		return refuse(http.StatusForbidden, "wrong_key_kind", "a runtime key opens no management route", "use a management key; an agent's calls go to the data port (GATEWRIGHT_URL)")
	}
	for _, org := range r.Header.Values("X-Organization-Id") {
		if org != c.caller.Tenant() {
			return refuse(http.StatusForbidden, "organization_mismatch", "X-Organization-Id names another organisation than the key's", "leave the header out: the key decides")
		}
	}
	if c.route == nil {
		return a.unmatched(r)
	}
	return permitted(c.route, c.caller)
}

// permitted asks the row of the table.
func permitted(route *Route, who identity.Caller) *problem {
	if !slices.Contains(route.Kinds, who.Kind()) || !slices.Contains(route.Roles, who.Role()) {
		return refuse(http.StatusForbidden, "role_denied", "the key's role may not do this", "ask somebody with the role "+strings.Join(roleNames(route.Roles), " or "))
	}
	if route.Instance && who.Tenant() != pipeline.InstanceTenant {
		return refuse(http.StatusForbidden, "instance_only", "this is for the operators of the gateway", "use a key of the gateway's own tenant")
	}
	if route.Organised && who.Tenant() == pipeline.InstanceTenant {
		return refuse(http.StatusConflict, "instance_tenant", "the gateway's own organisation has no agents and no servers",
			"make an organisation (gatewright organisation create ID, or POST /api/v1/organisations), and use its admin's key")
	}
	return nil
}

// unmatched tells a wrong method from a wrong path.
func (a *API) unmatched(r *http.Request) *problem {
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		if m != r.Method && a.match(&http.Request{Method: m, Host: r.Host, URL: r.URL}) != nil {
			return refuse(http.StatusMethodNotAllowed, "method_not_allowed", "this path does not take this method", "see /openapi.json")
		}
	}
	return notFound()
}

// apply hands the request to its handler, once per Idempotency-Key.
func (a *API) apply(out *answer, r *http.Request, c *call, body []byte) {
	key, p := replayKeyOf(r, c)
	if p != nil {
		c.refuse(out, p)
		return
	}
	if key.chosen != "" {
		kept, p := a.replays.enter(key, requestDigest(r, body), c.id, a.deps.Now())
		if p != nil {
			c.refuse(out, p)
			return
		}
		if kept != nil {
			c.replay = kept.record
			*out = *kept.answer.copy()
			out.header.Set("Idempotency-Replayed", "true")
			return
		}
		c.claim = &key
	}
	a.dispatch(out, r, c, body)
}

// release ends the claim on an Idempotency-Key, once the answer is final. A call that did not come to its intent had no
// effect and may be tried again; any other keeps its answer, also when that says that the outcome is unknown.
func (a *API) release(c *call, out *answer) {
	if c.claim == nil {
		return
	}
	if !c.intent {
		a.replays.leave(*c.claim, nil, false)
		return
	}
	a.replays.leave(*c.claim, out, c.route.Sensitive && out.status < http.StatusBadRequest)
}

// dispatch runs the handler through the mux. A change that has begun is not cut short by the client hanging up; what is
// made for the client alone is.
func (a *API) dispatch(out *answer, r *http.Request, c *call, body []byte) {
	ctx := r.Context()
	if c.route.Writes && c.route.Media == "" {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, callKey{}, c), callTime)
	defer cancel()
	req := r.WithContext(ctx)
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	a.mux.ServeHTTP(out, req)
}

func roleNames(roles []identity.Role) []string {
	out := make([]string, len(roles))
	for i, r := range roles {
		out[i] = string(r)
	}
	return out
}
