package server_test

import (
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
)

// TestAServerThatIsAddedIsLookedAt: at once, and what is wrong with it stands in its health and in the log.
func TestAServerThatIsAddedIsLookedAt(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, func(c *config.Config) { b.serving(c) })
	r := run(t, o, out, log)
	admin := r.env["GATEWRIGHT_ADMIN_KEY"]
	type health struct {
		Health struct {
			Failures, Tools int
			Error           string
		}
	}
	looked := func(name string) (h health) {
		t.Helper()
		for end := time.Now().Add(time.Minute); h.Health.Failures+h.Health.Tools == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			r.control("GET", "/api/v1/servers/"+name, admin, "", 200, &h)
		}
		return h
	}
	r.control("POST", "/api/v1/servers", admin, `{"name":"inward","url":"`+b.url+`"}`, 201, nil)
	if h := looked("inward").Health; h.Failures == 0 || !strings.Contains(h.Error, "blocked_address") || !strings.Contains(h.Error, `"allow_private": true`) {
		t.Errorf("its health says %+v", h)
	}
	for end := time.Now().Add(time.Minute); !strings.Contains(log.String(), "server=inward") && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if !strings.Contains(log.String(), "server=inward") || !strings.Contains(log.String(), "did not list its tools") {
		t.Errorf("nobody was told: %s", log)
	}
	r.control("PUT", "/api/v1/servers/inward", admin, `{"url":"`+b.url+`","allow_private":true}`, 200, nil)
	if h := looked("inward").Health; h.Tools == 0 || h.Error != "" {
		t.Errorf("allowed it says %+v", h)
	}
}
