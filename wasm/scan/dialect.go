package scan

import (
	"slices"
	"strings"
)

// What package meter adds to a module, and a module may therefore not have itself.
const (
	MeterModule = "gw_internal" // of the one import
	FuelGlobal  = "__fuel"      // an export
	DepthGlobal = "__depth"     // an export
	StatePrefix = "__state"     // exports of mutable globals begin with it
	StartExport = "__state_start"
)

func reserved(export string) bool {
	return export == FuelGlobal || export == DepthGlobal || strings.HasPrefix(export, StatePrefix)
}

// A contract is what a dialect asks of a module and gives it.
type contract struct {
	dialect Dialect
	mark    string // the export that tells it from others
	module  string // whose functions it gives
	wasi    bool   // it gives those of wasi too
	start   bool   // its modules may have a start function
	imports []offer
	exports []offer
}

// An offer is a function by name and signature.
type offer struct {
	name, signature string
	optional        bool // of exports
}

// contracts are in the order in which their marks are looked for.
var contracts = []contract{
	{GWFlat, "gw_abi_1b", "gw", true, false, gwImports, gwExports},
	{GW, "gw_abi_1", "gw", true, false, gwImports, gwExports},
	{HTTPWasm, "handle_request", "http_handler", true, true, httpImports, []offer{
		{"handle_request", "()->(i64)", false}, {"handle_response", "(i32,i32)->()", false},
	}},
	{OPA, "opa_eval_ctx_new", "env", false, true, opaImports, []offer{
		{"eval", "(i32)->(i32)", false}, {"builtins", "()->(i32)", false}, {"entrypoints", "()->(i32)", false},
		{"opa_eval_ctx_new", "()->(i32)", false}, {"opa_eval_ctx_set_input", "(i32,i32)->()", false},
		{"opa_eval_ctx_set_data", "(i32,i32)->()", false}, {"opa_eval_ctx_set_entrypoint", "(i32,i32)->()", false},
		{"opa_eval_ctx_get_result", "(i32)->(i32)", false}, {"opa_eval", "(i32,i32,i32,i32,i32,i32,i32)->(i32)", true},
		{"opa_malloc", "(i32)->(i32)", false}, {"opa_free", "(i32)->()", true},
		{"opa_json_parse", "(i32,i32)->(i32)", false}, {"opa_json_dump", "(i32)->(i32)", false},
		{"opa_value_parse", "(i32,i32)->(i32)", true}, {"opa_value_dump", "(i32)->(i32)", true},
		{"opa_heap_ptr_get", "()->(i32)", false}, {"opa_heap_ptr_set", "(i32)->()", false},
	}},
}

var gwImports = []offer{{name: "log", signature: "(i32,i32,i32)->()"}}

// gwExports beside the mark, whose signature is "()->()".
var gwExports = []offer{
	{"gw_alloc", "(i32)->(i32)", false}, {"gw_decide", "(i32,i32)->(i64)", false}, {"gw_init", "(i32,i32)->(i32)", true},
	{"gw_on_response", "(i32,i32)->(i64)", true}, {"gw_on_chunk", "(i32,i32,i32)->(i64)", true},
	{"gw_abi_1", "()->()", true}, {"gw_abi_1b", "()->()", true}, {"gw_abi_1b_leaves", "()->()", true}, {"_initialize", "()->()", true},
}

// httpImports are the functions of http_handler (https://http-wasm.io/http-handler-abi).
var httpImports = []offer{
	{name: "enable_features", signature: "(i32)->(i32)"}, {name: "get_config", signature: "(i32,i32)->(i32)"},
	{name: "log_enabled", signature: "(i32)->(i32)"}, {name: "log", signature: "(i32,i32,i32)->()"},
	{name: "get_method", signature: "(i32,i32)->(i32)"}, {name: "set_method", signature: "(i32,i32)->()"},
	{name: "get_uri", signature: "(i32,i32)->(i32)"}, {name: "set_uri", signature: "(i32,i32)->()"},
	{name: "get_protocol_version", signature: "(i32,i32)->(i32)"}, {name: "get_source_addr", signature: "(i32,i32)->(i32)"},
	{name: "get_header_names", signature: "(i32,i32,i32)->(i64)"}, {name: "get_header_values", signature: "(i32,i32,i32,i32,i32)->(i64)"},
	{name: "set_header_value", signature: "(i32,i32,i32,i32,i32)->()"}, {name: "add_header_value", signature: "(i32,i32,i32,i32,i32)->()"},
	{name: "remove_header", signature: "(i32,i32,i32)->()"},
	{name: "read_body", signature: "(i32,i32,i32)->(i64)"}, {name: "write_body", signature: "(i32,i32,i32)->()"},
	{name: "get_status_code", signature: "()->(i32)"}, {name: "set_status_code", signature: "(i32)->()"},
}

// opaImports are what OPA's compiler declares beside the memory (https://www.openpolicyagent.org/docs/wasm).
var opaImports = []offer{
	{name: "opa_abort", signature: "(i32)->()"}, {name: "opa_println", signature: "(i32)->()"},
	{name: "opa_builtin0", signature: "(i32,i32)->(i32)"}, {name: "opa_builtin1", signature: "(i32,i32,i32)->(i32)"},
	{name: "opa_builtin2", signature: "(i32,i32,i32,i32)->(i32)"}, {name: "opa_builtin3", signature: "(i32,i32,i32,i32,i32)->(i32)"},
	{name: "opa_builtin4", signature: "(i32,i32,i32,i32,i32,i32)->(i32)"},
}

// WASIModule is the module of WASI's functions.
const WASIModule = "wasi_snapshot_preview1"

// wasiImports are those functions of WASI that Go's runtime and what is printed with import for wasip1, and no more.
var wasiImports = []offer{
	{name: "args_get", signature: "(i32,i32)->(i32)"}, {name: "args_sizes_get", signature: "(i32,i32)->(i32)"},
	{name: "clock_time_get", signature: "(i32,i64,i32)->(i32)"},
	{name: "environ_get", signature: "(i32,i32)->(i32)"}, {name: "environ_sizes_get", signature: "(i32,i32)->(i32)"},
	{name: "fd_close", signature: "(i32)->(i32)"}, {name: "fd_fdstat_get", signature: "(i32,i32)->(i32)"},
	{name: "fd_fdstat_set_flags", signature: "(i32,i32)->(i32)"}, {name: "fd_prestat_dir_name", signature: "(i32,i32,i32)->(i32)"},
	{name: "fd_prestat_get", signature: "(i32,i32)->(i32)"}, {name: "fd_read", signature: "(i32,i32,i32,i32)->(i32)"},
	{name: "fd_write", signature: "(i32,i32,i32,i32)->(i32)"},
	{name: "poll_oneoff", signature: "(i32,i32,i32,i32)->(i32)"}, {name: "proc_exit", signature: "(i32)->()"},
	{name: "random_get", signature: "(i32,i32)->(i32)"}, {name: "sched_yield", signature: "()->(i32)"},
}

// Imports returns what modules of a dialect may import, WASI's functions included: what its host must give.
func Imports(d Dialect) []Import {
	var all []Import
	for i := range contracts {
		if c := &contracts[i]; c.dialect == d {
			all = append(all, imports(c.module, c.imports)...)
			if c.wasi {
				all = append(all, imports(WASIModule, wasiImports)...)
			}
		}
	}
	return all
}

func imports(module string, offers []offer) []Import {
	all := make([]Import, len(offers))
	for i, o := range offers {
		all[i] = Import{module, o.name, Function, o.signature}
	}
	return all
}

// gives tells whether the dialect gives an import.
func (c *contract) gives(i Import) bool {
	switch {
	case i.Kind == Memory:
		return c.dialect == OPA
	case i.Module == WASIModule:
		return c.wasi && has(wasiImports, i.Name, i.Signature)
	}
	return i.Module == c.module && has(c.imports, i.Name, i.Signature)
}

func has(offers []offer, name, signature string) bool {
	return slices.ContainsFunc(offers, func(o offer) bool { return o.name == name && o.signature == signature })
}
