package control_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/approvals"
	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/gateway/identity"
)

// TestARefusalSaysInPlainWordsWhatIsWrongAndWhatToDo: nothing of how a part names its functions and kinds of errors.
func TestARefusalSaysInPlainWordsWhatIsWrongAndWhatToDo(t *testing.T) {
	w := newWorld(t)
	manager := w.byRole[identity.RoleManager]
	one := "/api/v1/approvals/" + w.ids[demo].approval
	two := "/api/v1/approvals/" + w.hold(demo, `{"amount":2000}`)
	proposal := "/api/v1/proposals/" + w.proposed(demo, "x")
	for _, path := range []string{one + "/approve", proposal + "/approve"} {
		if a := w.call("POST", path, w.admin, ""); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	for name, c := range map[string]struct{ method, path, key, body, detail, hint string }{
		"decided":  {"POST", one + "/approve", w.admin, "", "you have decided about this already", "somebody else has to decide; to take an approval back, reject it"},
		"enough":   {"POST", one + "/approve", manager, "", "as many people have approved this as it takes", "the agent may use it now; to stop it, reject it"},
		"member":   {"POST", one + "/approve", w.byRole[identity.RoleMember], "", "this takes the role manager", "ask somebody with a higher role or limit"},
		"amount":   {"POST", two + "/approve", manager, "", "the amount is 2000, and the role manager approves at most 1000", "ask somebody with a higher role or limit"},
		"proposal": {"POST", proposal + "/reject", w.admin, "{}", "the proposal is approved", "the agent may propose it again"},
		"name":     {"POST", "/api/v1/users", w.admin, `{"name":" x","role":"Member"}`, "name must be printable text without spaces around it", "compare the request with /openapi.json"},
		"secret":   {"PUT", "/api/v1/secrets/a", w.admin, `{"value":"` + strings.Repeat("é", 40<<10) + `"}`, "it must have 1 to 65536 bytes", "compare the request with /openapi.json"},
	} {
		a := w.call(c.method, c.path, c.key, c.body)
		if a.status < 400 || a.problem()["detail"] != c.detail || a.problem()["hint"] != c.hint {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

// alone is a register under which the agent's owner may not decide.
type alone struct{ control.Approvals }

func (alone) Decide(context.Context, approvals.Approver, string, bool, string) (approvals.View, error) {
	return approvals.View{}, approvals.ErrOwn
}

func TestTheOwnerIsToldToAskAnother(t *testing.T) {
	w := newWorld(t)
	var err error
	w.api, err = control.New(control.DefaultConfig(), control.Deps{
		Directory: w.directory, Catalogue: w.catalogue, Plans: w.plans, Approvals: alone{w.approvals}, Ledger: w.log, Bundles: w.bundles, Vault: w.vault,
		Now: w.clock.now, Rand: rand.Reader, Log: slog.New(slog.DiscardHandler),
	})
	w.must(err)
	a := w.call("POST", "/api/v1/approvals/"+w.ids[demo].approval+"/approve", w.admin, "")
	a.refused(t, http.StatusForbidden, "role_denied")
	if a.problem()["detail"] != "somebody other than the agent's owner and the user it acts for must decide" || a.problem()["hint"] != "ask another manager or admin" {
		t.Errorf("%s", a.body)
	}
}

func TestAnApprovalTakesAReasonAndCanBeTakenBack(t *testing.T) {
	w := newWorld(t)
	one := "/api/v1/approvals/" + w.ids[demo].approval
	manager := w.byRole[identity.RoleManager]
	w.call("POST", one+"/approve", manager, `{"why":"x"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("POST", one+"/approve", manager, `{"reason":"`+strings.Repeat("x", 257)+`"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	w.call("POST", one+"/approve", manager, `[]`).refused(t, http.StatusBadRequest, "body_invalid")
	a := w.call("POST", one+"/approve", manager, `{"reason":"seen it"}`)
	if a.status != http.StatusOK || a.json()["state"] != "approved" || !strings.Contains(a.body, `"reason":"seen it"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = w.call("POST", one+"/reject", manager, `{"reason":"changed my mind"}`)
	if a.status != http.StatusOK || a.json()["state"] != "rejected" || a.json()["given"] != 0.0 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestARoleIsReadInAnyCaseAndWrittenInOne(t *testing.T) {
	w := newWorld(t)
	for text, want := range map[string]string{"manager": "Manager", "VIEWER": "Viewer", "Admin": "Admin", "mEmBeR": "Member"} {
		a := w.call("POST", "/api/v1/users", w.admin, `{"name":"Ann","role":"`+text+`"}`)
		if a.status != http.StatusCreated || a.json()["role"] != want {
			t.Fatalf("%s: %d %s", text, a.status, a.body)
		}
		if last := w.log.last(demo); !strings.Contains(string(last.Body), `"role":"`+want+`"`) {
			t.Errorf("%s: recorded as %s", text, last.Body)
		}
		id, _ := a.json()["id"].(string)
		if a := w.call("PUT", "/api/v1/users/"+id+"/role", w.admin, `{"role":"member"}`); a.status != http.StatusOK || a.json()["role"] != "Member" {
			t.Errorf("%s: %d %s", text, a.status, a.body)
		}
	}
	a := w.call("POST", "/api/v1/users", w.admin, `{"name":"Ann","role":"root"}`)
	if a.refused(t, http.StatusUnprocessableEntity, "request_invalid"); !strings.Contains(a.body, "Admin, Manager, Member or Viewer") {
		t.Errorf("%s", a.body)
	}
}

func TestAPublicKeyIsReadInHexToo(t *testing.T) {
	w := newWorld(t)
	public, _, err := ed25519.GenerateKey(nil)
	w.must(err)
	shown := base64.RawURLEncoding.EncodeToString(public)
	for _, bad := range []string{hex.EncodeToString(public)[:63], hex.EncodeToString(public)[:62] + "zz", shown + shown[:21], shown[:42] + "="} {
		w.call("POST", "/api/v1/agents", w.admin, `{"name":"h","public_key":"`+bad+`"}`).refused(t, http.StatusUnprocessableEntity, "request_invalid")
	}
	a := w.call("POST", "/api/v1/agents", w.admin, `{"name":"h","public_key":"`+hex.EncodeToString(public)+`"}`)
	if a.status != http.StatusCreated || a.json()["public_key"] != shown {
		t.Errorf("%d %s", a.status, a.body)
	}
	w.call("PUT", "/api/v1/agents/"+w.agent+"/public-key", w.admin, `{"public_key":"`+shown+`"}`).refused(t, http.StatusConflict, "exists")
}
