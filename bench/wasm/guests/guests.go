// Package guests holds the filters that the WebAssembly bench measures, as built modules beside their sources. build.sh makes
// them again byte for byte.
package guests

import "embed"

//go:embed */*.wasm
var modules embed.FS

// Module returns a built guest: noop, loop or calls in c, rust or as, noop with 128 KiB of memory; and noop-256k and noop-4m in
// c. The bytes are the caller's own.
func Module(language, name string) ([]byte, error) {
	return modules.ReadFile(language + "/" + name + ".wasm")
}
