package policies_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// FuzzBundle feeds policy and schema text to the loader. Whatever compiles must decide without a fault, and a bundle that
// only forbids must not allow.
func FuzzBundle(f *testing.F) {
	for _, name := range policies.Default().Files() {
		data, _ := policies.Default().File(name)
		f.Add(string(data), "")
	}
	f.Add(allowAll, "entity Region enum [\"eu\"];")
	f.Add(`forbid (principal, action == Action::"mail___send", resource) when { context.input has any && context.input.any.text like "*" };`, "")
	f.Add("permit(principal,action,resource)when{((((((((((true", "entity A;")
	f.Add("permit(principal,action,resource)when{true&&// && }\n({a:1}).a==1 && !(\"}\"==\"//\")// \"\n}unless{if true then false else true&&false};", "")
	f.Add(`@id("`+"\xff", "type T = {")
	f.Fuzz(func(t *testing.T, policy, schema string) {
		files := fstest.MapFS{"p.cedar": {Data: []byte(policy)}}
		if schema != "" {
			files["schema.cedarschema"] = &fstest.MapFile{Data: []byte(schema)}
		}
		b, err := policies.LoadBundle(files)
		if err != nil {
			return
		}
		e, err := policies.Compile(b, demoTools())
		if err != nil {
			if strings.Contains(err.Error(), "internal fault") {
				t.Fatal(err)
			}
			return
		}
		for _, a := range []*policies.Ask{call("mail", "send", `{"to":"x","any":[1]}`), call("db", "drop", `{"table":"t"}`), listing("mail", "send")} {
			d := e.Decide(a)
			if strings.Contains(strings.Join(d.Errors(), ""), "fault") {
				t.Fatalf("%q: %q", policy, d.Errors())
			}
			if d.Allowed() && !strings.Contains(policy, "permit") {
				t.Fatalf("%q allows", policy)
			}
			if !a.ArgsKnown {
				continue
			}
			if x, err := e.Explain(a); err != nil || x.Decision.Allowed() != d.Allowed() {
				t.Fatalf("%q: decided %v, explained %v: %v", policy, d.Allowed(), x.Decision.Allowed(), err)
			}
		}
		for _, p := range e.Policies() {
			for _, c := range p.Conditions {
				if !policies.Parses("permit (principal, action, resource) when { " + c.Text + "\n};") {
					t.Fatalf("%q is no condition of %q", c.Text, policy)
				}
			}
		}
	})
}

// FuzzInput feeds arguments to a tool whose every parameter a forbid reads. Nothing gets past that forbid.
func FuzzInput(f *testing.F) {
	for _, args := range []string{`{}`, `{"to":"x"}`, `{"to":"bad"}`, `{"to":"x","copies":9007199254740991,"price":0.1}`, `{"to":"x","any":{"a":[1,2,{"b":null}]}}`,
		`{"to":"x","note":null,"extra":1e-7}`, `{"to":"x","meta":{"dept":"","level":-0}}`, `{"to":"x","mixed":[[],{},""],"pair":[]}`, `{"\u0074o":"bad"}`, `[]`, `{"to":"x","tags":[1]}`} {
		f.Add([]byte(args))
	}
	every := ""
	for _, p := range []string{"copies", "urgent", "price", "tags", "meta", "mode", "note", "any", "mixed", "pair", "free", "either"} {
		every += " || context.input has " + p + " && context.input == context.input && false"
	}
	strict := compile(f, allowAll+`forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "bad" || !context.undeclared.names.isEmpty() || context.inputNulls.contains("/x")`+every+` };`)
	narrow := compile(f, allowAll+`forbid (principal, action == Action::"mail___send", resource) when { context.input.to == "bad" };`)
	f.Fuzz(func(t *testing.T, args []byte) {
		if canon.Check(args, canon.DefaultLimits()) != nil {
			return
		}
		a := call("mail", "send", string(args))
		for _, e := range []*policies.Engine{strict, narrow} {
			d := e.Decide(a)
			if strings.Contains(strings.Join(d.Errors(), ""), "fault") {
				t.Fatalf("%s: %q", args, d.Errors())
			}
			if !d.Allowed() {
				continue
			}
			to, ok := canon.Get(args, "to")
			if text, err := canon.Unquote(to); !ok || err != nil || text == "bad" {
				t.Fatalf("%s gets past the forbid", args)
			}
			if e == strict && bytes.Contains(args, []byte(`"extra":`)) && canon.KindOf(args) == '{' {
				if _, has := canon.Get(args, "extra"); has {
					t.Fatalf("%s: an undeclared argument gets past", args)
				}
			}
		}
	})
}

// FuzzCompileOverlay feeds text to the compiler of overlays. Whatever compiles must decide without a fault, and never
// allow or hold what the bundle alone denies, nor allow what the bundle alone holds.
func FuzzCompileOverlay(f *testing.F) {
	for _, text := range []string{
		`forbid (principal, action, resource);`, `@id("a") @hold("why") @approvals("2") forbid (principal is Agent, action, resource in Server::"mail");`, allowAll,
		`forbid (principal, action in Action::"call_tool", resource) when { context.input has to && context.input.to has string && context.input.to.string like "*x*" };`,
		`forbid (principal, action == Action::"mail___send", resource == Tool::"mail/send") unless { context.input.any.text == "[1]" || context.now < datetime("2020-01-01") };`,
		`forbid (principal, action, resource) when { context.net.ip.isInRange(ip("10.0.0.0/8")) && context.plan.step == 1 && context == context };`,
		"forbid(principal,action,resource)when{((((((((((true", `@id("` + "\xff", `@hold forbid (principal, action, resource);`,
	} {
		f.Add(text)
	}
	e := compile(f, allowAll+`@hold("drop") forbid (principal, action == Action::"db___drop", resource); forbid (principal, action == Action::"db___query", resource);`)
	f.Fuzz(func(t *testing.T, text string) {
		o, err := policies.CompileOverlay("terms", []byte(text))
		if err != nil {
			if o != nil || strings.Contains(err.Error(), "internal fault") {
				t.Fatal(err)
			}
			return
		}
		local := call("laptop", "run", `{"a":{"b":[null]}}`)
		local.Local = true
		listed := call("mail", "", "")
		listed.Action, listed.Args = "list_tools", nil
		for _, a := range []*policies.Ask{call("mail", "send", `{"to":"x","any":[1]}`), call("db", "drop", `{"table":"t"}`), call("db", "query", `{}`), listing("mail", "send"), local, listed} {
			alone := e.Decide(a)
			a.Overlays = []*policies.Overlay{o}
			d := e.Decide(a)
			outlook := e.Outlook(a)
			if strings.Contains(strings.Join(d.Errors(), ""), "fault") {
				t.Fatalf("%q: %q", text, d.Errors())
			}
			if d.Allowed() && !alone.Allowed() || d.Held() && !alone.Allowed() && !alone.Held() {
				t.Fatalf("%q widens: allowed %v, held %v", text, d.Allowed(), d.Held())
			}
			if outlook == policies.Always && !d.Allowed() || outlook == policies.Never && a.ArgsKnown && (d.Allowed() || d.Held()) {
				t.Fatalf("%q: %v, but allowed %v, held %v", text, outlook, d.Allowed(), d.Held())
			}
		}
	})
}
