package mcp_test

import (
	"testing"

	"github.com/gatewright/gatewright/bench/mcp"
	"github.com/gatewright/gatewright/merkle/canon"
)

// TestBothWaysCarryWhatIsClaimed: 1.5 KB there and 1 KB back, JSON where a connector promises JSON.
func TestBothWaysCarryWhatIsClaimed(t *testing.T) {
	for _, name := range []string{"probe", "orders_update"} {
		r := mcp.NewRequest(name)
		if n := len(mcp.Payload(r)); n != 1500 {
			t.Errorf("%s: a request has %d bytes", name, n)
		}
		for _, b := range [][]byte{r.Arguments, r.Meta} {
			if err := canon.Check(b, canon.DefaultLimits()); err != nil {
				t.Errorf("%s: %s: %v", name, b, err)
			}
		}
	}
	reply := mcp.NewReply()
	if err := canon.Check(reply, canon.DefaultLimits()); err != nil || len(reply) != 1024 {
		t.Errorf("a reply of %d bytes: %v", len(reply), err)
	}
}
