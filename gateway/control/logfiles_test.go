package control_test

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
)

// shelfOf reads a log in which each tenant but nobody has a checkpoint and one bundle.
func shelfOf(tenant, path string) ([]byte, error) {
	switch {
	case tenant == "nowhere":
		return nil, fs.ErrNotExist
	case path == "tile/0/000":
		return nil, errors.New("disk: secret place")
	case path == "checkpoint" || path == "tile/entries/000.p/2":
		return fmt.Appendf(nil, "%s of %s", path, tenant), nil
	}
	return nil, fmt.Errorf("%w: %s", fs.ErrNotExist, path)
}

func TestALogIsReadableByItsOwnOrganisationsKeysOnly(t *testing.T) {
	w := newWorld(t)
	for file, kind := range map[string]string{"checkpoint": "text/plain; charset=utf-8", "tile/entries/000.p/2": "application/octet-stream"} {
		a := w.call("GET", "/ledger/demo/gw-1/"+file, w.viewer, "")
		if a.status != http.StatusOK || a.body != file+" of demo" || a.header.Get("Content-Type") != kind || (a.header.Get("Cache-Control") == "no-store") != (file == "checkpoint") {
			t.Error(a.status, a.header, a.body)
		}
		if r := w.log.last(demo); r.Op != "get-log-file" || !strings.Contains(string(r.Body), file) {
			t.Errorf("who read %s is not on record: %s", file, r.Body)
		}
	}
	if a := w.call("GET", "/ledger/_checkpoints/gw-1/checkpoint", w.viewer, ""); a.status != http.StatusOK {
		t.Error("the log of checkpoints:", a.status, a.body)
	}
	for _, path := range []string{
		"/ledger/" + other + "/gw-1/checkpoint", "/ledger/demo/gw-2/checkpoint", "/ledger/_instance/gw-1/checkpoint", "/ledger/_wal/gw-1/boot",
		"/ledger/demo/gw-1/tile/entries/000", "/ledger/demo/gw-1", "/ledger/demo",
	} {
		w.call("GET", path, w.admin, "").refused(t, http.StatusNotFound, "not_found")
	}
	w.call("GET", "/ledger/demo/gw-1/checkpoint", w.runtime, "").refused(t, http.StatusForbidden, "wrong_key_kind")
	w.call("POST", "/ledger/demo/gw-1/checkpoint", w.admin, "").refused(t, http.StatusMethodNotAllowed, "method_not_allowed")
	if a := w.call("GET", "/ledger/demo/gw-1/tile/0/000", w.admin, ""); a.status != http.StatusInternalServerError || strings.Contains(a.body, "secret") {
		t.Error(a.status, a.body)
	}
}

func TestWhereNothingIsPublishedThereIsNoFile(t *testing.T) {
	w := newWorld(t)
	w.noFiles = true
	w.rebuild(w.log)
	w.call("GET", "/ledger/demo/gw-1/checkpoint", w.admin, "").refused(t, http.StatusNotFound, "not_found")
	w.call("GET", "/ledger/demo//checkpoint", w.admin, "").refused(t, http.StatusBadRequest, "path_invalid")
}

func TestARequestWithoutItsBodyIsToldWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	a := w.call("DELETE", "/api/v1/ledger/hold", w.admin, "")
	if a.status != http.StatusBadRequest || a.code() != "body_invalid" || !strings.Contains(a.body, "reason") {
		t.Error(a.status, a.body)
	}
}
