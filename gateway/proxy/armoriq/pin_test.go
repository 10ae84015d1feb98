package armoriq_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/config"
)

// TestAToolInQuarantineIsNotThere: not in the catalogue, not in a plan, and blocked in what clients decide for themselves.
func TestAToolInQuarantineIsNotThere(t *testing.T) {
	t.Parallel()
	w := open(t, func(c *config.Config) { c.Catalogue.Pin = "approve" })
	a := w.agent(t, w.admin, "")
	if list := a.get(t, "/mcp/my-servers").ok(t); strings.Contains(list.body, "bank") {
		t.Errorf("a server all of whose tools wait is shown: %s", list)
	}
	a.get(t, "/mcp/tools/bank").refused(t, http.StatusNotFound, "not_found")
	if got := bundleOf(t, a); got.says("echo") != "block" || got.says("mail") != "block" {
		t.Errorf("a client may decide for itself: %+v", got)
	}
	var pin struct{ Digest string }
	w.manage(t, w.admin, "GET", "/api/v1/servers/bank/pins/echo", "", &pin)
	w.manage(t, w.admin, "POST", "/api/v1/servers/bank/pins/echo/approve", `{"digest":"`+pin.Digest+`"}`, nil)
	if tools := a.get(t, "/mcp/tools/bank").ok(t); !strings.Contains(tools.body, `"name":"echo"`) || strings.Contains(tools.body, `"name":"mail"`) {
		t.Errorf("after one was approved: %s", tools)
	}
	if got := bundleOf(t, a); got.says("echo") != "allow" || got.says("mail") != "block" {
		t.Errorf("after one was approved: %+v", got)
	}
}
