package stages_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/gateway/terms"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
	"github.com/gatewright/gatewright/policies"
)

// grow chains two plans of alice's.
func (w *world) grow(from, to *intent.Plan) []*intent.Delta {
	w.t.Helper()
	ref := func(p *intent.Plan, id string) intent.PlanRef {
		return intent.PlanRef{ID: id, Nonce: p.Nonce, Hash: p.Hash(), Root: p.Tree().Root(), Size: uint32(len(p.Steps)), Expires: w.now.Unix() + 3600}
	}
	raw, err := w.signer.MintDelta(intent.DeltaClaims{
		ID: "tdl_1", Kind: intent.DeltaReanchor, Tenant: from.Tenant, IssuedAt: w.now.Unix(), From: ref(from, "pln_1"), To: ref(to, "pln_2"),
	})
	w.must(err)
	d, err := w.verifier.Delta([]byte(raw))
	w.must(err)
	return []*intent.Delta{d}
}

func TestATokenFollowsItsPlanAndADelegatedOneKeepsOnlyWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	old := w.plan(w.alice, draft)
	w.hold(old, "active")
	grown := w.plan(w.alice, `{"goal":"g","steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"read","args":{"path":"/b"}}]}`)
	w.hold(grown, "active")
	stage := w.intent()
	chain := w.grow(old, grown)
	stage.Anchors = func(_ string, root merkle.Hash) []*intent.Delta {
		if root == old.Tree().Root() {
			return chain
		}
		return nil
	}
	token := w.token(old, w.alice, nil)
	c := w.call(w.alice, "read", `{"path":"/b"}`, token)
	w.must(stage.Check(context.Background(), c))
	if c.Grant.PlanID() != "pln_2" || c.Held == nil || c.Held.Root() != grown.Tree().Root() {
		t.Errorf("granted under %s", c.Grant.PlanID())
	}
	wantDenial(t, stage.Check(context.Background(), w.call(w.alice, "send", `{"to":"x"}`, token)), "tool_mismatch", "")

	public, _, err := ed25519.GenerateKey(rand.Reader)
	w.must(err)
	child := func(steps ...uint32) []byte {
		return w.token(old, w.alice, func(c *intent.Claims) {
			c.ID, c.KeyID, c.Thumbprint, c.Parents, c.Steps = "tok_2", "", intent.KeyThumbprint(public), []string{"tok_1"}, steps
		})
	}
	stage.Proofs = proves(intent.KeyThumbprint(public))
	show := func(tool, args string, token []byte) *pipeline.Call {
		c := w.call(w.bob, tool, args, token)
		c.Shown.Possession = []byte("proof")
		return c
	}
	c = show("read", `{"path":"/a"}`, child(0, 1))
	w.must(stage.Check(context.Background(), c))
	if c.Grant.PlanID() != "pln_1" {
		t.Errorf("a delegated token went on to %s", c.Grant.PlanID())
	}
	wantDenial(t, stage.Check(context.Background(), show("read", `{"path":"/b"}`, child(0, 1))), "args_mismatch", "")
	wantDenial(t, stage.Check(context.Background(), show("send", `{"to":"x"}`, child(0, 1))), "plan_mismatch", "")
	wantDenial(t, stage.Check(context.Background(), w.call(w.bob, "read", `{"path":"/a"}`, child(0))), "bearer_mismatch", "")
	stage.Proofs = proves("another")
	wantDenial(t, stage.Check(context.Background(), show("read", `{"path":"/a"}`, child(0))), "bearer_mismatch", "")
}

// proves is who holds this one key.
type proves string

func (p proves) VerifyFor(_ identity.Caller, want string, _ []byte, _, _ string, _ []byte, _ time.Time) error {
	if want != string(p) {
		return errors.New("another key")
	}
	return nil
}

func TestATokenThatIsTheCredentialOpensItsPlanAlone(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	token := w.token(p, w.alice, nil)
	alone := func(c *pipeline.Call) *pipeline.Call {
		c.Alone, c.Credential = true, token
		return c
	}
	w.must(w.intent().Check(context.Background(), alone(w.call(w.alice, "read", `{"path":"/a"}`, token))))
	other := w.token(p, w.alice, func(c *intent.Claims) { c.ID = "tok_9" })
	wantDenial(t, w.intent().Check(context.Background(), alone(w.call(w.alice, "read", `{"path":"/a"}`, other))), pipeline.WrongKeyKind, "")
	own := w.call(w.alice, "", "", token)
	own.Plan, own.Op, own.Action = false, "tokens/issue", "capture_plan"
	own.Answer = func(context.Context, *pipeline.Call) error { return nil }
	wantDenial(t, w.intent().Check(context.Background(), alone(own)), pipeline.WrongKeyKind, "")
}

func TestWhatAClientShowsOfItsPlanIsJudgedFirst(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	c := w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
	c.Shown.Prove = func(*intent.Held) error { return &intent.Error{Reason: intent.ProofMismatch, Msg: "no"} }
	wantDenial(t, w.intent().Check(context.Background(), c), "proof_mismatch", "")
	if c.Grant.Valid() {
		t.Error("granted all the same")
	}
	c = w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
	c.Shown.At = 2 // of another tool
	wantDenial(t, w.intent().Check(context.Background(), c), "tool_mismatch", "")
}

// keeper has the same terms for everybody.
type keeper struct {
	terms *terms.Terms
	err   error
	left  int
	keys  map[string]bool
}

func (k *keeper) Of(string, *intent.Held) (*terms.Terms, error) { return k.terms, k.err }

func (k *keeper) Allow(key string, _ *terms.Terms, _ time.Time) (time.Duration, bool) {
	k.keys[key] = true
	k.left--
	return time.Minute, k.left >= 0
}

func TestTermsNarrowAndCount(t *testing.T) {
	w := newWorld(t)
	o, err := policies.CompileOverlay("plan", []byte(`@id("no") forbid (principal, action in Action::"work", resource);`))
	w.must(err)
	k := &keeper{terms: &terms.Terms{Overlays: []*policies.Overlay{o}, Rates: []terms.Rate{{Max: 2, Per: time.Hour}}}, left: 2, keys: map[string]bool{}}
	stage := stages.Terms{Keeper: k}
	for range 2 {
		c := w.call(w.alice, "read", `{"path":"/a"}`, nil)
		w.must(stage.Check(context.Background(), c))
		if len(c.Overlays) != 1 {
			t.Error("the overlay is not laid over")
		}
	}
	trial := w.call(w.alice, "read", `{"path":"/a"}`, nil)
	trial.Trial = true
	w.must(stage.Check(context.Background(), trial)) // looks, and takes no place
	wantDenial(t, stage.Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, nil)), pipeline.RateLimited, "")
	w.must(stage.Check(context.Background(), &pipeline.Call{Caller: w.alice, Op: "tools/list", Action: "list_tools"}))
	if len(k.keys) != 1 {
		t.Errorf("one agent under one policy is counted under %d keys", len(k.keys))
	}
	k.err = errors.New("unreadable")
	wantDenial(t, stage.Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, nil)), pipeline.PolicyDenied, "")
}
