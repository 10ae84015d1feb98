package gatewright

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// FoundRecord is one record of the organisation's ledger, with where it leads.
type FoundRecord struct {
	Index  uint64          `json:"index"`
	Leaf   string          `json:"leaf"`   // RFC 6962 leaf hash of Record's bytes, hex
	Sealed bool            `json:"sealed"` // sealed bytes lie beside it
	Record json.RawMessage `json:"record"` // byte for byte the leaf
	// Counterpart is what came of an admitted call or an intent, or the record that this one is about. It is nil when
	// there is none, when it was pruned, or when it lies too far away to look for.
	Counterpart *Counterpart `json:"counterpart,omitempty"`
	Open        bool         `json:"open,omitempty"` // an admitted call that has not been settled
}

// Counterpart names a record.
type Counterpart struct {
	ID    string `json:"id"`
	Index uint64 `json:"index"`
}

// Parse reads the record's members.
func (r *FoundRecord) Parse() (ledger.Record, error) { return ledger.ParseRecord(r.Record) }

// Record looks up one record by its index in decimals or by its id (rec_...), as answers and refusals name it. Its leaf
// hash and its id are compared with what was asked for; that it stands in the ledger is for receipts to prove.
func (a *Admin) Record(ctx context.Context, name string) (*FoundRecord, error) {
	out := &FoundRecord{}
	if err := a.get(ctx, "/api/v1/ledger/records/"+url.PathEscape(name), out); err != nil {
		return nil, err
	}
	r, err := out.Parse()
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	case merkle.LeafHash(out.Record).String() != out.Leaf:
		return nil, fmt.Errorf("%w: the leaf hash is not the record's", ErrAnswer)
	case ledger.ValidID(name) && r.ID != name:
		return nil, fmt.Errorf("%w: another record", ErrAnswer)
	}
	return out, nil
}
