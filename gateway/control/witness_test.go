package control_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle/ledger/witness"
)

// peers is a witness that notes what it is asked.
type peers struct {
	served []string
	asked  int
	err    error
}

func (p *peers) Serve(w http.ResponseWriter, r *http.Request, addr netip.Addr) {
	p.served = append(p.served, r.Method+" "+r.URL.Path+" from "+addr.String())
	fmt.Fprint(w, "witnessed")
}

func (p *peers) Standing() control.WitnessStanding {
	return control.WitnessStanding{
		Keys: []string{"gatewright.local/witness/main+00000000+BA=="}, Origin: "gatewright.local/ledger/_checkpoints/main", LogKeys: []string{"log+00000000+AA=="}, Logs: []witness.LogStatus{{Origin: "peer.example/log"}, {Origin: "bad.example/log", Err: errors.New("in /secret/place")}},
		Witnesses: []witness.Status{{Name: "corp", URL: "http://10.0.0.9:1", Key: "w+00000000+BA==", Size: 7, At: time.Unix(1_700_000_000, 0), Asked: time.Unix(1_700_000_001, 0), Err: fmt.Errorf("dial tcp 10.0.0.9:1: %w", syscall.ECONNREFUSED)}},
	}
}

func (p *peers) Cosign(context.Context) error { p.asked++; return p.err }

const witnesses = "/api/v1/ledger/witnesses"

func TestPeersNeedNoKeyAndComeNoFurther(t *testing.T) {
	w := newWorld(t)
	p := &peers{}
	w.witness = p
	w.rebuild(w.log)
	before := w.log.Size(demo) + w.log.Size("_instance")
	if a := w.call("POST", "/witness/add-checkpoint", "", ""); a.status != http.StatusOK || a.body != "witnessed" {
		t.Fatal(a.status, a.body)
	}
	if len(p.served) != 1 || !strings.HasPrefix(p.served[0], "POST /add-checkpoint from 1") {
		t.Fatal(p.served)
	}
	if n := w.log.Size(demo) + w.log.Size("_instance"); n != before {
		t.Error("a stranger's request wrote", n-before, "records")
	}
	for _, path := range []string{"/witness", "/witnessed/x", "/witness/../api/v1/whoami"} {
		if a := w.call("GET", path, "", ""); a.status == http.StatusOK {
			t.Error(path, a.status)
		}
	}
	req := w.request("POST", "/witness/add-checkpoint", "", "")
	req.Host = "rebound.example"
	w.do(req).refused(t, http.StatusMisdirectedRequest, "host_refused")
	if len(p.served) != 1 {
		t.Error(p.served)
	}
}

func TestWithoutAWitnessNothingIsWitnessed(t *testing.T) {
	w := newWorld(t)
	w.witness = nil
	w.rebuild(w.log)
	w.call("POST", "/witness/add-checkpoint", "", "").refused(t, http.StatusNotFound, "not_found")
	w.call("POST", witnesses+"/cosign", w.admin, "").refused(t, http.StatusConflict, "conflict")
	if a := w.call("GET", witnesses, w.admin, ""); a.status != http.StatusOK || strings.TrimSpace(a.body) != `{"keys":[],"logs":[],"witnesses":[]}` {
		t.Error(a.status, a.body)
	}
}

func TestAddressesOfWitnessesAreForOperators(t *testing.T) {
	w := newWorld(t)
	for key, operator := range map[string]bool{w.viewer: false, w.admin: false, w.operator: true} {
		a := w.call("GET", witnesses, key, "")
		if a.status != http.StatusOK || !strings.Contains(a.body, `"size":7`) || !strings.Contains(a.body, `"at":"2023-11-14T22:13:20Z"`) || !strings.Contains(a.body, `"log_keys":["log+00000000+AA=="]`) {
			t.Fatal(a.status, a.body)
		}
		if strings.Contains(a.body, "10.0.0.9") != operator || strings.Contains(a.body, "/secret/place") != operator || strings.Contains(a.body, "peer.example/log") != operator {
			t.Errorf("operator %v: %s", operator, a.body)
		}
		if !strings.Contains(a.body, "refused") {
			t.Errorf("operator %v is not told of what kind the failure is: %s", operator, a.body)
		}
	}
}

func TestAskingTheWitnessesIsRecorded(t *testing.T) {
	w := newWorld(t)
	p := &peers{}
	w.witness = p
	w.rebuild(w.log)
	w.call("POST", witnesses+"/cosign", w.viewer, "").refused(t, http.StatusForbidden, "role_denied")
	if a := w.call("POST", witnesses+"/cosign", w.admin, ""); a.status != http.StatusOK || p.asked != 1 {
		t.Fatal(a.status, a.body, p.asked)
	}
	p.err = errors.New("no checkpoint")
	w.call("POST", witnesses+"/cosign", w.admin, "").refused(t, http.StatusInternalServerError, "internal")
}
