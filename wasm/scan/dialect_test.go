package scan_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/scan"
)

// filter is a module of the dialect "gw" with everything it may have.
func filter() mod {
	answer := []byte{0x42, 0}
	return mod{
		types: [][]byte{functype([]byte{i32, i32, i32}, nil), functype([]byte{i32, i32, i32, i32}, []byte{i32})},
		imports: [][]byte{
			importFn("gw", "log", 6), importFn("wasi_snapshot_preview1", "fd_write", 7), importFn("wasi_snapshot_preview1", "fd_write", 7),
		},
		memory: cat(0, 1),
		funcs: []fn{
			{export: "gw_abi_1"},
			{export: "gw_alloc", params: []byte{i32}, results: []byte{i32}, body: i32c(8)},
			{export: "gw_decide", params: []byte{i32, i32}, results: []byte{i64}, body: answer},
			{export: "gw_init", params: []byte{i32, i32}, results: []byte{i32}, body: i32c(0)},
			{export: "gw_on_response", params: []byte{i32, i32}, results: []byte{i64}, body: answer},
			{export: "gw_on_chunk", params: []byte{i32, i32, i32}, results: []byte{i64}, body: answer},
		},
		exports: [][]byte{exportOf("memory", 2, 0)},
	}
}

// handler is a module of the dialect "http-wasm".
func handler() mod {
	return mod{
		types:   [][]byte{functype([]byte{i32, i32, i32}, []byte{i64})},
		imports: [][]byte{importFn("http_handler", "read_body", 2)},
		memory:  cat(0, 1),
		funcs: []fn{
			{export: "handle_request", results: []byte{i64}, body: []byte{0x42, 0}},
			{export: "handle_response", params: []byte{i32, i32}},
		},
		exports: [][]byte{exportOf("memory", 2, 0)},
	}
}

// policy is a module of the dialect "opa", in the shape its compiler gives it.
func policy() mod {
	m := mod{
		types:    [][]byte{functype([]byte{i32}, nil)},
		imports:  [][]byte{cat(sized("env"), sized("memory"), 2, 0, 2), nil},
		memories: 1,
	}
	for name, in := range map[string]int{
		"eval": 1, "builtins": 0, "entrypoints": 0, "opa_eval_ctx_new": 0, "opa_eval_ctx_get_result": 1, "opa_malloc": 1,
		"opa_json_parse": 2, "opa_json_dump": 1, "opa_heap_ptr_get": 0,
	} {
		m.funcs = append(m.funcs, fn{export: name, params: repeat(in, []byte{i32}), results: []byte{i32}, body: i32c(0)})
	}
	for name, in := range map[string]int{
		"opa_eval_ctx_set_input": 2, "opa_eval_ctx_set_data": 2, "opa_eval_ctx_set_entrypoint": 2, "opa_heap_ptr_set": 1,
	} {
		m.funcs = append(m.funcs, fn{export: name, params: repeat(in, []byte{i32})})
	}
	m.funcs = append(m.funcs, fn{})
	m.imports[1] = importFn("env", "opa_abort", len(m.funcs))
	m.start = leb(uint64(len(m.funcs))) // the last, behind opa_abort
	return m
}

// TestWhatTheHostCallsIsTheModulesOwn: an import that is exported under such a name runs without a caller and its memory, which
// its function looks at.
func TestWhatTheHostCallsIsTheModulesOwn(t *testing.T) {
	filter, handler := filter(), handler()
	filter.types = append(filter.types, functype([]byte{i32, i32}, []byte{i32}))
	filter.imports = append(filter.imports, importFn("wasi_snapshot_preview1", "args_sizes_get", len(filter.funcs)+len(filter.types)-1))
	filter.funcs[3].export = "" // gw_init
	filter.exports = append(filter.exports, exportOf("gw_init", 0, len(filter.imports)-1))
	handler.types = append(handler.types, functype([]byte{i32, i32}, nil))
	handler.imports = append(handler.imports, importFn("http_handler", "set_uri", len(handler.funcs)+len(handler.types)-1))
	handler.funcs[1].export = ""
	handler.exports = append(handler.exports, exportOf("handle_response", 0, len(handler.imports)-1))
	for name, m := range map[string]mod{"gw_init": filter, "handle_response": handler} {
		refused(t, m.bytes(), scan.Limits{}, scan.ErrUnsupported, `the export "`+name+`" is an import; hint: define it in the module itself`)
	}
	filter.exports[len(filter.exports)-1] = exportOf("mine", 0, len(filter.imports)-1)
	if _, err := scanned(t, filter.bytes(), scan.Limits{}); err != nil {
		t.Errorf("under a name of its own: %v", err)
	}
}

func TestEachDialectIsRecognised(t *testing.T) {
	flat, both := filter(), filter()
	flat.funcs[0].export = "gw_abi_1b"
	both.funcs = append(both.funcs, fn{export: "gw_abi_1b"})
	both.types = filter().types
	both.imports = nil
	for _, c := range []struct {
		name    string
		m       mod
		dialect scan.Dialect
	}{
		{"gw", filter(), scan.GW}, {"gw-flat", flat, scan.GWFlat}, {"both forms", both, scan.GWFlat},
		{"http-wasm", handler(), scan.HTTPWasm}, {"opa", policy(), scan.OPA},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := scanned(t, c.m.bytes(), scan.Limits{})
			if err != nil || r.Dialect != c.dialect {
				t.Fatalf("%q, %v", r.Dialect, err)
			}
			if r, err = scanned(t, c.m.bytes(), form(scan.Limits{AllowStart: true})); err != nil || r.Dialect != c.dialect {
				t.Fatalf("%q, %v", r.Dialect, err)
			}
		})
	}
}

// TestWhatADialectDoesNotGiveIsRefused: at the import, export or start function that is wrong, with what to do.
func TestWhatADialectDoesNotGiveIsRefused(t *testing.T) {
	with := func(m mod, change func(m *mod)) []byte {
		change(&m)
		return m.bytes()
	}
	imports := func(module, name string, typ int) []byte {
		return with(filter(), func(m *mod) { m.imports = append(m.imports, importFn(module, name, typ)) })
	}
	exports := func(name string, typ fn) []byte {
		typ.export = name
		return with(filter(), func(m *mod) { m.imports, m.funcs = nil, append(m.funcs, typ) })
	}
	for _, c := range []struct {
		name   string
		module []byte
		at     string // where it is refused: at these bytes, or at the end
		text   string
		hint   string
	}{
		{"a file", imports("wasi_snapshot_preview1", "path_open", 7), "\x16wasi_snapshot_preview1\x09path_open", "nobody gives", "no files"},
		{"a socket", imports("wasi_snapshot_preview1", "sock_send", 7), "\x16wasi_snapshot_preview1\x09sock_send", "nobody gives", "no files"},
		{"a file to seek in", imports("wasi_snapshot_preview1", "fd_seek", 7), "\x16wasi_snapshot_preview1\x07fd_seek", "nobody gives", "fd_write"},
		{"another WASI", imports("wasi_unstable", "fd_write", 7), "\x0dwasi_unstable", "nobody gives", "wasi_snapshot_preview1"},
		{"WASI with another signature", imports("wasi_snapshot_preview1", "proc_exit", 7), "\x16wasi_snapshot_preview1\x09proc_exit", "is (i32,i32,i32,i32)->(i32)", "(i32)->()"},
		{"log with another signature", imports("gw", "log", 7), "\x02gw\x03log\x00\x07", "is (i32,i32,i32,i32)->(i32)", "(i32,i32,i32)->()"},
		{"another function of ours", imports("gw", "get", 6), "\x02gw\x03get", "nobody gives", "gw.log"},
		{"what the linker left", imports("env", "strlen", 6), "\x03env\x06strlen", "nobody gives", "left it undefined"},
		{"abort of AssemblyScript", imports("env", "abort", 6), "\x03env\x05abort", "nobody gives", "--use abort="},
		{"a browser's glue", imports("./glue.js", "f", 6), "\x09./glue.js", "nobody gives", "gw.log"},
		{"Go for a browser", imports("gojs", "runtime.wasmExit", 6), "\x04gojs", "nobody gives", "GOOS=wasip1"},
		{"http_handler's, for gw", imports("http_handler", "set_status_code", 1), "\x0chttp_handler", "(i32)->(i32)", "(i32)->()"},
		{"http_handler's own, for gw", imports("http_handler", "enable_features", 1), "\x0chttp_handler", "nobody to modules of the dialect gw gives", "gw.log"},
		{"OPA's memory, for gw", with(filter(), func(m *mod) {
			m.memory, m.memories, m.imports = nil, 1, append(m.imports, cat(sized("env"), sized("memory"), 2, 0, 1))
		}), "\x03env\x06memory", "nobody to modules of the dialect gw gives", "left it undefined"},
		{"WASI, for OPA", with(policy(), func(m *mod) {
			m.imports = append(m.imports, importFn("wasi_snapshot_preview1", "proc_exit", len(m.funcs)))
			m.start = leb(15)
		}), "\x16wasi_snapshot_preview1", "nobody to modules of the dialect opa gives", "no files"},
		{"another memory", with(policy(), func(m *mod) { m.imports[0] = cat(sized("env"), sized("mem"), 2, 0, 2) }), "\x03env\x03mem", "is no function", "env.memory"},
		{"two memories", with(policy(), func(m *mod) { m.memory = cat(0, 1) }), "\x00\x01\x07", "2 memories", ""},

		{"no dialect", mod{memory: cat(0, 1)}.bytes(), "", "it exports none of", "gw_abi_1"},
		{"no memory", with(filter(), func(m *mod) { m.exports = nil }), "", "does not export its memory", "as \"memory\""},
		{"no alloc", with(filter(), func(m *mod) { m.funcs[1].export = "alloc" }), "", "does not export \"gw_alloc\"", "(i32)->(i32)"},
		{"no decide", with(filter(), func(m *mod) { m.funcs[2].export = "" }), "", "does not export \"gw_decide\"", "(i32,i32)->(i64)"},
		{"no response", with(handler(), func(m *mod) { m.funcs[1].export = "" }), "", "does not export \"handle_response\"", "(i32,i32)->()"},
		{"no eval", with(policy(), func(m *mod) {
			for i := range m.funcs {
				if m.funcs[i].export == "eval" {
					m.funcs[i].export = "evil"
				}
			}
		}), "", "does not export \"eval\"", "(i32)->(i32)"},
		{"decide with another signature", with(filter(), func(m *mod) { m.funcs[2].params = []byte{i32} }), "\x09gw_decide", "is function (i32)->(i64)", "(i32,i32)->(i64)"},
		{"decide that is a memory", with(filter(), func(m *mod) {
			m.funcs[2].export = ""
			m.exports = append(m.exports, exportOf("gw_decide", 2, 0))
		}), "\x09gw_decide", "is memory", "(i32,i32)->(i64)"},
		{"initialize with another signature", exports("_initialize", fn{params: []byte{i32}}), "\x0b_initialize", "is function (i32)->()", "()->()"},
		{"a memory that is a function", with(filter(), func(m *mod) { m.exports = [][]byte{exportOf("memory", 0, 3)} }), "\x06memory", "is a function", "the memory"},
		{"a start function, for gw", with(filter(), func(m *mod) { m.start = leb(3) }), "\x03\x0a", "a start function", "gw_init"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := scanned(t, c.module, scan.Limits{})
			var e *scan.Error
			if !errors.As(err, &e) || !strings.Contains(e.Detail, c.text) || !strings.Contains(e.Hint, c.hint) {
				t.Fatalf("%v, want %q and %q", err, c.text, c.hint)
			}
			if want := bytes.Index(c.module, []byte(c.at)); c.at != "" && e.Offset != want || c.at == "" && e.Offset != len(c.module) {
				t.Errorf("refused at %d, want %d", e.Offset, want)
			}
		})
	}
}

// TestHostsAreToldWhatToGive: the list of a dialect holds what its modules import.
func TestHostsAreToldWhatToGive(t *testing.T) {
	for d, want := range map[scan.Dialect]int{scan.GW: 17, scan.GWFlat: 17, scan.HTTPWasm: 35, scan.OPA: 7, "": 0} {
		all := scan.Imports(d)
		if len(all) != want {
			t.Errorf("%s: %d imports, want %d", d, len(all), want)
		}
		seen := map[string]bool{}
		for _, i := range all {
			if seen[i.Module+" "+i.Name] || i.Kind != scan.Function || i.Signature == "" {
				t.Errorf("%s: %+v", d, i)
			}
			seen[i.Module+" "+i.Name] = true
		}
	}
}
