package mcp_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/bench/mcp"
	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// swap is set for children that are to be something else than they claim.
const swap = "BENCH_TEST_SWAP"

// TestMain lets the test binary be its own children, wrong ones too.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	switch {
	case mcp.IsConnector(args):
		os.Exit(mcp.ServeConnector())
	case !rig.IsChild(args):
		os.Exit(m.Run())
	}
	roles := mcp.Roles()
	switch os.Getenv(swap) {
	case "open gate":
		roles["gateway"] = openGate(roles)
	case "no connector":
		roles["hop"] = alone
	case "no peer":
		roles["grpc"] = alone
	}
	os.Exit(rig.RunChild(context.Background(), args, roles))
}

// openGate shows a pass and forwards everything.
func openGate(roles map[string]rig.Role) rig.Role {
	real, bare := roles["gateway"], roles["bare"]
	return func(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
		s, err := real(ctx, settings)
		if err != nil {
			return s, err
		}
		var g task.Gateway
		if err := json.Unmarshal(settings, &g); err != nil || g.Upstream == "" {
			return s, err
		}
		open, err := bare(ctx, settings)
		open.Detail = s.Detail
		return open, err
	}
}

// alone answers itself, which costs nothing.
func alone(context.Context, json.RawMessage) (rig.Serving, error) {
	nothing := func(context.Context) error { return nil }
	return rig.Serving{Probe: nothing, Call: nothing}, nil
}

func TestARunFails(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ how, want string }{
		{"open gate", "native does not do its task: a wrong key"},
		{"no connector", "hop: it has 1 processes, want 2"},
		{"no peer", "grpc: it has 1 processes, want 2"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Setenv(swap, c.how)
			o := rig.Options{Self: []string{self}, Rounds: 1, Time: 50 * time.Millisecond, Conns: 8, Log: io.Discard}
			if _, err := mcp.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
