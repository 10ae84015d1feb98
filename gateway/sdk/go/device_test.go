package gatewright_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestSignInsAreShownAndDecided(t *testing.T) {
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		answer(w, 200, `{"code":"BCDF-GHJK","state":"approved","source":"192.0.2.1","created":"2026-01-01T00:00:00Z","expires":"2026-01-01T00:10:00Z","agent":"agt_1","key":"key_1"}`)
	})
	a, ctx := g.admin(t), t.Context()
	want := gatewright.DeviceCode{
		Code: "BCDF-GHJK", State: "approved", Source: "192.0.2.1", Created: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 1, 1, 0, 10, 0, 0, time.UTC), Agent: "agt_1", Key: "key_1",
	}
	check := func(c *gatewright.DeviceCode, err error) {
		t.Helper()
		if err != nil || *c != want {
			t.Errorf("%+v %v", c, err)
		}
	}
	check(a.DeviceCode(ctx, "BC/K"))
	check(a.ApproveDevice(ctx, "BCDF-GHJK", gatewright.DeviceApproval{Agent: "agt_1"}))
	check(a.ApproveDevice(ctx, "BCDF-GHJK", gatewright.DeviceApproval{Name: "laptop"}))
	check(a.ApproveDevice(ctx, "BCDF-GHJK", gatewright.DeviceApproval{}))
	check(a.DenyDevice(ctx, "BCDF-GHJK"))
	sent := `GET /api/v1/device-codes/BC%2FK
POST /api/v1/device-codes/BCDF-GHJK/approve {"agent":"agt_1"}
POST /api/v1/device-codes/BCDF-GHJK/approve {"name":"laptop"}
POST /api/v1/device-codes/BCDF-GHJK/approve {}
POST /api/v1/device-codes/BCDF-GHJK/deny`
	if got := strings.Join(seen, "\n"); got != sent {
		t.Errorf("sent\n%s\nwant\n%s", got, sent)
	}
}

func TestARefusedSignInIsAnError(t *testing.T) {
	g := newGateway(t)
	g.on("POST /api/v1/device-codes/BCDF-GHJK/approve", 409, `{"code":"inactive","detail":"the code has expired","record":"rec_1"}`)
	_, err := g.admin(t).ApproveDevice(t.Context(), "BCDF-GHJK", gatewright.DeviceApproval{})
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "inactive" || e.Record != "rec_1" {
		t.Errorf("got %v", err)
	}
}
