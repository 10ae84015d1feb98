package ladder_test

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/bench/ladder"
	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// swap is set for children that are to be something else than they claim.
const swap = "BENCH_TEST_SWAP"

// TestMain lets the test binary be its own children, wrong ones too.
func TestMain(m *testing.M) {
	args := os.Args[1:]
	if !rig.IsChild(args) {
		os.Exit(m.Run())
	}
	roles := ladder.Roles()
	switch os.Getenv(swap) {
	case "open gate":
		roles["parts"] = openGate(roles)
	case "filters everywhere":
		roles["full"] = filtered(roles["full"], ladder.FilterName)
	case "filters nowhere":
		roles["full"] = filtered(roles["full"])
	case "failing upstream":
		roles[rig.StubRole] = failing
	}
	os.Exit(rig.RunChild(context.Background(), args, roles))
}

// openGate shows a pass and forwards everything.
func openGate(roles map[string]rig.Role) rig.Role {
	real, bare := roles["parts"], roles["bare"]
	return func(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
		s, err := real(ctx, settings)
		if err != nil {
			return s, err
		}
		open, err := bare(ctx, settings)
		open.Detail = s.Detail
		return open, err
	}
}

// filtered gives every gateway the same filters.
func filtered(real rig.Role, filters ...string) rig.Role {
	return func(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
		var g task.Gateway
		if err := json.Unmarshal(settings, &g); err != nil {
			return rig.Serving{}, err
		}
		g.Filters = filters
		text, err := json.Marshal(g)
		if err != nil {
			return rig.Serving{}, err
		}
		return real(ctx, text)
	}
}

// failing knows its tools and fails every call but the first ones.
func failing(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	good, err := rig.ServeStub(ctx, settings)
	if err != nil {
		return good, err
	}
	up := &fasthttp.HostClient{Addr: good.Addr}
	return rig.ServeHTTP(func(ctx *fasthttp.RequestCtx) {
		if strings.Contains(string(ctx.PostBody()), "ord-000007") {
			ctx.Error("no", fasthttp.StatusInternalServerError)
			return
		}
		if err := up.Do(&ctx.Request, &ctx.Response); err != nil {
			ctx.Error(err.Error(), fasthttp.StatusBadGateway)
		}
	})
}

func TestARunFails(t *testing.T) {
	if testing.Short() {
		t.Skip("starts many processes")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		how   string
		parts bool
		want  string
	}{
		{"open gate", true, "token does not do its task: a wrong key"},
		{"filters everywhere", false, `receipts does not do its task: a call with a secret: filters put on the labels ["secret:`},
		{"filters nowhere", false, "filter does not do its task: a call with a secret: filters put on the labels []"},
		{"failing upstream", false, "connections failed: HTTP"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Setenv(swap, c.how)
			o := ladder.Options{Options: rig.Options{Self: []string{self}, Rounds: 1, Time: 100 * time.Millisecond, Conns: 8, Log: io.Discard}, Parts: c.parts}
			if _, err := ladder.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
