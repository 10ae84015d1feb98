package control_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/gateway/identity"
)

func TestABundleMayBeLargerThanOtherBodies(t *testing.T) {
	w := newWorld(t)
	files := map[string]string{}
	for i := range 5_000 / 2 {
		files[fmt.Sprintf("p%d.cedar", i)] = fmt.Sprintf("// %s\n@id(\"p%d\") permit (principal, action, resource);", strings.Repeat("x", 400), i)
	}
	if a := w.call("POST", revisionsPath, w.admin, pushAll(files)); a.status != http.StatusCreated {
		t.Errorf("%d %.300s", a.status, a.body)
	}
	large := `{"files":{"p.cedar":"` + strings.Repeat("x", 300<<10) + `"}}`
	w.call("POST", "/api/v1/policies/diff", w.admin, `{"new":`+large+`}`).refused(t, http.StatusUnprocessableEntity, "bundle_refused")
	for path, body := range map[string]string{"/api/v1/policies/revisions": strings.Repeat("x", 33<<20), "/api/v1/users": large} {
		a := w.call("POST", path, w.admin, body)
		if a.refused(t, http.StatusRequestEntityTooLarge, "body_too_large"); !strings.Contains(a.body, `"hint"`) {
			t.Errorf("%s: no hint: %s", path, a.body)
		}
	}
}

func TestOnlyAdminsReadWhatTheAlarmIsAbout(t *testing.T) {
	w := newWorld(t)
	w.revisions.Alarmed(demo, "open /srv/operator/policies: no such file")
	defer w.revisions.Alarmed(demo, "")
	for role, key := range map[identity.Role]string{identity.RoleAdmin: w.admin, identity.RoleManager: w.byRole[identity.RoleManager], identity.RoleViewer: w.byRole[identity.RoleViewer]} {
		a := w.call("GET", "/api/v1/bundles/current", key, "")
		if a.status != 200 || strings.Contains(a.body, "/srv/operator") != (role == identity.RoleAdmin) || !strings.Contains(a.body, `"alarm"`) {
			t.Errorf("%s: %d %s", role, a.status, a.body)
		}
		w.bundles.none = true
		a = w.call("GET", "/api/v1/bundles/current", key, "")
		w.bundles.none = false
		if a.refused(t, http.StatusNotFound, "not_found"); strings.Contains(a.body, "/srv/operator") != (role == identity.RoleAdmin) || !strings.Contains(a.body, "everything is refused") {
			t.Errorf("%s, with nothing in force: %s", role, a.body)
		}
	}
}
