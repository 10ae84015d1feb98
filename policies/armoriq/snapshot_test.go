package armoriq_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/gatewright/gatewright/policies/armoriq"
)

func TestASnapshotThatIsNotUnderstoodIsRefusedAtItsPlace(t *testing.T) {
	bound := func(b string) string { return `{"amountThreshold":` + b + `}` }
	for _, c := range []struct{ text, pointer string }{
		{`{"version":1,"allowedTools":["a"]}`, "/version"},
		{`[{"allowedTools":["*"]},7]`, "/1"},
		{`{"allowedTools":[]}`, "/allowedTools"},
		{`{"allowedTools":"*"}`, "/allowedTools"},
		{`{"allowedTools":["pay?"]}`, "/allowedTools/0"},
		{`{"memberRule":{"allowedTools":["a"]},"rules":{}}`, ""},
		{`{"memberRule":{"allowedTools":["a"]},"allowedTools":["b"]}`, ""},
		{`{"memberRule":{"blockedTools":["a"]}}`, "/memberRule/blockedTools"},
		{`{"defaultEnforcementAction":"allow"}`, "/defaultEnforcementAction"},
		{`{"policyName":7}`, "/policyName"},
		{bound(`7`), "/amountThreshold"},
		{bound(`{"max":7}`), "/amountThreshold/max"},
		{bound(`{"currency":7}`), "/amountThreshold/currency"},
		{bound(`{"maxPerTransaction":"7"}`), "/amountThreshold/maxPerTransaction"},
		{bound(`{"maxPerTransaction":-7}`), "/amountThreshold/maxPerTransaction"},
		{bound(`{"maxPerTransaction":1e3}`), "/amountThreshold/maxPerTransaction"},
		{bound(`{"requireApprovalAbove":0.00001}`), "/amountThreshold/requireApprovalAbove"},
		{bound(`{"requireApprovalAbove":1000000000000000}`), "/amountThreshold/requireApprovalAbove"},
		{`{"financialRule":{"amountThreshold":{}},"amountThreshold":{}}`, "/financialRule/amountThreshold"},
		{`{"financialRule":{"limit":1}}`, "/financialRule/limit"},
	} {
		refused(t, armoriq.Profile, c.text, c.pointer)
	}
}

func TestAmounts(t *testing.T) {
	const most = `{"policyName":"p","memberRule":{"allowedTools":["pay"],"financialRule":{"amountThreshold":{"currency":"USD","maxPerTransaction":1000,"requireApprovalAbove":99.5}}}}`
	for _, c := range []struct {
		text, tool, args string
		want             int
	}{
		{most, "bank/pay", `{}`, allow},
		{most, "bank/read", `{}`, deny},
		{most, "bank/pay", `{"amount":99.5}`, allow},
		{most, "bank/pay", `{"amount":99.5001}`, hold},
		{most, "bank/pay", `{"amount":1000}`, hold},
		{most, "bank/pay", `{"amount":1000.0001}`, deny},
		{most, "bank/pay", `{"amount":1,"total":2000}`, deny},
		{most, "bank/pay", `{"cost":1e10}`, deny},
		{most, "bank/pay", `{"cost":1e22}`, deny},
		{most, "bank/pay", `{"cost":0.00001}`, deny},
		{most, "bank/pay", `{"amount":-5}`, allow},
		{most, "bank/pay", `{"amount":"2000"}`, deny},
		{most, "bank/pay", `{"amount":{"value":2000}}`, deny},
		{most, "bank/pay", `{"amount":[1]}`, deny},
		{most, "bank/pay", `{"amount":null,"value":"","total":true,"cost":false}`, allow},
		{most, "bank/pay", `{"amount":"５０００"}`, deny},
		{most, "bank/pay", `{"amount":"٥٠٠٠"}`, deny},
		{most, "bank/pay", `{"amount":"Infinity"}`, deny},
		{most, "bank/pay", `{"amount":"1e3"}`, deny},
		{most, "bank/pay", `{"amount":" 5000 "}`, deny},
		{most, "bank/pay", `{"amount":"5_000"}`, deny},
		{most, "bank/pay", `{"amount":"five thousand"}`, deny},
		{most, "bank/pay", `{"amount":["五千"]}`, deny},
		{most, "bank/pay", `{"amount":[]}`, deny},
		{most, "bank/pay", `{"amount":{}}`, deny},
		{most, "bank/pay", `{"amount":7,"value":"all"}`, deny},
		{most, "bank/read", `{"value":"all"}`, deny},
		{`{"amountThreshold":{"maxPerTransaction":0.5}}`, "bank/pay", `{"amount":true}`, deny},
		{`{"amountThreshold":{"requireApprovalAbove":100}}`, "bank/pay", `{"amount":"∞"}`, hold},
		{most, "bank/pay", `{"sum":2000}`, allow},
		{`{"allowedTools":["*"],"amountThreshold":{"requireApprovalAbove":1000}}`, "any/tool", `{"amount":1500}`, hold},
		{`{"allowedTools":["*"],"amountThreshold":{"requireApprovalAbove":1000}}`, "any/tool", `{"amount":"1"}`, hold},
		{`{"amountThreshold":{"requireApprovalAbove":0}}`, "any/tool", `{"amount":true}`, hold},
		{`[{"allowedTools":["a"],"defaultEnforcementAction":"hold"},{"allowedTools":["s/b","t__c"],"defaultEnforcementAction":"hold"}]`, "s/b", `{}`, allow},
		{`[{"allowedTools":["a"],"defaultEnforcementAction":"hold"},{"allowedTools":["s/b","t__c"],"defaultEnforcementAction":"hold"}]`, "t/c", `{}`, allow},
		{`[{"allowedTools":["a"],"defaultEnforcementAction":"hold"},{"allowedTools":["s/b","t__c"],"defaultEnforcementAction":"hold"}]`, "s/c", `{}`, hold},
		{`[{"allowedTools":["a"],"defaultEnforcementAction":"hold"},{"allowedTools":["b"]}]`, "s/c", `{}`, deny},
		{`[{"allowedTools":["*"],"amountThreshold":{"maxPerTransaction":10}},{"clientRule":{"allowedTools":["pay"],"amountThreshold":{"maxPerTransaction":5}}}]`, "s/pay", `{"price":7}`, deny},
		{`[{"allowedTools":["*"],"amountThreshold":{"maxPerTransaction":10}},{"clientRule":{"allowedTools":["pay"],"amountThreshold":{"maxPerTransaction":5}}}]`, "s/buy", `{"price":7}`, allow},
	} {
		_, o := translate(t, armoriq.Profile, c.text)
		server, tool, _ := strings.Cut(c.tool, "/")
		if got := judge(t, o, call(server, tool, c.args)); got != c.want {
			t.Errorf("%s %s: %d, want %d\n%s", c.tool, c.args, got, c.want, c.text)
		}
	}
	terms, _ := translate(t, armoriq.Profile, most)
	if terms.Name != "p" || len(terms.Lines) != 3 {
		t.Errorf("%q: %q", terms.Name, terms.Lines)
	}
}

func TestAListHidesOnlyWhatNoArgumentsCouldSave(t *testing.T) {
	_, o := translate(t, armoriq.Profile, `{"allowedTools":["pay"],"amountThreshold":{"maxPerTransaction":1000}}`)
	for tool, want := range map[string]int{"pay": allow, "read": deny} {
		a := call("bank", tool, "")
		a.Args, a.ArgsKnown = nil, false
		if got := judge(t, o, a); got != want {
			t.Errorf("%s: %d, want %d", tool, got, want)
		}
	}
}

// number reads a value as Python's float (inf and digits of any script among them) or as JavaScript's Number does.
func number(v any, python bool) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case bool:
		return map[bool]float64{true: 1}[v], true
	case []any:
		if !python && len(v) == 1 {
			return number(v[0], python)
		}
	case string:
		s := strings.TrimSpace(v)
		if !python {
			if n, err := strconv.ParseInt(s, 0, 64); err == nil && strings.HasPrefix(s, "0x") {
				return float64(n), true
			}
			f, err := strconv.ParseFloat(s, 64)
			return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
		}
		s = strings.Map(func(r rune) rune {
			if r > 0x7f && unicode.IsDigit(r) {
				return '0' + r&15 // of the two scripts used here
			}
			return r
		}, strings.ReplaceAll(s, "_", ""))
		f, err := strconv.ParseFloat(s, 64)
		return f, err == nil
	}
	return 0, false
}

// clientOfAmounts is what a client says of amounts: it looks at the first that is a number.
func clientOfAmounts(args map[string]any, python bool, most, above float64) int {
	for _, name := range []string{"amount", "value", "total", "price", "cost"} {
		n, ok := number(args[name], python)
		switch {
		case !ok:
			continue
		case n > most:
			return deny
		case n > above:
			return hold
		}
		return allow
	}
	return allow
}

func TestAmountsAreNeverLooserThanAtTheClient(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	values := []any{nil, 1.0, 99.99, 100.0, 100.01, 500.0, 1000.0, 1000.5, 1e12, "1000.5", " 1e6 ", "0x10", "free", "", true, 0.0001, false,
		"５０００", "٥٠٠٠", "Infinity", "-inf", "5_000", "1e3", " 5000 ", "+5000", []any{5000.0}, []any{}, map[string]any{"value": 5000.0}}
	for range 500 {
		most, above := float64(r.IntN(200000))/100, float64(r.IntN(200000))/100
		_, o := translate(t, armoriq.Profile, fmt.Sprintf(`{"amountThreshold":{"maxPerTransaction":%v,"requireApprovalAbove":%v}}`, most, above))
		args, plain := map[string]any{}, true
		for _, name := range []string{"amount", "value", "total", "price", "cost"} {
			if r.IntN(3) == 0 {
				args[name] = pick(r, values...)
				_, number := args[name].(float64)
				plain = plain && number
			}
		}
		raw, _ := json.Marshal(args)
		want := max(clientOfAmounts(args, true, most, above), clientOfAmounts(args, false, most, above))
		got := judge(t, o, call("bank", "pay", string(raw)))
		if got < want || plain && len(args) == 1 && got != want {
			t.Fatalf("%s, at most %v, approval above %v: %d, the client says %d", raw, most, above, got, want)
		}
	}
}
