package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/httpwasm"
)

// httpGuest is an http-wasm module that imports all of the ABI. Each of its functions has six locals of type i32 behind its
// parameters; buffer is where tests have texts written.
func httpGuest(request, response []byte, segments ...data) asm {
	a := asm{pages: 2, memory: "memory", data: segments}
	for _, f := range httpwasm.Functions() {
		a.imports = append(a.imports, host{httpwasm.Module, f.Name, f.Params, f.Results})
	}
	a.fns = []fn{
		{export: "handle_request", results: []byte{i64}, locals: 6, body: request},
		{export: "handle_response", params: []byte{i32, i32}, locals: 6, body: response},
	}
	return a
}

const buffer = 4096

var (
	next = long(1)
	stop = long(0)
	drop = []byte{0x1a}
	wrap = []byte{0xa7} // i64 to i32
	trap = []byte{0x00}
)

// hcall calls a function of http_handler.
func hcall(name string, args ...int32) []byte {
	var b []byte
	for _, n := range args {
		b = append(b, constant(n)...)
	}
	i := slices.IndexFunc(httpwasm.Functions(), func(f httpwasm.Function) bool { return f.Name == name })
	if i < 0 {
		panic(name)
	}
	return append(append(b, 0x10), uleb(i)...)
}

// tell refuses the call with what a function wrote to buffer: its length, or its count and length, is on the stack.
func tell(ask []byte, long bool) []byte {
	if long {
		ask = append(ask, wrap...)
	}
	return cat(ask, set(0), constant(1), constant(buffer), get(0), hcall("write_body"), stop)
}

// when runs then if the i32 on the stack is not zero.
func when(then []byte) []byte { return cat([]byte{0x04, 0x40}, then, []byte{0x0b}) }

// not turns the i32 on the stack around, and equal compares two.
var not, equal = []byte{0x45}, []byte{0x46}

func toolCall() *abi.Context {
	return &abi.Context{
		Tenant: "org_1", Agent: "agt 1", User: "é", Op: "tools/call", Server: "files", Tool: "a/b", Now: 17, Labels: []string{"x:y", "z"},
		Plan: abi.Plan{ID: "pln_1", Step: 3, In: true}, Body: []byte(`{"path":"/etc"}`),
	}
}

func TestHTTPWasmIsShownTheCall(t *testing.T) {
	t.Parallel()
	header := func(name string) ([]byte, data) {
		return tell(hcall("get_header_values", 0, 64, int32(len(name)), buffer, 1000), true), data{64, name}
	}
	for want, ask := range map[string][]byte{
		"POST":                    tell(hcall("get_method", buffer, 1000), false),
		"/files/tools/call/a%2Fb": tell(hcall("get_uri", buffer, 1000), false),
		"HTTP/1.1":                tell(hcall("get_protocol_version", buffer, 1000), false),
		"":                        tell(hcall("get_source_addr", buffer, 1000), false),
		"the configuration":       tell(hcall("get_config", buffer, 1000), false),
		`{"path":"/etc"}`:         tell(hcall("read_body", 0, buffer, 1000), true),
		`{"pa`:                    tell(hcall("read_body", 0, buffer, 4), true),
		"content-type host x-gatewright-tenant x-gatewright-agent x-gatewright-user x-gatewright-op x-gatewright-server x-gatewright-tool x-gatewright-now x-gatewright-labels x-gatewright-plan x-gatewright-step": tell(hcall("get_header_names", 0, buffer, 1000), true),
	} {
		refusesWith(t, httpGuest(ask, nil), want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "x-gatewright-tenant": "org_1", "X-GATEWRIGHT-AGENT": "agt%201", "x-gatewright-user": "%C3%A9",
		"x-gatewright-op": "tools/call", "x-gatewright-server": "files", "x-gatewright-tool": "a%2Fb", "x-gatewright-now": "17",
		"x-gatewright-labels": "x:y,z", "x-gatewright-plan": "pln_1", "x-gatewright-step": "3", "authorization": "",
	} {
		ask, segment := header(name)
		refusesWith(t, httpGuest(ask, nil, segment), want)
	}
}

func refusesWith(t *testing.T, a asm, message string) {
	t.Helper()
	f, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), []byte("the configuration"))
	if err != nil {
		t.Fatal(err)
	}
	var v wasm.Verdict
	if err := f.Decide(t.Context(), toolCall(), &v); err != nil || v.Kind != wasm.Deny || v.Reason != "http_200" || v.Message != message {
		t.Errorf("%v %+v, want a refusal with %q", err, v, message)
	}
}

// say writes a text that lies at 64 to a body.
func say(kind int32, text string) []byte { return hcall("write_body", kind, 64, int32(len(text))) }

func TestHTTPWasmJudgesRequests(t *testing.T) {
	t.Parallel()
	const other, same, broken = `{"path":"/tmp"}`, `{"path":"/etc"}`, `{"path":}`
	growth := []byte{0x40, 0}
	for name, c := range map[string]struct {
		body []byte
		text string
		want string
	}{
		"pass":                   {next, "", "pass"},
		"pass with a state":      {long(5<<32 | 1), "", "pass"},
		"refuse":                 {cat(hcall("set_status_code", 403), say(1, "no\x00 sql\n<b>"), stop), "no\x00 sql\n<b>", "deny http_403 no  sql <b>"},
		"refuse in pieces":       {cat(say(1, "ab"), say(1, "ab"), stop), "ab", "deny http_200 abab"},
		"refuse without a word":  {stop, "", "deny http_200 "},
		"a state is no next":     {long(16 << 32), "", "deny http_200 "},
		"neither 0 nor 1":        {long(2), "", "verdict"},
		"rewrite":                {cat(say(0, other), next), other, "rewrite " + other},
		"rewrite to the same":    {cat(say(0, same), next), same, "pass"},
		"rewrite to no JSON":     {cat(say(0, broken), next), broken, "verdict"},
		"rewrite to an array":    {cat(say(0, "[1]"), next), "[1]", "verdict"},
		"rewrite to nothing":     {cat(say(0, ""), next), "", "verdict"},
		"rewrite, but refuse":    {cat(say(0, other), stop), other, "deny http_200 "},
		"a response unsent":      {cat(say(1, "x"), hcall("set_status_code", 500), next), "x", "pass"},
		"the same method":        {cat(hcall("set_method", 64, 4), next), "POST", "pass"},
		"another method":         {cat(hcall("set_method", 64, 3), next), "GET", "fault"},
		"the same URI":           {cat(hcall("set_uri", 64, 23), next), "/files/tools/call/a%2Fb", "pass"},
		"another tool":           {cat(hcall("set_uri", 64, 21), next), "/files/tools/call/rm%20", "fault"},
		"no URI":                 {cat(hcall("set_uri", 64, 0), next), "", "fault"},
		"a request header":       {cat(hcall("set_header_value", 0, 64, 1, 64, 1), next), "x", "pass"},
		"a header is no text":    {cat(hcall("set_header_value", 0, 64, 1, 65, 3), next), "xa\nb", "fault"},
		"a header without name":  {cat(hcall("set_header_value", 0, 64, 0, 64, 1), next), "x", "fault"},
		"a header name with NUL": {cat(hcall("add_header_value", 1, 64, 3, 64, 1), next), "x\x00y", "fault"},
		"a header is set back":   {cat(hcall("remove_header", 0, 64, 12), tell(hcall("get_header_values", 0, 64, 12, buffer, 100), true)), "content-type", "deny http_200 "},
		"trailers are empty":     {cat(tell(hcall("get_header_names", 2, buffer, 100), true)), "", "deny http_200 "},
		"trailers are not":       {cat(hcall("add_header_value", 3, 64, 1, 64, 1), next), "x", "fault"},
		"no such header kind":    {cat(hcall("get_header_names", 4, buffer, 100), drop, next), "", "fault"},
		"no such body kind":      {cat(hcall("read_body", 2, buffer, 100), drop, next), "", "fault"},
		"a status too early":     {cat(hcall("get_status_code"), drop, next), "", "fault"},
		"a status of two digits": {cat(hcall("set_status_code", 99), next), "", "fault"},
		"no room to read into":   {cat(hcall("read_body", 0, buffer, 0), drop, next), "", "fault"},
		"a text to nowhere":      {cat(hcall("get_method", 2<<16-2, 100), drop, next), "", "pointer"},
		"a text with no room":    {cat(hcall("get_method", -1, 3), constant(4), equal, not, when(trap), next), "", "pass"},
		"a list to nowhere":      {cat(hcall("get_header_names", 0, -1, 10000), drop, next), "", "pointer"},
		"a body to nowhere":      {cat(hcall("read_body", 0, 2<<16-2, 100), drop, next), "", "pointer"},
		"a body from nowhere":    {cat(hcall("write_body", 0, 2<<16-2, 100), next), "", "pointer"},
		"a name from nowhere":    {cat(hcall("remove_header", 0, -1, 2), next), "", "pointer"},
		"a log from nowhere":     {cat(hcall("log", 0, -1, 2), next), "", "pointer"},
		"it gives up":            {trap, "", "unreachable"},
		"it recurses":            {cat([]byte{0x10}, uleb(len(httpwasm.Functions()))), "", "depth"},
		"it never ends":          {[]byte{0x03, 0x40, 0x0c, 0, 0x0b, 0x00}, "", "fuel"},
		"it grows":               {cat(constant(1), growth, drop, next), "", "pass"},
	} {
		f := load(t, httpGuest(c.body, nil, data{64, c.text}), nil)
		if f.Dialect() != "http-wasm" || !f.HasResponse() {
			t.Errorf("dialect %s, responses %t", f.Dialect(), f.HasResponse())
		}
		for range 2 { // the second call finds nothing of the first
			if got := outcome(t, f.Decide, toolCall()); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
}

// outcome is what a filter makes of a call, in a line.
func outcome(t *testing.T, ask judging, c *abi.Context) string {
	t.Helper()
	var v wasm.Verdict
	if kind := kindOf(t, ask(t.Context(), c, &v), v); kind != "" {
		return kind
	}
	switch v.Kind {
	case wasm.Deny:
		return fmt.Sprintf("deny %s %s", v.Reason, v.Message)
	case wasm.Rewrite:
		return "rewrite " + string(v.Body)
	}
	return v.Kind.String()
}

// judging is Decide or OnResponse of a filter.
type judging = func(ctx context.Context, c *abi.Context, v *wasm.Verdict) error

func TestHTTPWasmJudgesResponses(t *testing.T) {
	t.Parallel()
	const result = `{"content":[]}`
	buffered := cat(hcall("enable_features", 3), drop)
	for name, c := range map[string]struct {
		request, response []byte
		text              string
		want              string
	}{
		"pass":                     {next, nil, "", "pass"},
		"the state is handed on":   {long(7<<32 | 1), cat(get(0), constant(7), equal, not, when(trap)), "", "pass"},
		"there was no error":       {next, cat(get(1), when(trap)), "", "pass"},
		"the status is 200":        {next, cat(hcall("get_status_code"), constant(200), equal, not, when(trap)), "", "pass"},
		"what it knew it knows":    {cat(constant(100), constant(9), []byte{0x36, 2, 0}, next), cat(constant(100), []byte{0x28, 2, 0}, constant(9), equal, not, when(trap)), "", "pass"},
		"it sees who called":       {next, cat(hcall("get_uri", buffer, 100), constant(23), equal, not, when(trap)), "", "pass"},
		"it sees the result":       {buffered2(next), cat(hcall("read_body", 1, buffer, 100), wrap, constant(14), equal, not, when(trap)), "", "pass"},
		"it sees what was sent":    {buffered2(next), cat(hcall("read_body", 0, buffer, 100), wrap, constant(15), equal, not, when(trap)), "", "pass"},
		"not without the feature":  {next, cat(hcall("read_body", 1, buffer, 100), drop), "", "fault"},
		"nor the request's body":   {next, cat(hcall("read_body", 0, buffer, 100), drop), "", "fault"},
		"features come too late":   {next, cat(buffered, say(1, "{}")), "{}", "fault"},
		"rewrite":                  {buffered2(next), say(1, "{}"), "{}", "rewrite {}"},
		"rewrite to no object":     {buffered2(next), say(1, "1"), "1", "verdict"},
		"rewrite the request":      {buffered2(next), say(0, "{}"), "{}", "fault"},
		"refuse":                   {buffered2(next), cat(hcall("set_status_code", 502), say(1, "no")), "no", "deny http_502 no"},
		"another status":           {buffered2(next), hcall("set_status_code", 204), "", "deny http_204 "},
		"no status alone":          {next, hcall("set_status_code", 502), "", "fault"},
		"request headers are over": {buffered2(next), hcall("set_header_value", 0, 64, 1, 64, 1), "x", "fault"},
		"response headers":         {buffered2(next), hcall("set_header_value", 1, 64, 1, 64, 1), "x", "pass"},
		"another URI":              {buffered2(next), hcall("set_uri", 64, 1), "/", "fault"},
		"it gives up":              {next, trap, "", "unreachable"},
		"it answered before":       {stop, nil, "", "verdict"},
	} {
		f := load(t, httpGuest(c.request, c.response, data{64, c.text}), nil)
		for range 2 {
			shown := toolCall()
			shown.Arguments, shown.Body = shown.Body, []byte(result)
			if got := outcome(t, f.OnResponse, shown); got != c.want {
				t.Errorf("%s: %s, want %s", name, got, c.want)
			}
		}
	}
}

// buffered2 enables both features in handle_request.
func buffered2(then []byte) []byte { return cat(hcall("enable_features", 3), drop, then) }

// TestHTTPWasmSetUp: what a guest learns and enables when it is set up holds in every instance, and that is all it may do then.
func TestHTTPWasmSetUp(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"_initialize", "_start"} {
		a := httpGuest(cat(hcall("read_body", 0, buffer, 100), wrap, constant(15), equal, when(trap), next), say(1, "{}"), data{64, "{}"})
		a.fns = append(a.fns, fn{export: start, locals: 1, body: cat(hcall("enable_features", 2), constant(3), equal, not, when(trap), hcall("get_config", buffer, 100), constant(17), equal, not, when(trap))})
		f, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), []byte("the configuration"))
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(t, f.Decide, toolCall()); got != "unreachable" { // the instance is gone
			t.Error(got)
		}
		c := toolCall()
		c.Body, c.Arguments = []byte(`{"a":1}`), []byte(`{"b":1}`)
		if got := outcome(t, f.OnResponse, c); got != "rewrite {}" {
			t.Errorf("%s: %s", start, got)
		}
	}
	for _, body := range [][]byte{cat(hcall("get_uri", buffer, 100), drop), say(1, "x"), hcall("set_status_code", 200), cat(hcall("read_body", 0, buffer, 100), drop)} {
		a := httpGuest(next, nil)
		a.fns = append(a.fns, fn{export: "_initialize", body: body})
		_, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), nil)
		if err == nil || !strings.Contains(err.Error(), "while the guest is set up") {
			t.Error(err)
		}
	}
}

func TestHTTPWasmUnknownImportsAreRefused(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*asm){
		`"http_handler"`:    func(a *asm) { a.imports = append(a.imports, host{"http_handler", "get_cookie", nil, nil}) },
		`"env"`:             func(a *asm) { a.imports = append(a.imports, host{"env", "abort", nil, nil}) },
		"signature":         func(a *asm) { a.imports[0].results = []byte{i64} },
		"handle_response":   func(a *asm) { a.fns = a.fns[:1] },
		"its memory":        func(a *asm) { a.memory = "mem" },
		"another signature": func(a *asm) { a.fns[0].results = []byte{i32}; a.fns[0].body = constant(1) },
	} {
		a := httpGuest(next, nil)
		change(&a)
		if _, err := newRuntime(t, nil).Load(t.Context(), "test", a.bytes(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestHTTPWasmHostilePointers: whatever region a guest names, the call ends in a trap of its own, and never in a fault of ours.
func TestHTTPWasmHostilePointers(t *testing.T) {
	t.Parallel()
	values := []int32{0, 1, 65535, 2 << 16, 2<<16 - 1, -1, -(1 << 31), 1<<31 - 1}
	for _, h := range httpwasm.Functions() {
		var body []byte
		for i := range values { // one function calls it with one choice for each argument
			var args []int32
			for n := range h.Params {
				args = append(args, values[(i*(n+3)+n)%len(values)])
			}
			body = hcall(h.Name, args...)
			for range h.Results {
				body = append(body, drop...)
			}
			f := load(t, httpGuest(cat(body, next), nil), nil)
			if got := outcome(t, f.Decide, toolCall()); !slices.Contains([]string{"pass", "pointer", "fault", "verdict"}, got) {
				t.Errorf("%s%v: %s", h.Name, args, got)
			}
		}
	}
}

// TestHTTPWasmFloods: a guest that never stops asking is stopped by a bound or by its fuel.
func TestHTTPWasmFloods(t *testing.T) {
	t.Parallel()
	forever := func(body []byte) []byte { return cat([]byte{0x03, 0x40}, body, []byte{0x0c, 0, 0x0b}, trap) }
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"headers":      {forever(hcall("add_header_value", 1, 64, 1, 64, 1)), "fault"},
		"huge header":  {cat(hcall("add_header_value", 1, 64, 1, 0, 65537), next), "fault"},
		"huge headers": {forever(hcall("add_header_value", 1, 64, 1, 1024, 60000)), "fault"},
		"one header":   {forever(hcall("set_header_value", 1, 64, 1, 1024, 60000)), "fuel"},
		"names":        {forever(cat(hcall("get_header_names", 0, 0, 0), drop)), "fuel"},
		"reads":        {forever(cat(hcall("read_body", 0, buffer, 60000), drop)), "fuel"},
		"bodies":       {forever(hcall("write_body", 1, 1024, 60000)), "fault"},
		"no bytes":     {forever(hcall("write_body", 1, 0, 0)), "fuel"},
		"logs":         {forever(hcall("log", 0, 1024, 1000)), "fuel"},
		"log levels":   {forever(cat(hcall("log_enabled", 0), drop)), "fuel"},
		"features":     {forever(cat(hcall("enable_features", -1), drop)), "fuel"},
		"statuses":     {forever(hcall("set_status_code", 500)), "fuel"},
	} {
		blank := data{1024, strings.Repeat(" ", 61000)}
		f := load(t, httpGuest(c.body, nil, data{64, "x"}, blank), nil)
		if got := outcome(t, f.Decide, toolCall()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestHTTPWasmLogs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	body := cat(hcall("log", -1, 64, 5), hcall("log", 2, 64, 5), hcall("log", 3, 64, 4), hcall("log", -9, 64, 4),
		hcall("log_enabled", 2), not, when(trap), hcall("log_enabled", 3), when(trap), hcall("log_enabled", -1), when(trap), next)
	f := load(t, httpGuest(body, nil, data{64, "hello"}), func(c *wasm.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	if got := outcome(t, f.Decide, toolCall()); got != "pass" {
		t.Fatal(got)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "DEBUG") || !strings.Contains(lines[1], "ERROR") || strings.Count(out.String(), "text=hello") != 2 {
		t.Errorf("%q", lines)
	}
}

// TestHTTPWasmRealHTTP: an exchange of real HTTP goes round the next handler in one call.
func TestHTTPWasmRealHTTP(t *testing.T) {
	t.Parallel()
	f := load(t, httpGuest(cat(hcall("set_uri", 64, 2), hcall("set_method", 66, 3), say(1, "/x"), long(7<<32|1)), cat(get(0), constant(7), equal, not, when(trap), get(1), when(trap)), data{64, "/xPUT"}), nil)
	x := &httpwasm.Exchange{Method: "GET", URI: "/", Protocol: "HTTP/1.1", MaxBody: 100}
	shown := &httpwasm.Shown{Exchange: x, Next: func() error {
		x.Answered(201, httpwasm.Header{{Name: "a", Value: "b"}}, []byte(x.Method+x.URI))
		return nil
	}}
	var v wasm.Verdict
	if err := f.Decide(t.Context(), &abi.Context{Raw: shown}, &v); err != nil || v.Kind != wasm.Pass {
		t.Fatal(err, v)
	}
	if x.Code() != 201 || string(x.Response.Final()) != "/xPUT/x" || x.Response.Header.Values("a")[0] != "b" {
		t.Errorf("%+v", x)
	}
	shown = &httpwasm.Shown{Exchange: &httpwasm.Exchange{Method: "GET", URI: "/", MaxBody: 100}, Next: func() error { return errors.New("no backend") }}
	if got := outcome(t, f.Decide, &abi.Context{Raw: shown}); got != "unreachable" {
		t.Errorf("the guest was not told of an error: %s", got)
	}
}
