// Package filters holds the filters that Gatewright brings along, as built modules. The source of each lies in the folder
// of its name, with a build.sh that makes the module again byte for byte.
package filters

import (
	"embed"
	"path"
	"strings"
)

//go:embed *.wasm
var modules embed.FS

const suffix = ".wasm"

// Names returns the names of all filters, sorted.
func Names() []string {
	entries, _ := modules.ReadDir(".") // embedded: there is nothing to fail at
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	return names
}

// Module returns the module of that name. The bytes are the caller's own.
func Module(name string) ([]byte, bool) {
	if name != path.Base(name) {
		return nil, false
	}
	module, err := modules.ReadFile(name + suffix)
	return module, err == nil
}
