package scan

import (
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// judgeImport refuses at once what no dialect gives; which one it is tell the exports, which come later.
func (w *walker) judgeImport(at int, i Import) {
	if w.l.AnyDialect || !w.ok() {
		return
	}
	if !slices.ContainsFunc(contracts, func(c contract) bool { return c.gives(i) }) {
		w.failImport(at, i, "nobody")
	}
}

// failImport says what may be imported in place of i, which who does not give.
func (w *walker) failImport(at int, i Import, who string) {
	if known, ok := knownImport(i); ok && known != i.Signature {
		w.failAt(at, ErrUnsupported, "declare it as "+known, "the import %.64q.%.64q is %s", i.Module, i.Name, i.Signature)
		return
	}
	w.failAt(at, ErrUnsupported, importHint(i), "the import %.64q.%.64q, which %s gives", i.Module, i.Name, who)
}

// knownImport finds the signature of an import by its name.
func knownImport(i Import) (signature string, ok bool) {
	look := func(offers []offer) {
		if n := slices.IndexFunc(offers, func(o offer) bool { return o.name == i.Name }); n >= 0 {
			signature, ok = offers[n].signature, true
		}
	}
	if i.Module == WASIModule {
		look(wasiImports)
	}
	for n := range contracts {
		if contracts[n].module == i.Module {
			look(contracts[n].imports)
		}
	}
	return signature, ok
}

const hintImport = "define it in the module itself: only functions are given, and to OPA's policies env.memory"

func importHint(i Import) string {
	switch {
	case i.Module == "env" && i.Name == "abort":
		return "build with --use abort= naming a function of your own (AssemblyScript)"
	case i.Module == "env":
		return "define the function or link what has it: the linker left it undefined"
	case i.Module == "wasi_unstable":
		return "build for " + WASIModule
	case strings.HasPrefix(i.Module, "wasi"):
		return "a filter has no files, sockets, clock or processes; of WASI it gets only " + names(wasiImports)
	case i.Module == "gojs" || i.Module == "go":
		return "build for GOOS=wasip1, not GOOS=js"
	}
	return "import only gw.log, functions of http_handler or, for OPA's policies, of env"
}

func names(offers []offer) string {
	all := make([]string, len(offers))
	for i, o := range offers {
		all[i] = o.name
	}
	return strings.Join(all, ", ")
}

// judgeExport refuses what bears a name of a dialect and is something else.
func (w *walker) judgeExport(at int, e Export) {
	if w.l.AnyDialect || !w.ok() {
		return
	}
	if e.Name == "memory" && e.Kind != Memory {
		w.failAt(at, ErrUnsupported, "export the memory under this name", "the export \"memory\" is a %s", e.Kind)
	}
	for i := range contracts {
		for _, o := range contracts[i].exports {
			if o.name == e.Name && (e.Kind != Function || e.Signature != o.signature) && contracts[i].told(e.Name) {
				w.failAt(at, ErrUnsupported, "declare it as "+o.signature, "the export %q is %s %s", e.Name, e.Kind, e.Signature)
			}
		}
	}
}

// told tells whether a name is so much the dialect's that no other would use it.
func (c *contract) told(name string) bool {
	return strings.HasPrefix(name, "gw_") || strings.HasPrefix(name, "opa_") || strings.HasPrefix(name, "handle_re") || name == "_initialize"
}

// judgeStart: the exports stand before the start function, so the dialect is known.
func (w *walker) judgeStart(at int) {
	c := w.contract()
	has := c != nil && c.start
	if w.l.AllowStart || has && (w.l.ExportStart || !w.l.AnyDialect) {
		return
	}
	w.failAt(at, ErrUnsupported, "export what it does as gw_init, or as _initialize", "a start function")
}

// contract is that of the dialect whose mark is exported; nil: none.
func (w *walker) contract() *contract {
	for i := range contracts {
		if w.exported[contracts[i].mark] {
			return &contracts[i]
		}
	}
	return nil
}

// judge holds the module against the contract of its dialect.
func (w *walker) judge() {
	c := w.contract()
	if c != nil && w.ok() {
		w.report.Dialect = c.dialect
	}
	if w.l.AnyDialect || !w.ok() {
		return
	}
	if c == nil {
		w.failAt(w.report.Size, ErrUnsupported, "export gw_abi_1 and gw_decide for a filter of Gatewright's own; the README of package wasm shows one",
			"it exports none of gw_abi_1, gw_abi_1b, handle_request and opa_eval_ctx_new")
		return
	}
	for n, i := range w.report.Imports {
		if !c.gives(i) {
			w.failImport(w.importAt[n], i, "nobody to modules of the dialect "+string(c.dialect))
		}
	}
	w.judgeExports(c)
}

// judgeExports refuses a module that lacks something, or has it in another shape.
func (w *walker) judgeExports(c *contract) {
	if !w.report.HasMemory || !w.report.Imported && !w.has("memory", Memory, "") {
		w.failAt(w.report.Size, ErrUnsupported, "export the memory as \"memory\"", "it does not export its memory")
	}
	for _, o := range c.exports {
		if w.exported[o.name] && !w.has(o.name, Function, o.signature) {
			w.failAt(w.report.Size, ErrUnsupported, "declare it as "+o.signature, "the export %q has another type", o.name)
		}
		if slices.Contains(w.foreign, o.name) { // called without a caller, whose memory the host would look at
			w.failAt(w.report.Size, ErrUnsupported, "define it in the module itself", "the export %q is an import", o.name)
		}
		if !w.exported[o.name] && !o.optional {
			w.failAt(w.report.Size, ErrUnsupported, "export "+o.name+" as "+o.signature, "it does not export %q, which the dialect %s asks for", o.name, c.dialect)
		}
	}
}

func (w *walker) has(name string, k Kind, signature string) bool {
	return slices.Contains(w.report.Exports, Export{name, k, signature})
}
