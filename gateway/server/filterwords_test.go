package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestATenantIsToldWhatBecomesOfItsFilters: by a push, a comparison, a deletion and a rollback, over the wire.
func TestATenantIsToldWhatBecomesOfItsFilters(t *testing.T) {
	t.Parallel()
	b := newBehind(t)
	o, out, log := options(t, b.serving)
	r := run(t, o, out, log)
	key := r.env["GATEWRIGHT_ADMIN_KEY"]
	pass, deny := `{"verdict":"pass"}`, `{"verdict":"deny","reason":"no"}`
	one := r.uploaded("guard", module(pass, ""))
	two := r.uploaded("guard", module(deny, ""))
	tell := func(method, path, body string, want int) string {
		t.Helper()
		return r.control(method, path, key, body, want, nil)
	}
	says := func(answer string, want ...string) {
		t.Helper()
		for _, text := range want {
			if !strings.Contains(answer, text) {
				t.Errorf("%s\nwant %s", answer, text)
			}
		}
	}
	first := r.revision(everything)
	r.activated(first, `"enforce"`)
	says(tell("POST", "/api/v1/filters/guard/versions/1/activate", `{}`, 200), `"before":{},"after":{"enforced":1}`)
	says(tell("POST", "/api/v1/filters/guard/versions/2/activate", `{}`, 200), `"before":{"enforced":1},"after":{"enforced":2},"rollback":1`)
	none, _ := json.Marshal(map[string]any{"files": map[string]string{"own.cedar": everything, "manifest.json": `{"format":1,"filters":[]}`}})
	leaves := `"filters":[{"name":"guard","mode":"enforce","before":{"version":2,"digest":"` + two + `"}}]`
	says(tell("POST", "/api/v1/policies/revisions", string(none), 201), leaves)
	mute, _ := json.Marshal(map[string]any{"files": map[string]string{"own.cedar": everything}})
	says(tell("POST", "/api/v1/policies/revisions", string(mute), 201), `"warnings":["it cannot be enforced as things are: its manifest.json says nothing of filters, and would take guard out of force`)
	says(tell("POST", "/api/v1/policies/diff", `{"new":`+string(none)+`,"generated":10}`, 200), leaves)

	var history struct {
		Items []struct{ Number uint64 }
	}
	r.control("GET", "/api/v1/policies/revisions", key, "", 200, &history)
	var naming []uint64
	for _, rev := range history.Items {
		if strings.Contains(tell("GET", fmt.Sprint("/api/v1/policies/revisions/", rev.Number), "", 200), one) {
			naming = append(naming, rev.Number)
		}
	}
	var gone struct {
		Digest    string
		Revisions []uint64
		Warnings  []string
	}
	r.control("DELETE", "/api/v1/filters/guard/versions/1", key, "", 200, &gone)
	if gone.Digest != one || !slices.Equal(gone.Revisions, naming) || len(naming) != 1 || len(gone.Warnings) != 1 || !strings.Contains(gone.Warnings[0], fmt.Sprintf("revision %d of the policies cannot be put in force or rolled back to", naming[0])) {
		t.Errorf("%+v, want %v", gone, naming)
	}
	r.control("DELETE", "/api/v1/filters/guard/versions/1", key, "", http.StatusNotFound, nil)
	says(tell("POST", "/api/v1/policies/rollback", "", 422), fmt.Sprintf("revision %d cannot be put in force again", naming[0]), "filter guard", one, fmt.Sprintf("`gatewright policy rollback %d` goes back to revision %d", first, first))
	says(tell("POST", "/api/v1/policies/rollback", `{"to":99}`, 409), "revision 99 was not enforced before")
	says(tell("POST", "/api/v1/policies/rollback", fmt.Sprintf(`{"to":%d}`, first), 200), fmt.Sprintf(`"number":%d,"state":"enforced"`, first), leaves)
}
