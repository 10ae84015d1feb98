package ledger

import (
	"crypto/rand"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// sample is a record of about 400 bytes as a leaf, as an admin's act leaves it: of a kind that opens nothing.
func sample(kind ledger.Kind) *ledger.Record {
	return &ledger.Record{
		Tenant: "acme", Kind: kind, Step: -1, Agent: "agt_one", User: "usr_one", Key: "key_one", Addr: "192.0.2.7",
		Route: "/mcp", Op: "tools/call", Server: "demo", Tool: "notes_add", Verdict: "permit",
		Request: merkle.LeafHash([]byte("request")), Instance: "bench", Boot: 1,
		Stages: []ledger.StageTime{{Name: "identify", Micros: 3}, {Name: "intent", Micros: 41}},
	}
}

// encode gives the record an id and a time and appends its bytes: what every subject does with a record before it keeps it.
func encode(r *ledger.Record, dst []byte) ([]byte, error) {
	now := time.Now()
	id, err := ledger.NewID(now, rand.Reader)
	if err != nil {
		return dst, err
	}
	r.ID, r.Time = id, now.UnixMicro()
	if err := r.Normalize(); err != nil {
		return dst, err
	}
	return r.AppendJSON(dst), nil
}
