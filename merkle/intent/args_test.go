package intent_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/intent"
)

// Each case is a step's members, the arguments of the request, and what the refusal must say: "" means
// the arguments fit.
var argumentCases = []struct{ step, args, says string }{
	// Nothing planned, nothing allowed.
	{``, ``, ""}, {``, `{}`, ""}, {``, ` { } `, ""}, {``, `{"a":1}`, `"a" added`},
	{``, `[]`, "not an object"}, {``, `null`, "not an object"}, {``, `"{}"`, "not an object"},
	// Added, removed, changed.
	{`"args":{"a":1,"b":"x"}`, `{"a":1,"b":"x"}`, ""},
	{`"args":{"a":1,"b":"x"}`, ` {"b" : "x" , "a":1} `, ""},
	{`"args":{"a":1,"b":"x"}`, `{"a":1}`, `"b" removed`},
	{`"args":{"a":1,"b":"x"}`, ``, `"a" removed`},
	{`"args":{"a":1,"b":"x"}`, `{"a":1,"b":"x","c":1}`, `"c" added`},
	{`"args":{"a":1,"b":"x"}`, `{"A":1,"a":1,"b":"x"}`, `"A" added`},
	{`"args":{"a":1,"b":"x"}`, `{"a":1,"aa":1,"b":"x"}`, `"aa" added`},
	{`"args":{"a":1,"b":"x"}`, `{"a":2,"b":"x"}`, `"a" changed`},
	{`"args":{"a":1,"b":"x"}`, `{"a":1,"b":"x "}`, `"b" changed`},
	{`"args":{"a":1,"b":"x"}`, `{"a":1,"a":1}`, `twice`},
	{`"args":{"a":1}`, `{"a":1,"\u0061":1}`, `twice`},
	// Retyped: 1, 1.0, 1e0 and 10e-1 are one value; "1", true and [1] are others.
	{`"args":{"a":1}`, `{"a":1.0}`, ""}, {`"args":{"a":1}`, `{"a":1e0}`, ""}, {`"args":{"a":1.0}`, `{"a":10e-1}`, ""}, {`"args":{"a":100}`, `{"a":1e2}`, ""},
	{`"args":{"a":0}`, `{"a":-0}`, ""}, {`"args":{"a":0}`, `{"a":-0.0}`, ""},
	{`"args":{"a":1}`, `{"a":"1"}`, `a string where the plan has a number`}, {`"args":{"a":"1"}`, `{"a":1}`, `a number where the plan has a string`},
	{`"args":{"a":1}`, `{"a":true}`, `a boolean where the plan has a number`}, {`"args":{"a":1}`, `{"a":[1]}`, `an array`}, {`"args":{"a":1}`, `{"a":1.5}`, `"a" changed`},
	{`"args":{"a":true}`, `{"a":false}`, `"a" changed`}, {`"args":{"a":true}`, `{"a":"true"}`, `"a" changed`},
	// Null is a value, absent is none.
	{`"args":{"a":null}`, `{"a":null}`, ""}, {`"args":{"a":null}`, `{}`, `"a" removed`}, {``, `{"a":null}`, `"a" added`}, {`"args":{"a":""}`, `{"a":null}`, `null where`},
	{`"args":{"a":null}`, `{"a":false}`, `"a" changed`}, {`"args":{"a":{}}`, `{"a":null}`, `"a" changed`},
	// Other spellings of the same text; another normal form is another text.
	{`"args":{"a":"é/\n"}`, `{"a":"\u00e9\/\u000a"}`, ""}, {`"args":{"a":"é"}`, `{"a":"e\u0301"}`, `"a" changed`}, {`"args":{"é":1}`, `{"\u00e9":1}`, ""},
	{`"args":{"a":"\ud83d\ude00"}`, `{"a":"😀"}`, ""}, {`"args":{"a":"K"}`, `{"a":"\u212a"}`, `"a" changed`},
	// Deep values.
	{`"args":{"a":{"x":[1,2,{"y":null}],"z":"s"}}`, `{"a":{"z":"s","x":[1.0,2,{"y":null}]}}`, ""},
	{`"args":{"a":{"x":[1,2]}}`, `{"a":{"x":[2,1]}}`, `"a" changed`}, {`"args":{"a":{"x":[1,2]}}`, `{"a":{"x":[1,2,3]}}`, `"a" changed`},
	{`"args":{"a":{"x":1}}`, `{"a":{"x":1,"y":2}}`, `"a" changed`}, {`"args":{"a":[]}`, `{"a":{}}`, `"a" changed`},
	// Optional and additional.
	{`"where":{"a":{"const":1,"optional":true}}`, `{}`, ""}, {`"where":{"a":{"const":1,"optional":true}}`, `{"a":2}`, `"a" changed`}, {`"where":{"a":{"const":1,"optional":true}}`, `{"a":null}`, `"a" changed`},
	{`"args":{"b":1},"additional":true`, `{"a":0,"b":1,"c":[{}]}`, ""}, {`"args":{"b":1},"additional":true`, `{"a":0,"c":1}`, `"b" removed`}, {`"args":{"b":1},"additional":true`, `{"a":0,"a":1,"b":1}`, `twice`},
	{`"where":{"a":{"open":true}}`, `{"a":{"x":[null]}}`, ""}, {`"where":{"a":{"open":true}}`, `{}`, `"a" removed`},
	// Enum.
	{`"where":{"a":{"enum":[1,"x",null,{"k":[1]}]}}`, `{"a":1.0}`, ""}, {`"where":{"a":{"enum":[1,"x",null,{"k":[1]}]}}`, `{"a":{"k":[1e0]}}`, ""}, {`"where":{"a":{"enum":[1,"x",null]}}`, `{"a":null}`, ""},
	{`"where":{"a":{"enum":[1,"x"]}}`, `{"a":"1"}`, `"a" changed`}, {`"where":{"a":{"enum":[1,"x"]}}`, `{"a":null}`, `"a" changed`}, {`"where":{"a":{"enum":[[]]}}`, `{"a":[[]]}`, `"a" changed`},
	// Range, as decimals.
	{`"where":{"a":{"min":1,"max":10}}`, `{"a":1}`, ""}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":10.0}`, ""}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":1e1}`, ""},
	{`"where":{"a":{"min":1,"max":10}}`, `{"a":10.01}`, `"a" changed`}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":0.999}`, `"a" changed`}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":-5}`, `"a" changed`},
	{`"where":{"a":{"min":1,"max":10}}`, `{"a":"5"}`, `"a" changed`}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":null}`, `"a" changed`}, {`"where":{"a":{"min":1,"max":10}}`, `{"a":[5]}`, `"a" changed`},
	{`"where":{"a":{"max":0}}`, `{"a":-0.0}`, ""}, {`"where":{"a":{"max":0}}`, `{"a":-1e300}`, ""}, {`"where":{"a":{"min":-2.5}}`, `{"a":-2.51}`, `"a" changed`}, {`"where":{"a":{"min":1e-7}}`, `{"a":0.0000001}`, ""},
	// Prefix and pattern.
	{`"where":{"a":{"prefix":"/tmp/"}}`, `{"a":"/tmp/x"}`, ""}, {`"where":{"a":{"prefix":"/tmp/"}}`, `{"a":"\/tmp\u002fx"}`, ""}, {`"where":{"a":{"prefix":"/tmp/"}}`, `{"a":"/tmp"}`, `"a" changed`},
	{`"where":{"a":{"prefix":"/tmp/"}}`, `{"a":" /tmp/"}`, `"a" changed`}, {`"where":{"a":{"prefix":""}}`, `{"a":""}`, ""}, {`"where":{"a":{"prefix":""}}`, `{"a":1}`, `"a" changed`},
	{`"where":{"a":{"pattern":"[a-z]+"}}`, `{"a":"abc"}`, ""}, {`"where":{"a":{"pattern":"[a-z]+"}}`, `{"a":"abc1"}`, `"a" changed`}, {`"where":{"a":{"pattern":"[a-z]+"}}`, `{"a":"1abc"}`, `"a" changed`},
	{`"where":{"a":{"pattern":"[a-z]+"}}`, `{"a":"abc\nx"}`, `"a" changed`}, {`"where":{"a":{"pattern":"[a-z]+"}}`, `{"a":"abc\n"}`, `"a" changed`}, {`"where":{"a":{"pattern":"a|b"}}`, `{"a":"ab"}`, `"a" changed`},
	{`"where":{"a":{"pattern":"a|b"}}`, `{"a":"b"}`, ""}, {`"where":{"a":{"pattern":"(?m)^a$"}}`, `{"a":"a\nb"}`, `"a" changed`}, {`"where":{"a":{"pattern":"1"}}`, `{"a":1}`, `"a" changed`},
	// Schema.
	{`"where":{"a":{"schema":{}}}`, `{"a":[]}`, ""},
	{`"where":{"a":{"schema":{"type":"integer"}}}`, `{"a":1.0}`, ""}, {`"where":{"a":{"schema":{"type":"integer"}}}`, `{"a":1.5}`, `changed`}, {`"where":{"a":{"schema":{"type":["string","null"]}}}`, `{"a":null}`, ""},
	{`"where":{"a":{"schema":{"type":["string","null"]}}}`, `{"a":1}`, `changed`}, {`"where":{"a":{"schema":{"const":{"x":1}}}}`, `{"a":{"x":1.0}}`, ""}, {`"where":{"a":{"schema":{"enum":[1,2]}}}`, `{"a":3}`, `changed`},
	{`"where":{"a":{"schema":{"exclusiveMinimum":0,"maximum":5}}}`, `{"a":0}`, `changed`}, {`"where":{"a":{"schema":{"exclusiveMinimum":0,"maximum":5}}}`, `{"a":5}`, ""},
	{`"where":{"a":{"schema":{"minimum":0,"exclusiveMaximum":5}}}`, `{"a":5.0}`, `changed`}, {`"where":{"a":{"schema":{"maximum":5}}}`, `{"a":"not a number"}`, ""},
	{`"where":{"a":{"schema":{"minLength":2,"maxLength":3}}}`, `{"a":"é😀"}`, ""}, {`"where":{"a":{"schema":{"minLength":2,"maxLength":3}}}`, `{"a":"\u00e9"}`, `changed`}, {`"where":{"a":{"schema":{"maxLength":3}}}`, `{"a":"abcd"}`, `changed`},
	{`"where":{"a":{"schema":{"pattern":"b"}}}`, `{"a":"abc"}`, ""}, {`"where":{"a":{"schema":{"pattern":"^b"}}}`, `{"a":"abc"}`, `changed`},
	{`"where":{"a":{"schema":{"items":{"type":"string"},"minItems":1,"maxItems":2}}}`, `{"a":["x","y"]}`, ""}, {`"where":{"a":{"schema":{"items":{"type":"string"}}}}`, `{"a":["x",1]}`, `changed`},
	{`"where":{"a":{"schema":{"minItems":1}}}`, `{"a":[]}`, `changed`}, {`"where":{"a":{"schema":{"maxItems":1}}}`, `{"a":[1,2]}`, `changed`},
	{`"where":{"a":{"schema":{"properties":{"k":{"type":"string"}},"required":["k"],"additionalProperties":false}}}`, `{"a":{"k":"v"}}`, ""},
	{`"where":{"a":{"schema":{"properties":{"k":{"type":"string"}},"required":["k"],"additionalProperties":false}}}`, `{"a":{}}`, `changed`},
	{`"where":{"a":{"schema":{"properties":{"k":{"type":"string"}},"additionalProperties":false}}}`, `{"a":{"K":"v"}}`, `changed`}, {`"where":{"a":{"schema":{"properties":{"k":{"type":"string"}}}}}`, `{"a":{"k":1}}`, `changed`},
	{`"where":{"a":{"schema":{"minProperties":1,"maxProperties":1}}}`, `{"a":{"k":1,"l":2}}`, `changed`}, {`"where":{"a":{"schema":{"minProperties":1}}}`, `{"a":{}}`, `changed`},
	{`"where":{"a":{"schema":{"anyOf":[{"type":"null"},{"type":"number","minimum":1}]}}}`, `{"a":1}`, ""}, {`"where":{"a":{"schema":{"anyOf":[{"type":"null"},{"type":"number","minimum":1}]}}}`, `{"a":0}`, `changed`},
}

func TestArgumentsFitExactlyWhatThePlanAllows(t *testing.T) {
	for _, c := range argumentCases {
		w := newWorld(t, one(c.step))
		for _, how := range []string{"held", "leaf", "step"} {
			_, err := grantBy(t, w, how, w.request("t", c.args))
			if c.says == "" {
				if err != nil {
					t.Errorf("%s: %s refuses %s: %v", how, c.step, c.args, err)
				}
				continue
			}
			var e *intent.Error
			if !errors.As(err, &e) || e.Reason != intent.ArgsMismatch || !strings.Contains(e.Msg+"; "+e.Hint, c.says) {
				t.Errorf("%s: %s with %s: %v, want args_mismatch saying %q", how, c.step, c.args, err, c.says)
			}
		}
	}
}

// grantBy asks for a grant of step 0 in one of the three ways.
func grantBy(t *testing.T, w *world, how string, r intent.Request) (intent.Grant, error) {
	t.Helper()
	switch how {
	case "leaf":
		return w.verifier.GrantLeaf(w.token(t), who, r, w.leaf(t, 0), w.held.AppendProof(nil, 0), now)
	case "step":
		return w.verifier.Grant(w.token(t), who, r, &w.plan.Steps[0], 0, w.held.AppendProof(nil, 0), now)
	}
	return w.grantHeld(t, r)
}

func TestRefusalsNameParametersButNeverValues(t *testing.T) {
	w := newWorld(t, one(`"args":{"a":"plan-secret","b":["plan-secret"]},"where":{"c":{"pattern":"plan-secret"}}`))
	for _, args := range []string{
		`{"a":"sent-secret","b":["plan-secret"],"c":"plan-secret"}`, `{"a":"plan-secret","b":["sent-secret"],"c":"x"}`,
		`{"a":"plan-secret","b":["plan-secret"],"c":"sent-secret"}`, `{"a":"plan-secret","b":["plan-secret"],"c":"plan-secret","d":"sent-secret"}`,
	} {
		_, err := w.grantHeld(t, w.request("t", args))
		refused(t, err, intent.ArgsMismatch)
		var e *intent.Error
		if errors.As(err, &e); strings.Contains(e.Error()+e.Hint, "secret") || e.Pointer == "" {
			t.Errorf("%s: %v (%s)", args, err, e.Hint)
		}
	}
	_, err := w.grantHeld(t, w.request("t", `{"`+strings.Repeat("n", 5000)+`":1}`))
	if refused(t, err, intent.ArgsMismatch); len(err.Error()) > 500 {
		t.Fatalf("a refusal of %d bytes", len(err.Error()))
	}
}

func TestMatchingIsBoundedWhateverPlanAndArgumentsSay(t *testing.T) {
	hard := strings.Repeat(`,{"server":"files","tool":"t","where":{"a":{"pattern":"(x?x?){100}y"}}}`, 500)
	w := newWorld(t, `{"steps":[`+hard[1:]+`]}`)
	_, err := w.grantHeld(t, w.request("t", `{"a":"`+strings.Repeat("x", 4096)+`"}`))
	if refused(t, err, intent.ArgsMismatch); !strings.Contains(err.Error(), "costly") && !strings.Contains(err.Error(), "changed") {
		t.Fatal(err)
	}
	_, err = w.grantHeld(t, w.request("t", `{"a":"`+strings.Repeat("x", 4097)+`"}`))
	refused(t, err, intent.ArgsMismatch)
	w = newWorld(t, one(`"where":{"a":{"schema":{"items":{"pattern":"[a-z]{200}[0-9]"}}}}`))
	long := `"` + strings.Repeat("x", 4000) + `"`
	if _, err = w.grantHeld(t, w.request("t", `{"a":[`+strings.Repeat(long+",", 100)+long+`]}`)); !strings.Contains(fmt.Sprint(err), "changed") && !strings.Contains(fmt.Sprint(err), "costly") {
		t.Fatal(err)
	}
	w = newWorld(t, one(`"where":{"a":{"schema":{"items":{"pattern":"[a-z]{200}"}}}}`))
	if _, err = w.grantHeld(t, w.request("t", `{"a":[`+long+`]}`)); err != nil {
		t.Fatal(err)
	}
	if _, err = w.grantHeld(t, w.request("t", `{"a":[`+strings.Repeat(long+",", 100)+long+`]}`)); !strings.Contains(fmt.Sprint(err), "too costly") {
		t.Fatalf("values that fit, but take too long to compare: %v", err)
	}
	w = newWorld(t, one(`"where":{"a":{"open":true}},"additional":true`))
	many := `{"a":1` + strings.Repeat(`,"a":1`, 5000) + `}`
	_, err = w.grantHeld(t, w.request("t", many))
	refused(t, err, intent.ArgsMismatch)
}

func TestUncheckedArgumentsNeverPanicAndNeverFitByChance(t *testing.T) {
	w := newWorld(t, one(`"args":{"a":"x"}`))
	for _, args := range []string{`{`, `{"a"`, `{"a":`, `{"a":"x"`, `{"a":"x}`, `{"a":"x",}`, `{"a":"x"} x{`, "\x00", `{"a":"x"`, `{a:"x"}`, `"`, `{"":}`} {
		if g, err := w.grantHeld(t, w.request("t", args)); err == nil && args != `{"a":"x"} x{` {
			t.Errorf("%q gave a grant for step %d", args, g.Step())
		}
	}
}

func TestCoversForgivesOnlyWhatThePlanMarksRedactable(t *testing.T) {
	w := newWorld(t, one(`"args":{"to":"a@b","msg":{"text":"hello","n":[1,2]}},"where":{"k":{"enum":[{"v":1},{"v":2}]},"body":{"prefix":"Dear"},"any":{"open":true,"optional":true}},"redactable":["/msg/text","/msg/n/1","/body","/k/v"]`))
	first := `{"to":"a@b","msg":{"text":"hello","n":[1,2]},"k":{"v":2},"body":"Dear all"}`
	for _, how := range []string{"held", "leaf", "step"} {
		g, err := grantBy(t, w, how, w.request("t", first))
		if err != nil {
			t.Fatal(err)
		}
		for args, want := range map[string]bool{
			first: true,
			`{"to":"a@b","msg":{"text":"***","n":[1,2]},"k":{"v":2},"body":"Dear all"}`:                true,
			`{"to":"a@b","msg":{"n":[1,{"x":null}],"text":null},"k":{"v":"?"},"body":["whatever"]}`:    true,
			`{"to":"a@b","msg":{"text":"hello","n":[1.0,2]},"k":{"v":1},"body":"","any":[]}`:           true,
			`{"to":"a@c","msg":{"text":"hello","n":[1,2]},"k":{"v":2},"body":"Dear all"}`:              false,
			`{"to":"a@b","msg":{"text":"hello","n":[9,2]},"k":{"v":2},"body":"Dear all"}`:              false,
			`{"to":"a@b","msg":{"text":"hello","n":[1,2,3]},"k":{"v":2},"body":"Dear all"}`:            false,
			`{"to":"a@b","msg":{"n":[1,2]},"k":{"v":2},"body":"Dear all"}`:                             false,
			`{"to":"a@b","msg":{"text":"hello","n":[1,2],"extra":1},"k":{"v":2},"body":"Dear all"}`:    false,
			`{"to":"a@b","msg":"***","k":{"v":2},"body":"Dear all"}`:                                   false,
			`{"to":"a@b","msg":{"text":"hello","n":[1,2]},"k":{"v":2,"w":1},"body":"Dear all"}`:        false,
			`{"to":"a@b","msg":{"text":"hello","n":[1,2]},"k":{"v":2}}`:                                false,
			`{"to":"a@b","msg":{"text":"hello","n":[1,2]},"k":{"v":2},"body":"Dear all","bcc":"evil"}`: false,
			`{"msg":{"text":"hello","n":[1,2]},"k":{"v":2},"body":"Dear all"}`:                         false,
			``: false,
		} {
			if err := g.Covers([]byte(args)); (err == nil) != want {
				t.Errorf("%s: Covers(%s) = %v, want %v", how, args, err, want)
			}
		}
		// What may be rewritten afterwards must still be as planned in the request itself.
		_, err = grantBy(t, w, how, w.request("t", strings.Replace(first, "hello", "***", 1)))
		refused(t, err, intent.ArgsMismatch)
	}
}

func TestDecimalsCompareByValue(t *testing.T) {
	ascending := [][]string{
		{"-1e300"}, {"-9007199254740991"}, {"-10.5", "-1.05e1"}, {"-10"}, {"-0.001", "-1e-3"}, {"0", "-0", "0.0", "0e9", "-0.0e-5"}, {"1e-300"}, {"0.0009"}, {"0.001", "1E-3", "0.1e-2", "10e-4"},
		{"0.5"}, {"1", "1.0", "10e-1", "0.1e1", "1.000e+0"}, {"1.0000001"}, {"9.99"}, {"10", "1e1"}, {"10.5"}, {"99"}, {"100", "1e2"}, {"9007199254740991"}, {"1e22"}, {"1e300"},
	}
	for i, xs := range ascending {
		for k, ys := range ascending {
			for _, x := range xs {
				for _, y := range ys {
					want := 0
					if i < k {
						want = -1
					} else if i > k {
						want = 1
					}
					if got := intent.CompareDecimals(x, y); got != want {
						t.Errorf("compare %s with %s: %d, want %d", x, y, got, want)
					}
				}
			}
		}
	}
	for x, want := range map[string]bool{"1": true, "1.0": true, "1e2": true, "0.0": true, "1.20e1": true, "1.25e1": false, "0.1": false, "1e-1": false, "10e-1": true, "100e-3": false, "-3": true} {
		if intent.IsInteger(x) != want {
			t.Errorf("%s: integer %v", x, !want)
		}
	}
}
