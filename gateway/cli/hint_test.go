package cli_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestAStringOfDigitsHasAHint: the shell takes the quotes away that would make it one.
func TestAStringOfDigitsHasAHint(t *testing.T) {
	h := newHouse(t)
	h.data.HandleFunc("POST /api/v1/plans", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 422, `{"code":"invalid_plan","message":"at /steps/0/args: arguments break the tool's input schema: /id breaks type","hint":"correct them in the draft"}`)
	})
	if o := h.run(t, "plan", "--tool", "a/b", "--arg", "id=7"); o.code != 1 || !strings.Contains(o.errOut, `--arg 'NAME="7"'`) {
		t.Errorf("%+v", o)
	}
}

// TestAKeyThatIsNotTakenHasAHint: in development every start makes new ones.
func TestAKeyThatIsNotTakenHasAHint(t *testing.T) {
	h := newHouse(t)
	h.env["GATEWRIGHT_API_KEY"] = adminKey
	if o := h.run(t, "call", "a/b"); !strings.Contains(o.errOut, "hint: GATEWRIGHT_API_KEY") || !strings.Contains(o.errOut, "source demo.env again") {
		t.Errorf("%s", o.errOut)
	}
}
