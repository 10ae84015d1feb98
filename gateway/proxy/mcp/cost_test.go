package mcp

import "testing"

// TestMetaOfAStockClientCostsNothing: what clients of both eras put there themselves is not for the server, and takes no memory.
func TestMetaOfAStockClientCostsNothing(t *testing.T) {
	e := &exchange{}
	e.params = []byte(`{"name":"read","arguments":{"path":"/a"},"_meta":{"progressToken":7,"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}`)
	got := testing.AllocsPerRun(100, func() {
		if _, err := e.meta(); err != nil || e.carry(&e.call, false) != nil || e.call.Meta != nil || e.call.Extra != nil {
			t.Fatal(err, e.call.Meta, e.call.Extra)
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}
