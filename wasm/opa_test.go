package wasm_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
)

// What a policy's functions answer with in these tests: where they lie in its memory.
const (
	atBuiltins, atEntrypoints, atResult, atText, atString = 1000, 2000, 3000, 5000, 5100
	policyHeap                                            = 60_000
)

// The functions that policies import, by number.
const (
	opaAbort = iota
	opaPrintln
	opaBuiltin0
	opaBuiltin2
)

// policy is a module that speaks OPA's ABI, as a hostile author writes it: change may replace any function's code.
func policy(entrypoints, result string, change map[string][]byte, segments ...data) asm {
	one, two := []byte{i32}, []byte{i32, i32}
	a := asm{pages: 2, memory: "memory", globals: []uint64{1, 3}, shared: []string{"opa_wasm_abi_version", "opa_wasm_abi_minor_version"}}
	a.data = append(segments, data{atEntrypoints, entrypoints}, data{atResult, result})
	if change["builtins"] == nil {
		a.data = append(a.data, data{atBuiltins, `{"sprintf":0,"time.now_ns":1}`})
	}
	a.imports = []host{{"env", "opa_abort", one, nil}, {"env", "opa_println", one, nil}, {"env", "opa_builtin0", two, one},
		{"env", "opa_builtin2", []byte{i32, i32, i32, i32}, one}}
	for _, f := range []fn{
		{"opa_malloc", one, one, 0, constant(40_000)},
		{"opa_json_parse", two, one, 0, constant(1)},
		{"opa_json_dump", one, one, 0, get(0)},
		{"opa_value_parse", two, one, 0, constant(1)},
		{"opa_value_dump", one, one, 0, get(0)},
		{"opa_heap_ptr_get", nil, one, 0, constant(policyHeap)},
		{"opa_heap_ptr_set", one, nil, 0, nil},
		{"builtins", nil, one, 0, constant(atBuiltins)},
		{"entrypoints", nil, one, 0, constant(atEntrypoints)},
		{"opa_eval_ctx_new", nil, one, 0, constant(1)},
		{"opa_eval_ctx_set_input", two, nil, 0, nil},
		{"opa_eval_ctx_set_data", two, nil, 0, nil},
		{"opa_eval_ctx_set_entrypoint", two, nil, 0, nil},
		{"eval", one, one, 0, constant(0)},
		{"opa_eval_ctx_get_result", one, one, 0, constant(atResult)},
		{"opa_eval", bytes.Repeat(one, 7), one, 2, constant(atResult)},
	} {
		if body, ok := change[f.export]; ok {
			if body == nil {
				continue
			}
			f.body = body
		}
		a.fns = append(a.fns, f)
	}
	return a
}

const entryAllow = `{"a/allow":0}`

func bindings(value string) string { return `[{"result":` + value + `}]` }

func TestOPAJudges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		entrypoints, result string
		request, response   string
	}{
		"allowed":     {entryAllow, bindings("true"), "pass", "pass"},
		"not allowed": {entryAllow, bindings("false"), "deny not_allowed ", "pass"},
		"undefined":   {entryAllow, "[]", "deny undefined ", "pass"},
		"no boolean":  {entryAllow, bindings("0"), "verdict", "pass"},
		"denied":      {`{"deny":4}`, bindings(`["b","a"]`), "deny policy a; b", "pass"},
		"not denied":  {`{"deny":4}`, bindings(`[]`), "pass", "pass"},
		"both":        {`{"a/deny":4,"a/allow":1}`, bindings(`[]`), "verdict", "pass"}, // the same result is no boolean
		"verdict":     {`{"verdict":0}`, bindings(`{"verdict":"rewrite","arguments":{"a":1}}`), `rewrite {"a":1}`, "pass"},
		"no verdict":  {`{"verdict":0}`, bindings(`{"verdict":"rewrite"}`), "verdict", "pass"},
		"response":    {`{"verdict":0,"response":1}`, bindings(`{"verdict":"rewrite","result":{"a":1}}`), "verdict", `rewrite {"a":1}`},
		"no JSON":     {entryAllow, `[{"result":true}`, "verdict", "pass"},
		"no text":     {entryAllow, "", "verdict", "pass"},
	} {
		for _, change := range []map[string][]byte{nil, {"opa_eval": nil}} { // in one call, and in the steps of ABI 1.1
			f := load(t, policy(c.entrypoints, c.result, change), nil)
			if f.Dialect() != "opa" || f.HasResponse() != strings.Contains(c.entrypoints, "response") {
				t.Errorf("%s: dialect %s, responses %t", name, f.Dialect(), f.HasResponse())
			}
			for range 2 {
				if got := outcome(t, f.Decide, toolCall()); got != c.request {
					t.Errorf("%s: %s, want %s", name, got, c.request)
				}
				if got := outcome(t, f.OnResponse, toolCall()); got != c.response {
					t.Errorf("%s: a result: %s, want %s", name, got, c.response)
				}
			}
		}
	}
}

func TestOPAHostilePolicies(t *testing.T) {
	t.Parallel()
	const last = 2<<16 - 1
	builtin := func(fn int, id int32, args ...int32) []byte {
		b := cat(constant(id), constant(0))
		for _, n := range args {
			b = append(b, constant(n)...)
		}
		return cat(b, call(fn))
	}
	for name, c := range map[string]struct {
		change map[string][]byte
		want   string
	}{
		"a result outside memory":        {map[string][]byte{"opa_eval": constant(-1)}, "pointer"},
		"a result at its end":            {map[string][]byte{"opa_eval": constant(last + 1)}, "pointer"},
		"a result without an end":        {map[string][]byte{"opa_eval": cat(constant(last), constant('['), []byte{0x3a, 0, 0}, constant(last))}, "fault"},
		"it aborts":                      {map[string][]byte{"opa_eval": cat(constant(atText), call(opaAbort), constant(atResult))}, "fault"},
		"it aborts with nothing":         {map[string][]byte{"opa_eval": cat(constant(-1), call(opaAbort), constant(atResult))}, "fault"},
		"it prints":                      {map[string][]byte{"opa_eval": cat(constant(atText), call(opaPrintln), constant(atResult))}, "pass"},
		"it prints nowhere":              {map[string][]byte{"opa_eval": cat(constant(-1), call(opaPrintln), constant(atResult))}, "pass"},
		"it gives up":                    {map[string][]byte{"opa_eval": trap}, "unreachable"},
		"it never ends":                  {map[string][]byte{"opa_eval": cat([]byte{0x03, 0x40, 0x0c, 0, 0x0b}, trap)}, "fuel"},
		"it prints without end":          {map[string][]byte{"opa_eval": cat([]byte{0x03, 0x40}, constant(atText), call(opaPrintln), []byte{0x0c, 0, 0x0b}, trap)}, "fuel"},
		"it asks for the time":           {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin0, 1), drop, constant(atResult))}, "pass"},
		"it asks for the time for ever":  {map[string][]byte{"opa_eval": cat([]byte{0x03, 0x40}, builtin(opaBuiltin0, 1), drop, []byte{0x0c, 0, 0x0b}, trap)}, "fuel"},
		"a built-in it did not name":     {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin0, 7), drop, constant(atResult))}, "fault"},
		"a built-in with less arguments": {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin0, 0), drop, constant(atResult))}, "fault"},
		"a built-in with more":           {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin2, 1, 0, 0), drop, constant(atResult))}, "fault"},
		"arguments outside memory":       {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin2, 0, -1, -1), drop, constant(atResult))}, "pointer"},
		"arguments that are no values":   {map[string][]byte{"opa_eval": cat(builtin(opaBuiltin2, 0, atText, atText), drop, constant(atResult))}, "fault"},
		"an argument without measure": {map[string][]byte{
			"opa_eval": cat(constant(6000), constant('1'), constant(100_000), []byte{0xfc, 0x0b, 0}, builtin(opaBuiltin2, 0, 6000, 6000), drop, constant(atResult)),
		}, "fault"},
		"a built-in within another": {map[string][]byte{
			"opa_eval":       cat(builtin(opaBuiltin2, 0, atText, atText), drop, constant(atResult)),
			"opa_value_dump": cat(builtin(opaBuiltin0, 1), drop, constant(atString)),
		}, "fault"},
		"no room for what a built-in says": {map[string][]byte{ // from the third time it is asked
			"opa_eval":   cat(builtin(opaBuiltin0, 1), drop, constant(atResult)),
			"opa_malloc": cat(globalGet(1), constant(1), []byte{0x6a}, globalSet(1), constant(40_000), constant(-1), globalGet(1), constant(6), []byte{0x48, 0x1b}),
		}, "pointer"},
		"memory that ends early":   {map[string][]byte{"opa_heap_ptr_get": constant(2<<16 - 4), "opa_malloc": constant(2<<16 - 4)}, "pointer"},
		"memory that is nowhere":   {map[string][]byte{"opa_heap_ptr_get": constant(-1)}, "pass"}, // the allocator is asked instead
		"it cannot parse":          {map[string][]byte{"opa_eval": nil, "opa_json_parse": constant(0)}, "fault"},
		"a built-in while set up":  {map[string][]byte{"builtins": cat(builtin(opaBuiltin0, 1), drop, constant(atBuiltins))}, "load"},
		"it keeps what it knew":    {map[string][]byte{"opa_eval": cat(globalGet(1), constant(3), []byte{0x46, 0x45}, when(trap), constant(9), globalSet(1), constant(atResult))}, "pass"},
		"it calls itself for ever": {map[string][]byte{"opa_json_dump": get(0), "opa_eval": cat(constant(0), constant(0), constant(0), constant(0), constant(0), constant(0), constant(0), call(4+15))}, "depth"},
	} {
		f, err := newRuntime(t, nil).Load(t.Context(), "test", policy(entryAllow, bindings("true"), c.change, data{atText, "text"}, data{atString, `"x"`}).bytes(), nil)
		if c.want == "load" || err != nil {
			if c.want != "load" || err == nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		for range 2 {
			if got := outcome(t, f.Decide, toolCall()); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
}

// TestOPALogs: what a policy prints, and why it aborts, its author finds in the log; whoever called is told neither.
func TestOPALogs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	body := cat(constant(atText), call(opaPrintln), constant(atText), call(opaAbort), constant(atResult))
	f := load(t, policy(entryAllow, bindings("true"), map[string][]byte{"opa_eval": body}, data{atText, "secret"}), func(c *wasm.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, nil))
	})
	var v wasm.Verdict
	err := f.Decide(t.Context(), toolCall(), &v)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "aborted") {
		t.Error(err)
	}
	if s := out.String(); strings.Count(s, "text=secret") != 2 || !strings.Contains(s, "level=INFO") || !strings.Contains(s, "level=ERROR") {
		t.Error(s)
	}
}

func TestOPARefusals(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		change func(*asm)
		config string
	}{
		"version 1":             {change: func(a *asm) { a.globals[0] = 2 }},
		"its ABI is version 1":  {change: func(a *asm) { a.shared = nil }},
		`"opa_other"`:           {change: func(a *asm) { a.imports = append(a.imports, host{"env", "opa_other", nil, nil}) }},
		`"log"`:                 {change: func(a *asm) { a.imports = append(a.imports, host{"gw", "log", []byte{i32, i32, i32}, nil}) }},
		"signature":             {change: func(a *asm) { a.imports[0].params = []byte{i64} }},
		"opa_malloc":            {change: func(a *asm) { a.fns[0].export = "" }},
		`"http.send"`:           {change: func(a *asm) { a.data[len(a.data)-1].text = `{"http.send":0}` }},
		"-e <package>/verdict":  {change: func(a *asm) { a.data[0].text = `{"a/main":0}` }},
		"opa build -t wasm":     {change: func(a *asm) { a.data[0].text = `[` }},
		"a JSON object":         {config: `[1]`},
		"its data document":     {config: `{"a":1,"a":2}`},
		"pointer outside":       {config: `{"a":1}`, change: func(a *asm) { a.fns[0].body = constant(-5) }},
		"cannot parse":          {config: `{"a":1}`, change: func(a *asm) { a.fns[1].body = constant(0) }},
		"unreachable":           {change: func(a *asm) { a.fns[7].body = trap }},
		"fuel":                  {change: func(a *asm) { a.fns[7].body = cat([]byte{0x03, 0x40, 0x0c, 0, 0x0b}, trap) }},
		"too long, or has no e": {change: func(a *asm) { a.data = append(a.data, data{2<<16 - 1, "x"}); a.fns[8].body = constant(2<<16 - 1) }},
	} {
		a := policy(entryAllow, bindings("true"), nil)
		if c.change != nil {
			c.change(&a)
		}
		if _, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), []byte(c.config)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestOPASaysWhatToChange: a policy has no gw_init that could refuse anything, and each refusal has a hint of its own.
func TestOPASaysWhatToChange(t *testing.T) {
	t.Parallel()
	for want, c := range map[string]struct {
		last, config string
	}{
		"take the built-in out of the policy": {`{"http.send":0}`, ""},
		"opa build -t wasm -e":                {"{", ""},
		"--config":                            {`{}`, `[1]`},
	} {
		a := policy(entryAllow, bindings("true"), nil)
		a.data[len(a.data)-1].text = c.last
		if c.last == "{" {
			a.data[0].text, a.data[len(a.data)-1].text = `{"a/main":0}`, `{}`
		}
		_, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), []byte(c.config))
		h, ok := errors.AsType[interface {
			error
			Hint() string
		}](err)
		if trap, isTrap := errors.AsType[*wasm.Trap](err); !isTrap || trap.Kind != wasm.TrapInit || !ok || !strings.Contains(h.Hint(), want) || strings.Contains(err.Error(), "configuration is refused") {
			t.Errorf("%v, want the hint %q", err, want)
		}
	}
}
