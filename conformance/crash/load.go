package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// errRefused is an answer outside 2xx.
var errRefused = errors.New("refused")

// plan is a captured plan with a token, and how far its walker is.
type plan struct {
	id, root       string
	token, tokenID string
	steps          []*step
	next           int
}

// shape says how often the steps of a plan may be taken: 0 is without limit. Plans are long so that there are few: each
// start reads them all.
var shape = slices.Repeat([]uint32{1, 1, 3, 1, 0, 1, 1, 3, 1, 1}, 6)

// The longest pauses between two acts. They keep the ledger at a size that can be read again after each of 500 starts.
const (
	walkPause   = 20 * time.Millisecond
	managePause = 100 * time.Millisecond
)

// pause waits for a random time up to most, or until ctx ends.
func pause(ctx context.Context, rnd *rand.Rand, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(rnd.Int64N(int64(most)))):
	}
}

// capture captures a plan of an agent and takes a token for it. What is not answered is not relied on.
func capture(ctx context.Context, s *session, j *journal, tenant, key string, uses []uint32) (*plan, error) {
	var drafts []string
	p := &plan{}
	for i, u := range uses {
		st := &step{n: j.number(), uses: u}
		st.tenant, st.step = tenant, i
		p.steps = append(p.steps, st)
		drafts = append(drafts, fmt.Sprintf(`{"server":%q,"tool":%q,"args":%s,"uses":%d}`, serverName, toolName, args(st), u))
	}
	if tenant == demo { // the connector's tool, whose effects nobody counts
		drafts = append(drafts, `{"server":"demo","tool":"calculate","args":{"expression":"6*7"},"uses":0}`)
	}
	var made struct{ ID, Root string }
	body := []byte(`{"goal":"crash","steps":[` + strings.Join(drafts, ",") + `]}`)
	a, err := s.agentAPI(ctx, key, "/api/v1/plans", raw(body), &made)
	if err != nil {
		return nil, err
	}
	j.ack(tenant, a)
	p.id, p.root = made.ID, made.Root
	for _, st := range p.steps {
		st.plan = made.Root
	}
	j.planned(p.steps)
	return p, p.renew(ctx, s, j, tenant, key)
}

// renew takes a token for the plan.
func (p *plan) renew(ctx context.Context, s *session, j *journal, tenant, key string) error {
	var tok struct{ Token, ID string }
	a, err := s.agentAPI(ctx, key, "/api/v1/plans/"+p.id+"/tokens", raw(`{"ttl_seconds":80000}`), &tok)
	if err != nil {
		return err
	}
	j.ack(tenant, a)
	p.token, p.tokenID = tok.Token, tok.ID
	return nil
}

// raw is JSON that is sent as it stands.
type raw []byte

// MarshalJSON returns it.
func (r raw) MarshalJSON() ([]byte, error) { return r, nil }

func args(s *step) string { return fmt.Sprintf(`{"n":%d}`, s.n) }

// walker is an agent that lives through all crashes and goes on with the plan it had.
type walker struct {
	tenant, key string
	rnd         *rand.Rand
	plan        *plan
}

// walk captures plans and takes their steps until the gateway is gone.
func (w *walker) walk(ctx context.Context, s *session, j *journal) {
	if w.plan != nil {
		w.again(ctx, s, j)
	}
	for ctx.Err() == nil {
		if w.plan == nil || w.plan.next == len(w.plan.steps) {
			p, err := capture(ctx, s, j, w.tenant, w.key, shape)
			if err != nil {
				gone(ctx, j, "capture a plan", err)
				return
			}
			w.plan = p
		}
		st := w.plan.steps[w.plan.next]
		w.plan.next++
		if w.take(ctx, s, j, st) != nil {
			return
		}
		pause(ctx, w.rnd, walkPause)
	}
}

// again tries the last steps of the plan that was interrupted: what was spent must not be spent twice, and what was on
// its way may happen once at the most.
func (w *walker) again(ctx context.Context, s *session, j *journal) {
	last := w.plan.steps[max(0, w.plan.next-3):w.plan.next]
	for _, st := range last {
		if st.uses == 1 {
			_ = w.race(ctx, s, j, st, 2) // whatever comes of it is seen later
		}
	}
}

// take takes a step in one of several ways.
func (w *walker) take(ctx context.Context, s *session, j *journal, st *step) error {
	switch roll := w.rnd.IntN(20); {
	case st.uses == 3 || roll < 2:
		return w.race(ctx, s, j, st, 5)
	case roll < 5:
		a, err := s.tool(ctx, w.key, w.plan.token, serverName, toolName, `{"n":-1}`)
		if err != nil {
			return err
		}
		j.ack(w.tenant, a)
		if a.result != nil {
			j.fail("a call with arguments outside the plan was answered: " + a.String())
		}
	case roll < 7 && w.tenant == demo:
		a, err := s.tool(ctx, w.key, w.plan.token, "demo", "calculate", `{"expression":"6*7"}`)
		if err != nil {
			return err
		}
		j.ack(w.tenant, a)
	default:
	}
	return w.race(ctx, s, j, st, 1)
}

// race has some clients take one step at the same time.
func (w *walker) race(ctx context.Context, s *session, j *journal, st *step, clients int) error {
	errs := make([]error, clients)
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			a, err := s.tool(ctx, w.key, w.plan.token, serverName, toolName, args(st))
			if err == nil {
				j.ack(w.tenant, a)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// gone tells a gateway that was killed from one that answered what nobody expected.
func gone(ctx context.Context, j *journal, what string, err error) {
	if ctx.Err() == nil && errors.Is(err, errRefused) {
		j.fail(what + ": " + err.Error())
	}
}

// manager makes keys, agents, plans and tokens of one tenant and revokes them again, until the gateway is gone.
type manager struct {
	tenant string
	agent  string // whose keys it makes
	key    string // of that agent, never revoked
	rnd    *rand.Rand
	plan   *plan // with one step without limit
}

func (m *manager) work(ctx context.Context, s *session, j *journal) {
	acts := []func(context.Context, *session, *journal) error{m.revokeKey, m.revokeToken, m.revokePlan, m.revokeAgent}
	for ctx.Err() == nil {
		if err := acts[m.rnd.IntN(len(acts))](ctx, s, j); err != nil {
			gone(ctx, j, "manage", err)
			return
		}
		pause(ctx, m.rnd, managePause)
	}
}

// admin is a control call whose answer counts as a promise.
func (m *manager) admin(ctx context.Context, s *session, j *journal, method, path string, in, out any) error {
	a, err := s.manage(ctx, s.keys[m.tenant], method, path, in, out)
	if err == nil {
		j.ack(m.tenant, a)
	}
	return err
}

// newKey makes a key for an agent. It must work from the answer on.
func (m *manager) newKey(ctx context.Context, s *session, j *journal, agent string) (madeKey, error) {
	var key struct {
		Secret string
		Key    struct{ ID string }
	}
	err := m.admin(ctx, s, j, "POST", "/api/v1/keys", map[string]any{"agent": agent, "name": "crash", "mode": "test"}, &key)
	if err != nil {
		return madeKey{}, err
	}
	k := madeKey{m.tenant, key.Key.ID, key.Secret}
	j.made(k)
	return k, nil
}

func (m *manager) revokeKey(ctx context.Context, s *session, j *journal) error {
	k, err := m.newKey(ctx, s, j, m.agent)
	if err != nil {
		return err
	}
	if m.rnd.IntN(8) == 0 {
		return nil // it stays
	}
	j.unmade(k.id)
	if m.rnd.IntN(2) == 0 {
		err = m.admin(ctx, s, j, "DELETE", "/api/v1/keys/"+k.id, nil, nil)
	} else {
		err = m.admin(ctx, s, j, "POST", "/api/v1/revocations", map[string]any{"kind": "key", "id": k.id}, nil)
	}
	if err == nil {
		j.gone(revoked{what: "key " + k.id, tenant: m.tenant, key: k.secret})
	}
	return err
}

// revokeToken revokes a token of a plan that goes on.
func (m *manager) revokeToken(ctx context.Context, s *session, j *journal) error {
	if m.plan == nil {
		p, err := capture(ctx, s, j, m.tenant, m.key, []uint32{0})
		if err != nil {
			return err
		}
		m.plan = p
	} else if err := m.plan.renew(ctx, s, j, m.tenant, m.key); err != nil {
		m.plan = nil // it may have as many tokens as it can
		return err
	}
	p := *m.plan
	if err := m.admin(ctx, s, j, "POST", "/api/v1/revocations", map[string]any{"kind": "token", "id": p.tokenID}, nil); err != nil {
		return err
	}
	if m.rnd.IntN(20) == 0 {
		m.plan = nil
	}
	j.gone(revoked{what: "token " + p.tokenID, tenant: m.tenant, key: m.key, token: p.token, n: p.steps[0].n})
	return nil
}

func (m *manager) revokePlan(ctx context.Context, s *session, j *journal) error {
	p, err := capture(ctx, s, j, m.tenant, m.key, []uint32{0})
	if err != nil {
		return err
	}
	if err := m.admin(ctx, s, j, "PUT", "/api/v1/plans/"+p.id+"/state", map[string]any{"state": "revoked"}, nil); err != nil {
		return err
	}
	j.gone(revoked{what: "plan " + p.id, tenant: m.tenant, key: m.key, token: p.token, n: p.steps[0].n})
	return nil
}

func (m *manager) revokeAgent(ctx context.Context, s *session, j *journal) error {
	id, err := newAgent(ctx, s, s.keys[m.tenant], m.tenant, j)
	if err != nil {
		return err
	}
	k, err := m.newKey(ctx, s, j, id)
	if err != nil {
		return err
	}
	j.unmade(k.id)
	if err := m.admin(ctx, s, j, "PUT", "/api/v1/agents/"+id+"/status", map[string]any{"status": "revoked"}, nil); err != nil {
		return err
	}
	j.gone(revoked{what: "agent " + id, tenant: m.tenant, key: k.secret})
	return nil
}

// newAgent makes an active agent.
func newAgent(ctx context.Context, s *session, admin, tenant string, j *journal) (string, error) {
	var made struct{ ID string }
	a, err := s.manage(ctx, admin, "POST", "/api/v1/agents", map[string]any{"name": fmt.Sprintf("crash %d", j.number())}, &made)
	if err != nil {
		return "", err
	}
	j.ack(tenant, a)
	a, err = s.manage(ctx, admin, "PUT", "/api/v1/agents/"+made.ID+"/status", map[string]any{"status": "active"}, nil)
	if err != nil {
		return "", err
	}
	j.ack(tenant, a)
	return made.ID, nil
}

// try tells whether what was revoked is refused, and whether a key that was made works. An answer that is neither is an
// error: nothing was learned.
func try(ctx context.Context, s *session, r revoked) (trial, error) {
	t := trial{what: r.tenant + "'s " + r.what}
	var a *answer
	var err error
	if r.n == 0 {
		a, err = s.list(ctx, r.key)
	} else {
		a, err = s.tool(ctx, r.key, r.token, serverName, toolName, fmt.Sprintf(`{"n":%d}`, r.n))
	}
	if err != nil {
		return t, err
	}
	t.said = a.String()
	switch {
	case a.result != nil:
		return t, nil
	case a.code == "unauthenticated", a.code == "token_revoked", a.code == "plan_inactive", a.code == "plan_revoked":
		t.held = true
		return t, nil
	}
	return t, fmt.Errorf("%s: %w: %s", t.what, errRefused, t.said)
}

// list asks for the tools, which needs nothing but a key that works.
func (s *session) list(ctx context.Context, key string) (*answer, error) {
	head := map[string]string{"Authorization": "Bearer " + key, "Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
	return s.send(ctx, http.MethodPost, s.url+"/mcp/"+serverName, head, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
}
