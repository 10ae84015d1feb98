// Package demo is a small, useful MCP server that needs nothing from outside:
// a notebook, a table of orders, a calculator, an outbox that never sends, a
// few fixture pages and a timer. Development mode runs it as a connector; tests
// use it as a real upstream of either protocol era.
//
// All state lives in one Server, is bounded, and dies with the process. No
// tool touches the disk or the network.
package demo

import (
	"cmp"
	"slices"

	"github.com/gatewright/gatewright/plugins/connector"
)

// New returns the whole server with fresh state.
func New() (connector.Server, error) {
	all := slices.Concat((&notebook{}).tools(), table(), calculator(), (&outbox{}).tools(), site(), timer())
	list := make([]connector.Tool, len(all))
	for i, t := range all {
		if t.err != nil {
			return nil, t.err
		}
		list[i] = t.Tool
	}
	slices.SortFunc(list, func(a, b connector.Tool) int { return cmp.Compare(a.Name, b.Name) })
	return connector.Tools(list...)
}
