package stages_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
)

func TestWhoIsNotKnownIsToldOnlyThat(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	agent, err := w.people.CreateAgent(ctx, "acme", identity.NewAgent{Name: "gone", Owner: w.alice.User()})
	w.must(err)
	orphan := w.newKey("acme", agent.ID)
	w.must(w.people.SetAgentStatus(ctx, "acme", agent.ID, identity.Suspended))
	k, revoked, err := w.people.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: w.alice.Agent(), Name: "r"})
	w.must(err)
	w.must(w.people.RevokeKey(ctx, "acme", k.ID))
	_, expired, err := w.people.CreateKey(ctx, "acme", identity.NewKey{Kind: identity.Runtime, Agent: w.alice.Agent(), Name: "e", Expires: time.Now().Add(time.Hour)})
	w.must(err)
	w.must(w.people.SuspendOrg(ctx, "rival"))
	var first *pipeline.Denial
	for name, key := range map[string]string{
		"no key": "", "nonsense": "hello", "huge": strings.Repeat("a", 1<<20), "unknown": "ak_test_" + strings.Repeat("0", 26) + "_" + strings.Repeat("A", 43),
		"wrong secret": w.aliceKey[:len(w.aliceKey)-1] + "~", "blanks around": " " + w.aliceKey, "prefix in capitals": strings.ToUpper(w.aliceKey),
		"agent suspended": orphan, "revoked": revoked, "organisation suspended": w.eveKey, "expired": expired, "bytes": "\x00\xff",
	} {
		t.Run(name, func(t *testing.T) {
			c := &pipeline.Call{Started: time.Now(), Credential: []byte(key)}
			if name == "expired" {
				c.Started = time.Now().Add(2 * time.Hour)
			}
			d := wantDenial(t, stages.Identify{Directory: w.people}.Check(context.Background(), c), pipeline.Unauthenticated, "")
			if c.Caller.Valid() {
				t.Error("the caller is known all the same")
			}
			if first == nil {
				first = d
			}
			if d.Message != first.Message || d.Hint != first.Hint || d.Reason != first.Reason {
				t.Errorf("told %q %q, others %q %q", d.Message, d.Hint, first.Message, first.Hint)
			}
		})
	}
}

func TestAnAdminKeyDoesNotOpenTheDataPort(t *testing.T) {
	w := newWorld(t)
	c := &pipeline.Call{Started: time.Now(), Credential: []byte(w.adminKey)}
	wantDenial(t, stages.Identify{Directory: w.people}.Check(context.Background(), c), pipeline.WrongKeyKind, "")
	if c.Caller.Valid() {
		t.Error("the caller is known all the same")
	}
}

// counted is a directory that counts look-ups and answers as told.
type counted struct {
	n      int
	caller identity.Caller
	err    error
}

func (d *counted) Authenticate([]byte, time.Time) (identity.Caller, error) {
	d.n++
	return d.caller, d.err
}

func TestTheSourceIsLimitedBeforeAnythingIsLookedUp(t *testing.T) {
	d := &counted{err: errors.New("unknown key")}
	s := stages.Identify{Directory: d, Sources: stages.NewLimiter(1, 2)}
	try := func(addr string) error {
		return s.Check(context.Background(), &pipeline.Call{Started: epoch, Remote: netip.MustParseAddr(addr), Credential: []byte("guess")})
	}
	for range 2 {
		wantDenial(t, try("10.0.0.1"), pipeline.Unauthenticated, "")
	}
	for range 5 {
		wantDenial(t, try("10.0.0.1"), pipeline.RateLimited, "rate_limited source address")
	}
	wantDenial(t, try("10.0.0.2"), pipeline.Unauthenticated, "")
	if d.n != 3 {
		t.Errorf("%d look-ups, want 3: guessing must cost the guesser first", d.n)
	}
	// No key at all counts too.
	if err := s.Check(context.Background(), &pipeline.Call{Started: epoch, Remote: netip.MustParseAddr("10.0.0.1")}); err == nil {
		t.Error("passed without a key")
	} else {
		wantDenial(t, err, pipeline.RateLimited, "")
	}
}

func TestADirectoryThatAnswersNobodyWithoutAnErrorIsARefusal(t *testing.T) {
	c := &pipeline.Call{Started: epoch, Credential: []byte("x")}
	wantDenial(t, stages.Identify{Directory: &counted{}}.Check(context.Background(), c), pipeline.Unauthenticated, "")
}

func TestTenantUserAndAgentComeFromTheKeyAlone(t *testing.T) {
	w := newWorld(t)
	c := &pipeline.Call{Started: time.Now(), Credential: []byte(w.aliceKey)}
	w.must(stages.Identify{Directory: w.people, Sources: stages.NewLimiter(1, 1)}.Check(context.Background(), c))
	if c.Caller.Tenant() != "acme" || c.Caller.Agent() != w.alice.Agent() || c.Caller.User() != w.alice.User() || c.Caller.KeyID() != w.alice.KeyID() {
		t.Errorf("known as %s/%s/%s", c.Caller.Tenant(), c.Caller.Agent(), c.Caller.KeyID())
	}
}
