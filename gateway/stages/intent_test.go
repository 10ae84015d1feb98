package stages_test

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/stages"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/intent"
)

const draft = `{"goal":"g","steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"send","args":{"to":"x"},"after":[0]}]}`

func TestACallWithoutAValidTokenIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	good := string(w.token(p, w.alice, nil))
	parts := strings.Split(good, ".")
	enc := base64.RawURLEncoding.EncodeToString
	none := enc([]byte(`{"alg":"none","typ":"intent+jwt","kid":"k1"}`)) + "." + parts[1] + "."
	hs := enc([]byte(`{"alg":"HS256","typ":"intent+jwt","kid":"k1"}`)) + "." + parts[1] + "." + parts[2]
	signature := []byte(parts[2])
	if signature[9] == 'A' {
		signature[9] = 'B'
	} else {
		signature[9] = 'A'
	}
	flipped := parts[0] + "." + parts[1] + "." + string(signature)
	claims := func(change func(*intent.Claims)) string { return string(w.token(p, w.alice, change)) }
	for name, c := range map[string]struct {
		token string
		code  pipeline.Code
	}{
		"no token":          {"", pipeline.IntentRequired},
		"not a token":       {"hello", "token_malformed"},
		"two parts":         {parts[0] + "." + parts[1], "token_malformed"},
		"four parts":        {good + ".x", "token_malformed"},
		"huge":              {strings.Repeat("a", 1<<20), "token_malformed"},
		"bytes beyond text": {"\x00\xff" + good, "token_malformed"},
		"alg none":          {none, "token_alg"},
		"alg HS256":         {hs, "token_alg"},
		"flipped signature": {flipped, "token_signature"},
		"other audience":    {claims(func(c *intent.Claims) { c.Audience = "another-gateway" }), "token_audience"},
		"expired a second ago": {claims(func(c *intent.Claims) {
			c.IssuedAt, c.NotBefore, c.Expires = w.now.Unix()-60, w.now.Unix()-60, w.now.Unix()-1
		}), "token_expired"},
		"not yet valid":   {claims(func(c *intent.Claims) { c.NotBefore = w.now.Unix() + 300 }), "token_not_yet"},
		"issued tomorrow": {claims(func(c *intent.Claims) { c.IssuedAt = w.now.Unix() + 300 }), "token_not_yet"},
		"lives too long":  {claims(func(c *intent.Claims) { c.Expires = w.now.Unix() + 7200; c.PlanExpires = w.now.Unix() + 7200 }), "token_lifetime"},
		"other tenant":    {claims(func(c *intent.Claims) { c.Tenant = "rival" }), "bearer_mismatch"},
		"other user":      {claims(func(c *intent.Claims) { c.Subject = "usr_other" }), "bearer_mismatch"},
		"other agent":     {claims(func(c *intent.Claims) { c.Agent = w.bob.Agent() }), "bearer_mismatch"},
		"other key":       {string(w.token(p, w.second, nil)), "bearer_mismatch"},
		"other plan hash": {claims(func(c *intent.Claims) { c.PlanHash[0] ^= 1 }), "plan_mismatch"},
		"other size":      {claims(func(c *intent.Claims) { c.PlanSize = 3 }), "plan_mismatch"},
		"plan not held":   {claims(func(c *intent.Claims) { c.PlanRoot[0] ^= 1 }), pipeline.IntentInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			call := w.call(w.alice, "read", `{"path":"/a"}`, []byte(c.token))
			d := wantDenial(t, w.intent().Check(context.Background(), call), c.code, "")
			if call.Grant.Valid() {
				t.Error("a grant was made all the same")
			}
			if c.token != "" && len(c.token) > 20 && strings.Contains(d.Message+d.Hint, c.token[:20]) {
				t.Errorf("the refusal repeats the token: %q", d.Message)
			}
		})
	}
}

func TestOtherIssuersAndUnpinnedKeysAreRefused(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	foreign := w.signer
	foreign.Issuer = "https://evil.example"
	text, err := foreign.Mint(claimsOf(w, p))
	w.must(err)
	call := w.call(w.alice, "read", `{"path":"/a"}`, []byte(text))
	wantDenial(t, w.intent().Check(context.Background(), call), "token_issuer", "token_issuer")
	other := w.signer
	other.KeyID = "k2"
	text, err = other.Mint(claimsOf(w, p))
	w.must(err)
	call = w.call(w.alice, "read", `{"path":"/a"}`, []byte(text))
	wantDenial(t, w.intent().Check(context.Background(), call), "token_key", "token_key")
	// A key that is unpinned voids what it signed, also what was verified before.
	good := w.token(p, w.alice, nil)
	w.must(w.intent().Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, good)))
	w.keys.Remove(issuer, "k1")
	if err := w.intent().Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, good)); err == nil {
		t.Fatal("a token of an unpinned key is still taken")
	}
}

func claimsOf(w *world, p *intent.Plan) intent.Claims {
	tok, err := w.verifier.Token(w.token(p, w.alice, nil), w.now)
	w.must(err)
	return tok.Claims()
}

func TestARevokedTokenOrPlanIsRefusedAtOnce(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	token := w.token(p, w.alice, nil)
	check := func() error {
		return w.intent().Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, token))
	}
	w.must(check()) // now cached
	w.verifier.Revoke("tok_1", w.now.Add(time.Hour))
	wantDenial(t, check(), "token_revoked", "token_revoked")
	token = w.token(p, w.alice, func(c *intent.Claims) { c.ID = "tok_2" })
	w.must(check())
	w.verifier.RevokePlan(p.Tree().Root(), w.now.Add(time.Hour))
	wantDenial(t, check(), "plan_revoked", "plan_revoked")
}

func TestAPlanThatIsNotActiveGrantsNothing(t *testing.T) {
	for state, code := range map[string]pipeline.Code{
		"completed": pipeline.PlanInactive, stages.UsedUp: pipeline.StepUsed, "failed": pipeline.PlanInactive, "expired": "plan_expired", "revoked": "plan_revoked", "": pipeline.PlanInactive, "made_up": pipeline.PlanInactive,
	} {
		w := newWorld(t)
		p := w.plan(w.alice, draft)
		w.hold(p, state)
		call := w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
		wantDenial(t, w.intent().Check(context.Background(), call), code, "")
		if call.Token == nil {
			t.Errorf("%s: the record cannot name the token that was shown", state)
		}
		for _, who := range []identity.Caller{w.second, w.bob} {
			other := w.call(who, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
			wantDenial(t, w.intent().Check(context.Background(), other), "bearer_mismatch", "")
		}
		// An explicit proof does not revive it.
		w.show(call, p, 0)
		wantDenial(t, w.intent().Check(context.Background(), call), code, "")
	}
}

// show adds an explicit step with its proof.
func (w *world) show(c *pipeline.Call, p *intent.Plan, i int) {
	c.Shown.Step = []byte(intent.EncodeLeaf(p.LeafData(i)))
	c.Shown.Proof = p.Tree().AppendInclusion(nil, uint64(i))
}

func TestACallThatIsNoStepOfThePlanIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","where":{"path":{"prefix":"/a/"},"limit":{"min":1,"max":9,"optional":true}},"uses":2}]}`)
	w.hold(p, "active")
	for name, c := range map[string]struct {
		change     func(*pipeline.Call)
		tool, args string
		code       pipeline.Code
	}{
		"another tool":            {tool: "send", args: `{}`, code: "tool_mismatch"},
		"unknown tool":            {tool: "nothing", args: `{}`, code: "tool_mismatch"},
		"tool in capitals":        {tool: "READ", args: `{"path":"/a/b"}`, code: "tool_mismatch"},
		"tool with kelvin sign":   {tool: "read\u212a", args: `{"path":"/a/b"}`, code: "tool_mismatch"},
		"another server":          {tool: "read", args: `{"path":"/a/b"}`, change: func(c *pipeline.Call) { c.Server = "mail" }, code: "tool_mismatch"},
		"no server":               {tool: "read", args: `{"path":"/a/b"}`, change: func(c *pipeline.Call) { c.Server = "" }, code: "tool_mismatch"},
		"another operation":       {tool: "read", args: `{"path":"/a/b"}`, change: func(c *pipeline.Call) { c.Op = "resources/read" }, code: "tool_mismatch"},
		"argument changed":        {tool: "read", args: `{"path":"/b/c"}`, code: "args_mismatch"},
		"argument added":          {tool: "read", args: `{"path":"/a/b","mode":"x"}`, code: "args_mismatch"},
		"argument removed":        {tool: "read", args: `{}`, code: "args_mismatch"},
		"argument retyped":        {tool: "read", args: `{"path":["/a/b"]}`, code: "args_mismatch"},
		"argument null":           {tool: "read", args: `{"path":null}`, code: "args_mismatch"},
		"number as string":        {tool: "read", args: `{"path":"/a/b","limit":"3"}`, code: "args_mismatch"},
		"number out of range":     {tool: "read", args: `{"path":"/a/b","limit":10}`, code: "args_mismatch"},
		"argument in capitals":    {tool: "read", args: `{"PATH":"/a/b"}`, code: "args_mismatch"},
		"no arguments at all":     {tool: "read", args: ``, code: "args_mismatch"},
		"arguments in an array":   {tool: "read", args: `["/a/b"]`, code: "args_mismatch"},
		"every use is taken":      {tool: "read", args: `{"path":"/a/b"}`, change: func(*pipeline.Call) { w.used[0] = 2 }, code: pipeline.StepUsed},
		"more uses than there":    {tool: "read", args: `{"path":"/a/b"}`, change: func(*pipeline.Call) { w.used[0] = 1 << 31 }, code: pipeline.StepUsed},
		"args wrong and all used": {tool: "read", args: `{"path":"/b"}`, change: func(*pipeline.Call) { w.used[0] = 2 }, code: "args_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			clear(w.used)
			call := w.call(w.alice, c.tool, c.args, w.token(p, w.alice, nil))
			if c.change != nil {
				c.change(call)
			}
			d := wantDenial(t, w.intent().Check(context.Background(), call), c.code, string(c.code))
			if call.Grant.Valid() {
				t.Error("a grant was made all the same")
			}
			if strings.Contains(d.Message+d.Hint, "/b/c") {
				t.Errorf("the refusal repeats an argument: %q", d.Message)
			}
		})
	}
}

// TestWhatNoStepDoesIsRefusedInItsOwnWords: a resource is no tool, and a name without its server has a remedy of its own.
func TestWhatNoStepDoesIsRefusedInItsOwnWords(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","uses":0}]}`)
	w.hold(p, "active")
	for _, c := range []struct{ op, server, message, hint string }{
		{catalogue.CallTool, "files", "no step of the plan calls this tool", "capture a plan that does"},
		{catalogue.ReadResource, "files", "no step of the plan reads this resource", "capture a plan that does"},
		{catalogue.GetPrompt, "files", "no step of the plan gets this prompt", "capture a plan that does"},
		{catalogue.CallTool, "", "no step of the plan calls this tool", "a tool or prompt is SERVER__NAME"},
	} {
		call := w.call(w.alice, "send", `{}`, w.token(p, w.alice, nil))
		call.Op, call.Server = c.op, c.server
		d := wantDenial(t, w.intent().Check(context.Background(), call), "tool_mismatch", "tool_mismatch")
		if d.Message != c.message || !strings.Contains(d.Hint, c.hint) {
			t.Errorf("%s of %q: %q, %q", c.op, c.server, d.Message, d.Hint)
		}
	}
}

func TestAToolWhoseSchemaChangedSinceCaptureIsRefused(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	w.offers["files"] = []string{strings.Replace(readTool, "64", "65", 1), sendTool}
	w.relist()
	call := w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
	wantDenial(t, w.intent().Check(context.Background(), call), "schema_changed", "schema_changed")
	w.show(call, p, 0)
	wantDenial(t, w.intent().Check(context.Background(), call), "schema_changed", "schema_changed")
}

func TestAnExplicitStepMustLeadToTheTokensPlan(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"read","args":{"path":"/b"}},{"server":"files","tool":"send","args":{"to":"x"}}]}`)
	other := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","args":{"path":"/etc"}},{"server":"files","tool":"read"},{"server":"files","tool":"read"}]}`)
	tree := p.Tree()
	proof := func(i uint64) []merkle.Hash { return tree.AppendInclusion(nil, i) }
	leaf := func(p *intent.Plan, i int) []byte { return []byte(intent.EncodeLeaf(p.LeafData(i))) }
	edited := func(from, to string) []byte {
		return []byte(intent.EncodeLeaf([]byte(strings.Replace(string(p.LeafData(0)), from, to, 1))))
	}
	node := merkle.NodeHash(tree.Leaf(0), tree.Leaf(1))
	for name, c := range map[string]struct {
		step  []byte
		proof []merkle.Hash
		args  string
		code  pipeline.Code
	}{
		"another index's proof":   {leaf(p, 0), proof(1), `{"path":"/a"}`, "proof_mismatch"},
		"last index's proof":      {leaf(p, 0), proof(2), `{"path":"/a"}`, "proof_length"},
		"no proof":                {leaf(p, 0), nil, `{"path":"/a"}`, "proof_length"},
		"proof too short":         {leaf(p, 0), proof(0)[:1], `{"path":"/a"}`, "proof_length"},
		"proof too long":          {leaf(p, 0), append(proof(0), merkle.Hash{}), `{"path":"/a"}`, "proof_length"},
		"proof turned round":      {leaf(p, 0), []merkle.Hash{proof(0)[1], proof(0)[0]}, `{"path":"/a"}`, "proof_mismatch"},
		"inner node as a leaf":    {leaf(p, 0), []merkle.Hash{node, tree.Leaf(2)}, `{"path":"/a"}`, "proof_mismatch"},
		"leaf of another plan":    {leaf(other, 0), proof(0), `{"path":"/etc"}`, "plan_mismatch"},
		"leaf with another path":  {edited(`"/a"`, `"/e"`), proof(0), `{"path":"/e"}`, "proof_mismatch"},
		"leaf with another index": {edited(`"index":0`, `"index":1`), proof(1), `{"path":"/a"}`, "proof_mismatch"},
		"leaf beyond the plan":    {edited(`"index":0`, `"index":7`), proof(1), `{"path":"/a"}`, "leaf_malformed"},
		"leaf with more uses":     {edited(`"uses":1`, `"uses":0`), proof(0), `{"path":"/a"}`, "proof_mismatch"},
		"leaf of another count":   {edited(`"count":3`, `"count":4`), proof(0), `{"path":"/a"}`, "plan_mismatch"},
		"leaf in other spelling":  {edited(`"index":0`, `"index": 0`), proof(0), `{"path":"/a"}`, "leaf_malformed"},
		"leaf with a new member":  {edited(`"index":0`, `"index":0,"note":1`), proof(0), `{"path":"/a"}`, "leaf_malformed"},
		"no leaf":                 {[]byte{}, proof(0), `{"path":"/a"}`, "leaf_malformed"},
		"leaf that is no base64":  {[]byte("!!"), proof(0), `{"path":"/a"}`, "leaf_malformed"},
		"huge leaf":               {[]byte(strings.Repeat("A", 1<<20)), proof(0), `{"path":"/a"}`, "leaf_malformed"},
		"args of the next step":   {leaf(p, 0), proof(0), `{"path":"/b"}`, "args_mismatch"},
		"tool of the last step":   {leaf(p, 2), proof(2), `{"path":"/a"}`, "tool_mismatch"},
	} {
		t.Run(name, func(t *testing.T) {
			call := w.call(w.alice, "read", c.args, w.token(p, w.alice, nil))
			call.Shown.Step, call.Shown.Proof = c.step, c.proof
			wantDenial(t, w.intent().Check(context.Background(), call), c.code, string(c.code))
			if call.Grant.Valid() {
				t.Error("a grant was made all the same")
			}
		})
	}
	t.Run("the right one", func(t *testing.T) {
		call := w.call(w.alice, "read", `{"path":"/b"}`, w.token(p, w.alice, nil))
		w.show(call, p, 1)
		w.must(w.intent().Check(context.Background(), call))
		if call.Grant.Step() != 1 || call.Tool == nil || call.Token == nil {
			t.Errorf("step %d, tool %v", call.Grant.Step(), call.Tool)
		}
	})
	t.Run("somebody else's", func(t *testing.T) {
		for _, who := range []identity.Caller{w.second, w.bob, w.eve} {
			call := w.call(who, "read", `{"path":"/b"}`, w.token(p, w.alice, nil))
			w.show(call, p, 1)
			wantDenial(t, w.intent().Check(context.Background(), call), "bearer_mismatch", "bearer_mismatch")
		}
	})
}

func TestAnotherTenantsHeldPlanIsNotFound(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	// Eve mints nothing; she found Alice's token. Her tenant does not hold the plan, and the words do not tell that another does.
	call := w.call(w.eve, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
	if err := w.intent().Check(context.Background(), call); err == nil || call.Grant.Valid() {
		t.Fatalf("granted: %v", err)
	}
}

func TestAnUnknownToolIsNamedOnlyToACallerWithAGrant(t *testing.T) {
	w := newWorld(t)
	// A step for a tool that is not there any more: the plan still proves it, so its owner is told.
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"gone","where":{"a":{"open":true,"optional":true}}}]}`)
	w.hold(p, "active")
	call := w.call(w.alice, "gone", `{}`, w.token(p, w.alice, nil))
	wantDenial(t, w.intent().Check(context.Background(), call), pipeline.NotFound, "unknown_tool")
	if !call.Grant.Valid() {
		t.Error("the caller's step was not proved")
	}
	// Without a plan it is the same refusal as for a tool that exists.
	for _, name := range []string{"gone", "read"} {
		call := w.call(w.alice, name, `{}`, nil)
		wantDenial(t, w.intent().Check(context.Background(), call), pipeline.IntentRequired, "")
	}
	// And an operation that needs no plan.
	call = w.call(w.alice, "gone", `{}`, nil)
	call.Plan = false
	wantDenial(t, w.intent().Check(context.Background(), call), pipeline.NotFound, "unknown_tool")
}

func TestArgumentsThatBreakTheToolsSchemaAreRefusedEvenWhenPlanned(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","where":{"path":{"open":true},"limit":{"open":true,"optional":true}},"additional":true,"uses":0}]}`)
	w.hold(p, "active")
	token := w.token(p, w.alice, nil)
	for _, args := range []string{`{"path":7}`, `{"path":"/a","extra":1}`, `{"path":"/a","limit":0}`, `{"path":"/a","limit":1.5}`, `{"path":"` + strings.Repeat("x", 65) + `"}`} {
		call := w.call(w.alice, "read", args, token)
		d := wantDenial(t, w.intent().Check(context.Background(), call), pipeline.InvalidArguments, "")
		if strings.Contains(d.Message, "xxx") {
			t.Errorf("the refusal repeats an argument: %q", d.Message)
		}
	}
	w.must(w.intent().Check(context.Background(), w.call(w.alice, "read", `{"path":"/a"}`, token)))
}

func TestTheLowestUnusedMatchingStepIsTaken(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, `{"steps":[{"server":"files","tool":"read","args":{"path":"/a"}},{"server":"files","tool":"read","where":{"path":{"open":true}}},{"server":"files","tool":"read","where":{"path":{"open":true}}}]}`)
	w.hold(p, "active")
	for used, want := range []int{0, 1, 2} {
		for i := range used {
			w.used[int32(i)] = 1
		}
		call := w.call(w.alice, "read", `{"path":"/a"}`, w.token(p, w.alice, nil))
		w.must(w.intent().Check(context.Background(), call))
		if call.Grant.Step() != want {
			t.Errorf("step %d, want %d", call.Grant.Step(), want)
		}
	}
}

func TestABadTokenIsNeverIgnoredEvenWhereNoneIsNeeded(t *testing.T) {
	w := newWorld(t)
	answer := func(context.Context, *pipeline.Call) error { return nil }
	for _, plan := range []bool{true, false} {
		call := w.call(w.alice, "", "", []byte("garbage"))
		call.Plan, call.Answer = plan, answer
		wantDenial(t, w.intent().Check(context.Background(), call), "token_malformed", "token_malformed")
	}
	call := &pipeline.Call{Caller: w.alice, Op: "tools/list", Action: "list_tools", Answer: answer}
	w.must(w.intent().Check(context.Background(), call))
	if call.Grant.Valid() || call.Tool != nil {
		t.Error("a list was granted something")
	}
}

// TestAPlanIsWalkedStepByStepAndEachStepOnce runs the whole row over a real ledger: order and uses are the ledger's.
func TestAPlanIsWalkedStepByStepAndEachStepOnce(t *testing.T) {
	w := newWorld(t)
	p := w.plan(w.alice, draft)
	w.hold(p, "active")
	forwarded := 0
	line, log := w.line(forwarder(func(c *pipeline.Call) error {
		forwarded++
		c.Reply = pipeline.Reply{Status: 200, Result: []byte(`{"content":[]}`)}
		return nil
	}))
	token := w.token(p, w.alice, nil)
	run := func(tool, args string) *pipeline.Denial {
		c := &pipeline.Call{Route: "/mcp", Credential: []byte(w.aliceKey), Read: func(_ context.Context, c *pipeline.Call) error {
			c.Op, c.Action, c.Plan, c.Server, c.Name, c.Args, c.Shown.Token = "tools/call", "call_tool", true, "files", tool, []byte(args), token
			return nil
		}}
		line.Run(context.Background(), c)
		if c.Record == "" || len(c.Receipt) == 0 {
			t.Errorf("%s: record %q, receipt of %d bytes", tool, c.Record, len(c.Receipt))
		}
		return c.Denial
	}
	for i, step := range []struct {
		tool, args string
		code       pipeline.Code // empty: passes
		forwarded  int
	}{
		{"send", `{"to":"x"}`, pipeline.StepOrder, 0},
		{"read", `{"path":"/a"}`, "", 1},
		{"read", `{"path":"/a"}`, pipeline.StepUsed, 1},
		{"send", `{"to":"y"}`, "args_mismatch", 1},
		{"send", `{"to":"x"}`, "", 2},
		{"send", `{"to":"x"}`, pipeline.StepUsed, 2},
	} {
		d := run(step.tool, step.args)
		if step.code == "" && d != nil || step.code != "" && (d == nil || d.Code != step.code) {
			t.Fatalf("call %d, %s: %v, want %q", i, step.tool, d, step.code)
		}
		if forwarded != step.forwarded {
			t.Fatalf("call %d: %d forwarded, want %d", i, forwarded, step.forwarded)
		}
	}
	if log.Done(p.Tree().Root()) != 2 {
		t.Errorf("%d steps done, want 2", log.Done(p.Tree().Root()))
	}
}

type forwarder func(*pipeline.Call) error

func (f forwarder) Forward(_ context.Context, c *pipeline.Call) error { return f(c) }
