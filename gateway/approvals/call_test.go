package approvals_test

import (
	"crypto/sha256"
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
)

func TestADigestIsRefusedForWhatIsNotOneCall(t *testing.T) {
	for name, change := range map[string]func(*approvals.Call){
		"injected member": func(c *approvals.Call) { c.Args = []byte(`{},"user":"usr_x"`) },
		"array":           func(c *approvals.Call) { c.Args = []byte(`[]`) },
		"null":            func(c *approvals.Call) { c.Args = []byte(`null`) },
		"empty":           func(c *approvals.Call) { c.Args = []byte{} },
		"twice":           func(c *approvals.Call) { c.Args = []byte(`{"a":1,"a":2}`) },
		"rounded":         func(c *approvals.Call) { c.Args = []byte(`{"a":9007199254740993}`) },
		"not UTF-8":       func(c *approvals.Call) { c.Tool = "pay\xff" },
		"long":            func(c *approvals.Call) { c.Server = strings.Repeat("x", 513) },
	} {
		q := pay()
		change(&q.Call)
		d, err := q.Digest()
		if !d.IsZero() {
			t.Errorf("%s: %s", name, d)
		}
		wants(t, err, approvals.ErrInvalid)
	}
}

// reference makes the digest another way: by encoding/json and the canonical form of the whole.
func reference(t *testing.T, c approvals.Call) merkle.Hash {
	t.Helper()
	args := json.RawMessage(c.Args)
	if c.Args == nil {
		args = json.RawMessage("{}")
	}
	raw, err := json.Marshal(map[string]any{
		"typ": "gatewright-approval/v1", "tenant": c.Tenant, "user": c.User, "agent": c.Agent, "plan": c.PlanID,
		"op": c.Op, "server": c.Server, "tool": c.Tool, "args": args,
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := canon.AppendCanonical(nil, raw, canon.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(out)
}

func TestTheDigestIsOfAllThatTheCallIs(t *testing.T) {
	base := pay().Call
	seen := map[merkle.Hash]string{}
	for name, change := range map[string]func(*approvals.Call){
		"itself": func(*approvals.Call) {},
		"tenant": func(c *approvals.Call) { c.Tenant = "other" }, "user": func(c *approvals.Call) { c.User = "usr_w" },
		"agent": func(c *approvals.Call) { c.Agent = "agt_b" }, "plan": func(c *approvals.Call) { c.PlanID = "" },
		"op": func(c *approvals.Call) { c.Op = "resources/read" }, "server": func(c *approvals.Call) { c.Server = "ba\"nk\u2028" },
		"tool": func(c *approvals.Call) { c.Tool = "zahl-ä" }, "no args": func(c *approvals.Call) { c.Args = nil },
		"amount": func(c *approvals.Call) { c.Args = []byte(`{"amount":5001,"to":"canary-41"}`) },
		"more":   func(c *approvals.Call) { c.Args = []byte(`{"amount":5000,"to":"canary-41","x":null}`) },
		"text":   func(c *approvals.Call) { c.Args = []byte(`{"amount":"5000","to":"canary-41"}`) },
	} {
		c := base
		change(&c)
		got, err := c.Digest()
		if err != nil || got != reference(t, c) {
			t.Errorf("%s: %s %v, want %s", name, got, err, reference(t, c))
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%s has the digest of %s", name, other)
		}
		seen[got] = name
	}
	alike := base
	alike.Args = []byte("{ \"amount\":5.0e3,\n\"to\":\"\\u0063anary-41\"}")
	empty, braces := base, base
	empty.Args, braces.Args = nil, []byte(" {} ")
	for _, pair := range [][2]approvals.Call{{base, alike}, {empty, braces}} {
		if a, _ := pair[0].Digest(); a != reference(t, pair[1]) {
			t.Error("one call has two digests")
		}
	}
}

func TestAmountIsExactDecimalText(t *testing.T) {
	for args, want := range map[string]string{
		`{"amount":5000}`: "5000", `{"amount":5000.0}`: "5000", `{"value":1e3}`: "1000", `{"total":0.1}`: "0.1", `{"price":-2.50}`: "-2.5", `{"cost":1E-3}`: "0.001",
		`{"cost":1,"amount":2}`: "2", `{"amount":null,"total":7}`: "7", `{"amount":1,"total":1000000}`: "1000000", `{"amount":5,"cost":-9}`: "-9", `{"amount":5,"cost":"lots"}`: "", `{"amount":"12.30"}`: "12.3", `{"amount":"1e2"}`: "100", `{"amount":-0}`: "0",
		`{"amount":1e300}`: "1" + strings.Repeat("0", 300),
		``:                 "", `{}`: "", `{"Amount":5}`: "", `{"nested":{"amount":5}}`: "", `{"amount":true}`: "", `{"amount":"many","cost":3}`: "", `{"amount":[1]}`: "",
		`{"amount":"1_000"}`: "", `{"amount":"0x10"}`: "", `{"amount":"1/3"}`: "", `{"amount":"1e9999"}`: "", `{"amount":"Inf"}`: "", `{"amount":" 5"}`: "", `{"amount":""}`: "",
		`{"amount":".5"}`: "", `{"amount":"5."}`: "", `{"amount":"+5"}`: "", `{"amount":"1e"}`: "", `{"amount":"` + strings.Repeat("9", 401) + `"}`: "",
	} {
		if got, ok := approvals.Amount([]byte(args)); got != want || ok != (want != "") {
			t.Errorf("%.60s: %q %v, want %q", args, got, ok, want)
		}
	}
}

func FuzzAmount(f *testing.F) {
	for _, s := range []string{`{"amount":5}`, `{"amount":"1e3"}`, `{"total":-0.5,"amount":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		if canon.Check(args, canon.DefaultLimits()) != nil {
			return
		}
		text, ok := approvals.Amount(args)
		if !ok {
			return
		}
		if _, err := new(big.Rat).SetString(text); !err || strings.ContainsAny(text, "eE/") {
			t.Fatalf("%q", text)
		}
		if again, _ := approvals.Amount([]byte(`{"amount":"` + text + `"}`)); len(text) <= 400 && again != text {
			t.Fatalf("%q becomes %q", text, again)
		}
	})
}
