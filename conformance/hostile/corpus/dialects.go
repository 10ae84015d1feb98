package corpus

import (
	"fmt"
	"maps"
	"slices"
)

// dialects speak another ABI than the gateway's own, or WASI, and abuse it.
func dialects() []Case {
	return slices.Concat(wasis(), handlers(), regos())
}

// wasis abuse the few functions of WASI that a filter has.
func wasis() []Case {
	const module = "wasi_snapshot_preview1"
	i := func(n int) []byte { return times(n, op(i32)) }
	poll := host{module: module, name: "poll_oneoff", params: i(4), results: i(1)}
	random := host{module: module, name: "random_get", params: i(2), results: i(1)}
	write := host{module: module, name: "fd_write", params: i(4), results: i(1)}
	clock := host{module: module, name: "clock_time_get", params: cat(op(i32, i64, i32)), results: i(1)}
	yield := host{module: module, name: "sched_yield", results: i(1)}
	exit := host{module: module, name: "proc_exit", params: i(1)}
	args := host{module: module, name: "args_sizes_get", params: i(2), results: i(1)}
	uses := func(name, about string, stage Stage, kind string, pages int, h host, code ...[]byte) Case {
		g := says(lets)
		g.pages, g.imports = pages, []host{h}
		g.fns[2].code = cat(code...)
		c := of("wasi-"+name, about, stage, kind, "", g)
		c.Endless = kind == fuel
		return c
	}
	passes := answer(1024, len(lets))
	with := func(h host) guest { g := sound(); g.imports = []host{h}; return g }
	unknown := func(name, about string, params []byte) Case {
		return of("wasi-"+name, about, Load, "", "", with(host{module: module, name: name, params: params, results: i(1)}))
	}
	return []Case{
		unknown("sock_accept", "takes connections", i(3)),
		unknown("path_open", "opens files", cat(i(5), op(i64, i64), i(2))),
		unknown("fd_readdir", "lists a folder", cat(i(3), op(i64, i32))),
		of("wasi-mistyped", "fd_write with another signature", Load, "", "", with(host{module: module, name: "fd_write", params: op(i64), results: i(1)})),
		of("wasi-unstable", "an older WASI", Load, "", "", with(host{module: "wasi_unstable", name: "fd_write", params: i(4), results: i(1)})),
		uses("random-of-memory", "fills 16 MiB with random bytes for ever", Decide, fuel, sixteenMiB, random, loop(num(0), num(sixteenMiB<<16), call(0), drop), never),
		uses("random-beyond", "random bytes behind memory", Decide, pointer, 2, random, num(2<<16-1), num(2), call(0), drop, never),
		uses("random-tells", "random bytes that must be the same in each call", Passed, "", 2, random, num(4096), num(4), call(0), drop, passes),
		uses("write-flood", "writes 2^16 pieces at once for ever", Decide, fuel, 4, write, loop(num(1), num(0), num(8192), num(8), call(0), drop), never),
		uses("write-huge", "writes 2^32-1 pieces", Passed, "", 2, write, num(1), num(0), num(-1), num(8), call(0), drop, passes),
		uses("poll-for-hours", "sleeps for ever", Decide, fuel, 2, poll, loop(num(0), num(4096), num(1), num(8), call(0), drop), never),
		uses("poll-huge", "waits for 2^32-1 events", Passed, "", 2, poll, num(0), num(4096), num(-1), num(8), call(0), drop, passes),
		uses("clock", "asks for the time for ever", Decide, fuel, 2, clock, loop(num(0), long(0), num(4096), call(0), drop), never),
		uses("yield", "yields for ever", Decide, fuel, 2, yield, loop(call(0), drop), never),
		uses("exit", "ends the process", Decide, gaveUp, 2, exit, num(0), call(0), never),
		uses("args-beyond", "the sizes of its arguments behind memory", Decide, pointer, 2, args, num(-4), num(-4), call(0), drop, never),
		of("wasi-initialize-endless", "_initialize never ends", Init, fuel, "", sound().with(fn{export: "_initialize", code: spin})),
	}
}

// handlers speak http-wasm.
func handlers() []Case {
	const module = "http_handler"
	i := func(n int) []byte { return times(n, op(i32)) }
	of := func(name, about string, stage Stage, kind string, imports []host, request, response []byte) Case {
		g := guest{pages: 2, imports: imports, data: [][]byte{active(1024, "x-evil\r\nx-more: 1")}, fns: []fn{
			{export: "handle_request", results: op(i64), code: request},
			{export: "handle_response", params: i(2), code: response},
		}}
		c := of("http-"+name, about, stage, kind, "", g)
		c.Endless = kind == fuel && stage == Decide
		return c
	}
	readBody := host{module: module, name: "read_body", params: i(3), results: op(i64)}
	writeBody := host{module: module, name: "write_body", params: i(3)}
	setHeader := host{module: module, name: "set_header_value", params: i(5)}
	addHeader := host{module: module, name: "add_header_value", params: i(5)}
	names := host{module: module, name: "get_header_names", params: i(3), results: op(i64)}
	setURI := host{module: module, name: "set_uri", params: i(2)}
	status := host{module: module, name: "set_status_code", params: i(1)}
	log := host{module: module, name: "log", params: i(3)}
	goOn, stop := long(1), long(0)
	one := func(h host) []host { return []host{h} }
	return []Case{
		of("sound", "passes everything", Passed, "", nil, goOn, nil),
		of("endless", "handle_request never ends", Decide, fuel, nil, cat(spin, stop), nil),
		of("response-endless", "handle_response never ends", Respond, fuel, nil, goOn, spin),
		of("trap", "handle_request gives up", Decide, gaveUp, nil, unreachable, nil),
		of("response-trap", "handle_response gives up", Respond, gaveUp, nil, goOn, unreachable),
		of("next-is-2", "neither goes on nor stops", Decide, verdict, nil, long(2), nil),
		of("read-beyond", "has the body read to behind memory", Decide, pointer, one(readBody), cat(num(0), num(2<<16-1), num(2), call(0), drop, goOn), nil),
		of("read-4-gib", "room for 2^32-1 bytes of body", Decide, pointer, one(readBody), cat(num(0), num(0), num(-1), call(0), drop, goOn), nil),
		of("read-for-ever", "reads the body for ever", Decide, fuel, one(readBody), cat(loop(num(0), num(4096), num(64), call(0), drop), goOn), nil),
		of("write-for-ever", "writes a body that grows for ever", Decide, "", one(writeBody), cat(loop(num(0), num(0), num(2<<16), call(0)), goOn), nil),
		of("write-beyond", "writes a body from behind memory", Decide, pointer, one(writeBody), cat(num(0), num(-1), num(2), call(0), goOn), nil),
		of("write-text", "a body that is no JSON", Decide, verdict, one(writeBody), cat(num(0), num(1024), num(6), call(0), goOn), nil),
		of("split", "a header with a line break", Decide, "", one(setHeader), cat(num(0), num(1024), num(17), num(1024), num(3), call(0), goOn), nil),
		of("headers-for-ever", "adds headers for ever", Decide, "", one(addHeader), cat(loop(num(0), num(1024), num(6), num(1024), num(6), call(0)), goOn), nil),
		of("header-kind", "headers of a message that does not exist", Decide, "", one(names), cat(num(99), num(0), num(100), call(0), drop, goOn), nil),
		of("names-beyond", "names of headers behind memory", Decide, pointer, one(names), cat(num(0), num(-8), num(-1), call(0), drop, goOn), nil),
		of("uri", "sends the call elsewhere", Decide, "", one(setURI), cat(num(1024), num(6), call(0), goOn), nil),
		of("status", "a status of 2^32-1", Decide, "", one(status), cat(num(-1), call(0), stop), nil),
		of("log-flood", "writes lines for ever", Decide, fuel, one(log), cat(loop(num(0), num(1024), num(17), call(0)), goOn), nil),
		of("log-beyond", "a line behind memory", Decide, pointer, one(log), cat(num(0), num(-1), num(17), call(0), goOn), nil),
		raw("http-start-endless", "a start function that never ends", Init, fuel, "", guest{pages: 1, start: 3, fns: []fn{
			{export: "handle_request", results: op(i64), code: goOn}, {export: "handle_response", params: i(2)}, {code: spin},
		}}.bytes()),
	}
}

// opaFunctions are those of OPA's ABI with their parameters; the marked ones give nothing.
var opaFunctions = []struct {
	name    string
	params  int
	nothing bool
}{
	{"opa_malloc", 1, false}, {"opa_json_parse", 2, false}, {"opa_json_dump", 1, false}, {"opa_value_parse", 2, false},
	{"opa_value_dump", 1, false}, {"opa_heap_ptr_get", 0, false}, {"opa_heap_ptr_set", 1, true}, {"builtins", 0, false},
	{"entrypoints", 0, false}, {"opa_eval_ctx_new", 0, false}, {"opa_eval_ctx_set_input", 2, true}, {"opa_eval_ctx_set_data", 2, true},
	{"opa_eval_ctx_set_entrypoint", 2, true}, {"eval", 1, false}, {"opa_eval_ctx_get_result", 1, false}, {"opa_eval", 7, false},
}

// Where a policy has its texts, and what is free.
const (
	opaBuiltins    = 1024
	opaEntrypoints = 1100
	opaResult      = 1 << 15
	opaHeap        = 1 << 16
)

// policy looks like a compiled Rego policy that allows everything, but for the code of some functions and some texts.
func policy(change map[string][]byte, said map[string]string) guest {
	results := map[string][]byte{
		"opa_malloc": num(opaHeap), "opa_heap_ptr_get": num(opaHeap), "opa_json_dump": get(0), "builtins": num(opaBuiltins),
		"entrypoints": num(opaEntrypoints), "opa_eval": num(opaResult),
	}
	maps.Copy(results, change)
	g := guest{pages: 4}
	for _, f := range opaFunctions {
		own := fn{export: f.name, params: times(f.params, op(i32)), results: op(i32), code: num(8)}
		if f.nothing {
			own.results, own.code = nil, nil
		}
		if code, ok := results[f.name]; ok {
			own.code = code
		}
		g.fns = append(g.fns, own)
	}
	texts := map[string]string{"builtins": "{}\x00", "entrypoints": `{"x/allow":0}` + "\x00", "result": `[{"result":true}]` + "\x00"}
	maps.Copy(texts, said)
	for name, at := range map[string]int32{"builtins": opaBuiltins, "entrypoints": opaEntrypoints, "result": opaResult} {
		g.data = append(g.data, active(at, texts[name]))
	}
	slices.SortFunc(g.data, slices.Compare)
	g.globals = [][]byte{cat(op(i32, 0), num(1), end), cat(op(i32, 0), num(2), end)}
	g.exports = [][]byte{export("opa_wasm_abi_version", 3, 0), export("opa_wasm_abi_minor_version", 3, 1)}
	return g
}

// regos look like compiled Rego policies.
func regos() []Case {
	const result = opaResult
	does := func(name, about string, stage Stage, kind, function string, code ...[]byte) Case {
		c := of("opa-"+name, about, stage, kind, "", policy(map[string][]byte{function: cat(code...)}, nil))
		c.Endless = kind == fuel && stage == Decide
		return c
	}
	tells := func(name, about string, stage Stage, kind, what, text string) Case {
		return of("opa-"+name, about, stage, kind, "", policy(nil, map[string]string{what: text}))
	}
	many := []byte("{")
	for n := range 300 {
		many = fmt.Appendf(many, `"x%d/allow":%d,`, n, n)
	}
	foreignMemory := policy(nil, nil)
	foreignMemory.imports = []host{{module: "env", name: "memory", what: cat(op(2, 0), uleb(1<<16))}}
	foreignMemory.pages = 0
	return []Case{
		of("opa-sound", "allows everything", Passed, "", "", policy(nil, nil)),
		does("eval-endless", "an evaluation that never ends", Decide, fuel, "opa_eval", spin, num(result)),
		does("eval-trap", "an evaluation that gives up", Decide, gaveUp, "opa_eval", unreachable),
		does("eval-beyond", "a result behind memory", Decide, pointer, "opa_eval", num(-1)),
		does("eval-without-end", "a result without an end", Decide, "", "opa_eval", num(0), num(1), num(4<<16), op(0xfc, 11, 0), num(0)),
		does("heap-beyond", "a heap behind memory", Passed, "", "opa_heap_ptr_get", num(-1)),
		does("malloc-beyond", "room behind memory", Passed, "", "opa_malloc", num(-1)),
		does("malloc-endless", "room that is never found", Init, fuel, "opa_malloc", spin, num(0)),
		does("entrypoints-endless", "entrypoints that are never told", Init, fuel, "entrypoints", spin, num(0)),
		does("dump-beyond", "a text behind memory", Init, pointer, "opa_json_dump", num(-1)),
		tells("entrypoints-many", "300 entrypoints", Init, refused, "entrypoints", string(many)+`"y/deny":1}`+"\x00"),
		tells("entrypoints-none", "no entrypoint that judges", Init, refused, "entrypoints", `{"x/y":0}`+"\x00"),
		tells("entrypoints-text", "entrypoints that are no JSON", Init, refused, "entrypoints", "\xff\xfe\x00"),
		tells("builtin-unknown", "a built-in that reads from the network", Init, refused, "builtins", `{"http.send":1}`+"\x00"),
		tells("result-not-utf8", "a result that is no UTF-8", Decide, verdict, "result", "[{\"result\":\"\xff\"}]\x00"),
		tells("result-number", "a result that is no answer", Decide, verdict, "result", `[{"result":1}]`+"\x00"),
		tells("result-two", "two results", Decide, verdict, "result", `[{"result":true},{"result":false}]`+"\x00"),
		tells("result-empty", "an undefined result, which allows nothing", Passed, "deny", "result", "[]\x00"),
		of("opa-memory-4-gib", "a memory of 4 GiB to be imported", Check, limit, "", foreignMemory),
	}
}
