package control_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/bundles"
	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/identity/ring"
	"github.com/gatewright/gatewright/gateway/identity/vault"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/plans"
	"github.com/gatewright/gatewright/gateway/retention"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/gateway/usage"
	"github.com/gatewright/gatewright/store"
	"github.com/gatewright/gatewright/store/storetest"
)

const (
	demo    = "demo"
	other   = "other"
	nowhere = "nowhere" // a tenant that does not exist
)

var errBroken = errors.New("broken disk")

// ids are things of one tenant that routes can name.
type ids struct{ user, agent, key, plan, token, server, secret, connector, approval, code, proposal, filter string }

// world is an API over a real directory, two tenants, and a key for everybody.
type world struct {
	witness   control.Witness // nil: there is none
	t         testing.TB
	exports   control.Exports
	proofs    control.Proofs
	noFiles   bool // no log is published
	keeper    *keeper
	sinks     sinkList
	families  []control.Family
	policies  control.Policies
	api       *control.API
	directory *identity.Directory
	log       *memoryLog
	plans     *plans.Register
	planLog   *memoryLog
	seals     *ring.Ring
	approvals *approvals.Register
	desk      *desk
	terms     *terms.Keeper
	usage     *usage.Register
	catalogue *catalogue.Catalogue
	upstream  *oneTool
	vault     *faultyVault
	bundles   *oneBundle
	revisions *bundles.Service
	processes *connectors
	filters   *tenantFilters
	strangers *counter
	clock     *clock
	slog      *bytes.Buffer
	notReady  atomic.Pointer[error]

	admin, viewer, runtime, otherAdmin, operator string
	expired, revoked, suspended                  string
	adminUser, viewerUser, managerUser, adminKey string
	agent                                        string
	byRole                                       map[identity.Role]string
	ids                                          map[string]ids
	owners                                       map[string]plans.Owner // of the tenants' plans
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldOver(t, storetest.NewMemory())
}

// newWorldOver keeps its rows in a store of one's choice.
func newWorldOver(t testing.TB, kept store.Store) *world {
	t.Helper()
	w := &world{
		t: t, log: newMemoryLog(), bundles: &oneBundle{}, processes: &connectors{}, filters: &tenantFilters{}, strangers: &counter{},
		clock: &clock{at: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)}, slog: &bytes.Buffer{}, byRole: map[identity.Role]string{}, ids: map[string]ids{}, owners: map[string]plans.Owner{},
	}
	secrets, err := vault.Open(t.Context(), kept, make([]byte, 32), rand.Reader)
	w.must(err)
	w.vault = &faultyVault{Vault: secrets}
	if w.directory, err = identity.Open(t.Context(), identity.DefaultConfig(), kept, make([]byte, 32), w.clock.now, rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.seals = ring.New(kept, time.Hour, w.clock.now, rand.Reader)
	w.populate()
	w.newCatalogue(kept)
	w.newPlans(kept)
	w.newDesk()
	w.newApprovals(kept)
	w.newTerms(kept)
	w.newRevisions(kept)
	w.witness = &peers{}
	w.exports = newShelf(t)
	w.proofs = &prover{log: w.log}
	w.policies = judging()
	w.keeper = &keeper{w: w, holds: map[string]retention.Hold{}}
	w.rebuild(w.log)
	return w
}

// rebuild makes the API over another ledger.
func (w *world) rebuild(log control.Ledger) {
	w.t.Helper()
	cfg := control.DefaultConfig()
	cfg.Hosts, cfg.Origins, cfg.TrustedProxies = []string{"control.example"}, []string{"https://console.example"}, []string{"10.0.0.0/8"}
	cfg.Profiles, cfg.ReplayEntries = true, 16
	ready := func() error {
		if err := w.notReady.Load(); err != nil {
			return *err
		}
		return nil
	}
	files := control.LogFiles{Read: shelfOf, Instance: "gw-1"}
	if w.noFiles {
		files = control.LogFiles{}
	}
	var own control.Filters
	if w.filters != nil {
		own = w.filters
	}
	var err error
	w.api, err = control.New(cfg, control.Deps{
		Seals:     w.seals,
		Filters:   own,
		Directory: w.directory, Catalogue: w.catalogue, Connectors: w.processes, Logins: signIns{w.catalogue}, Plans: w.plans, Approvals: w.approvals, Devices: w.desk, Terms: w.terms, Usage: w.usage, Ledger: log, Exports: w.exports, Proofs: w.proofs, LogFiles: files, Subjects: w.vault, Witness: w.witness, Retention: w.keeper, Sinks: w.sinks, Bundles: w.bundles, Revisions: w.revisions, Vault: w.vault, Families: w.families, Policies: w.policies,
		Strangers: w.strangers, Ready: ready, Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.NewTextHandler(&locked{w: w.slog}, nil)),
	})
	w.must(err)
}

// populate makes the instance's operator and two tenants.
func (w *world) populate() {
	ctx := w.t.Context()
	op, err := w.directory.Bootstrap(ctx, pipeline.InstanceTenant, identity.Seed{OrgName: "Gateway", Admin: "Op"})
	w.must(err)
	w.operator = op.AdminKey
	for _, tenant := range []string{demo, other} {
		seeded, err := w.directory.Bootstrap(ctx, tenant, identity.Seed{OrgName: "Org " + tenant, Admin: "Ada", Agent: "worker"})
		w.must(err)
		keys, err := w.directory.Keys(ctx, tenant)
		w.must(err)
		w.owners[tenant] = plans.Owner{Tenant: tenant, User: seeded.User.ID, Agent: seeded.Agent.ID}
		i := ids{user: seeded.User.ID, agent: seeded.Agent.ID, server: tenant + "-files", secret: tenant + "-secret", connector: tenant + "-connector", filter: tenant + "-filter"}
		for _, k := range keys {
			if k.Kind == identity.Runtime {
				i.key = k.ID
			} else if tenant == demo {
				w.adminKey = k.ID
			}
		}
		w.must(w.vault.Put(ctx, tenant, i.secret, []byte("x")))
		w.ids[tenant] = i
		if tenant == other {
			w.otherAdmin = seeded.AdminKey
			continue
		}
		w.admin, w.runtime, w.adminUser, w.agent = seeded.AdminKey, seeded.RuntimeKey, seeded.User.ID, seeded.Agent.ID
	}
	unknown := "00000000000000000000000000"
	w.ids[nowhere] = ids{
		user: "usr_" + unknown, agent: "agt_" + unknown, key: "key_" + unknown, plan: "pln_" + unknown, token: "tok_" + unknown,
		server: "no-files", secret: "no-secret", connector: "no-connector", filter: "no-filter", approval: "apr_" + unknown, code: "BBBB-BBBB", proposal: "prp_" + unknown,
	}
	w.people()
}

// people gives demo one of every role, and keys that no longer work.
func (w *world) people() {
	ctx := w.t.Context()
	w.byRole[identity.RoleAdmin] = w.admin
	for _, role := range []identity.Role{identity.RoleManager, identity.RoleMember, identity.RoleViewer} {
		u, err := w.directory.CreateUser(ctx, demo, identity.NewUser{Name: string(role), Role: role})
		w.must(err)
		_, text, err := w.directory.CreateKey(ctx, demo, identity.NewKey{Kind: identity.Admin, User: u.ID, Name: "k"})
		w.must(err)
		w.byRole[role] = text
		switch role {
		case identity.RoleViewer:
			w.viewer, w.viewerUser = text, u.ID
		case identity.RoleManager:
			w.managerUser = u.ID
		}
	}
	victim, err := w.directory.CreateUser(ctx, demo, identity.NewUser{Name: "Vic", Role: identity.RoleMember})
	w.must(err)
	i := w.ids[demo]
	i.user = victim.ID // the admin is the last one, and stays
	w.ids[demo] = i
	ended := func(expires time.Time) (identity.User, identity.Key, string) {
		u, err := w.directory.CreateUser(ctx, demo, identity.NewUser{Name: "Gone", Role: identity.RoleMember})
		w.must(err)
		k, text, err := w.directory.CreateKey(ctx, demo, identity.NewKey{Kind: identity.Admin, User: u.ID, Name: "k", Expires: expires})
		w.must(err)
		return u, k, text
	}
	_, _, w.expired = ended(w.clock.now().Add(time.Second))
	w.clock.add(time.Minute)
	_, k, text := ended(time.Time{})
	w.must(w.directory.RevokeKey(ctx, demo, k.ID))
	w.revoked = text
	u, _, text := ended(time.Time{})
	w.must(w.directory.SetUserStatus(ctx, demo, u.ID, identity.Suspended))
	w.suspended = text
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) users() []identity.User {
	w.t.Helper()
	users, err := w.directory.Users(w.t.Context(), demo)
	w.must(err)
	return users
}

// request is one as an honest client on this machine sends it.
func (w *world) request(method, target, key, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8081/", strings.NewReader(body))
	u, err := url.ParseRequestURI(target)
	w.must(err)
	r.URL, r.RequestURI, r.RemoteAddr = u, target, "127.0.0.1:5000"
	if body == "" {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPost || method == http.MethodPut {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	return r
}

func (w *world) do(r *http.Request) *reply {
	rec := httptest.NewRecorder()
	w.api.Handler().ServeHTTP(rec, r)
	return &reply{status: rec.Code, header: rec.Header(), body: rec.Body.String()}
}

func (w *world) call(method, target, key, body string) *reply {
	return w.do(w.request(method, target, key, body))
}

// listen serves the API on a real port.
func (w *world) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := control.Server(w.api.Handler())
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + l.Addr().String()
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (a *reply) json() map[string]any {
	var v map[string]any
	_ = json.Unmarshal([]byte(a.body), &v)
	return v
}

func (a *reply) problem() map[string]any { return a.json() }

func (a *reply) code() string {
	code, _ := a.json()["code"].(string)
	return code
}

func (a *reply) refused(t *testing.T, status int, code string) {
	t.Helper()
	if a.status != status || a.code() != code || a.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%d %s %s, want %d %s", a.status, a.header.Get("Content-Type"), a.body, status, code)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY"} {
		if a.header.Get(name) != want {
			t.Errorf("%s is %q", name, a.header.Get(name))
		}
	}
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func unescape(t *testing.T, s string) string {
	t.Helper()
	p, err := url.PathUnescape(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// clock is a time that only moves when told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// locked keeps concurrent log lines apart.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
