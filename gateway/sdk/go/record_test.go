package gatewright_test

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

const recordID = "rec_06f4k3m1v8q2c7x9z5n0b2w4ht"

func TestARecordThatIsNotTheOneAskedForIsNoAnswer(t *testing.T) {
	leaf := (&ledger.Record{ID: recordID, Time: 1, Tenant: "demo", Kind: ledger.Settled, Step: -1}).AppendJSON(nil)
	hash := merkle.LeafHash(leaf).String()
	for name, body := range map[string]string{
		"no record":         `{"index":1,"leaf":"` + hash + `"}`,
		"not a record":      `{"index":1,"leaf":"` + hash + `","record":{}}`,
		"another leaf hash": fmt.Sprintf(`{"index":1,"leaf":%q,"record":%s}`, merkle.LeafHash(nil).String(), leaf),
		"bytes that differ": fmt.Sprintf(`{"index":1,"leaf":%q,"record": {"x":1,%s}`, hash, leaf[1:]),
		"not JSON":          `<html>`,
	} {
		g := newGateway(t)
		g.on("GET /api/v1/ledger/records/{record}", 200, body)
		if r, err := g.admin(t).Record(t.Context(), recordID); !errors.Is(err, gatewright.ErrAnswer) || r != nil {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	g := newGateway(t)
	g.on("GET /api/v1/ledger/records/{record}", 200, fmt.Sprintf(`{"index":1,"leaf":%q,"record":%s}`, hash, leaf))
	if r, err := g.admin(t).Record(t.Context(), "rec_00000000000000000000000000"); !errors.Is(err, gatewright.ErrAnswer) || r != nil {
		t.Errorf("another id: %+v %v", r, err)
	}
	g = newGateway(t)
	g.on("GET /api/v1/ledger/records/{record}", 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
	_, err := g.admin(t).Record(t.Context(), recordID)
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "not_found" || e.Status != 404 {
		t.Errorf("%v", err)
	}
}

func TestARecordIsLookedUpByIdAndByIndex(t *testing.T) {
	leaf := (&ledger.Record{ID: recordID, Time: 1, Tenant: "demo", Kind: ledger.Settled, Step: -1, Detail: "a<b & \u2028"}).AppendJSON(nil)
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.RequestURI())
		answer(w, 200, fmt.Sprintf(`{"index":7,"leaf":%q,"sealed":true,"record":%s,"counterpart":{"id":"rec_1","index":3},"open":true,"newer":1}`, merkle.LeafHash(leaf).String(), leaf))
	})
	want := gatewright.FoundRecord{
		Index: 7, Leaf: merkle.LeafHash(leaf).String(), Sealed: true, Record: leaf, Counterpart: &gatewright.Counterpart{ID: "rec_1", Index: 3}, Open: true,
	}
	for _, name := range []string{recordID, "7", "a/../b"} {
		if r, err := g.admin(t).Record(t.Context(), name); err != nil || !reflect.DeepEqual(*r, want) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
	if got := fmt.Sprint(seen); got != "[GET /api/v1/ledger/records/"+recordID+" GET /api/v1/ledger/records/7 GET /api/v1/ledger/records/a%2F..%2Fb]" {
		t.Error(got)
	}
}
