package gatewright

import (
	"context"
	"net/http"
	"time"
)

// Witnesses is who cosigns the gateway's checkpoints, and whose it cosigns itself.
type Witnesses struct {
	Keys      []string        `json:"keys"`     // the gateway's own as a witness, C2SP verifier keys
	Origin    string          `json:"origin"`   // of the gateway's own log of checkpoints, for its witnesses
	LogKeys   []string        `json:"log_keys"` // that sign it, C2SP verifier keys
	Logs      []WitnessedLog  `json:"logs"`     // shown to the gateway's operators only
	Witnesses []LedgerWitness `json:"witnesses"`
}

// WitnessedLog is a log of others that the gateway witnesses.
type WitnessedLog struct {
	Origin string    `json:"origin"`
	Size   uint64    `json:"size"` // leaves of the newest checkpoint it cosigned; 0: none
	At     time.Time `json:"at,omitzero"`
	Error  string    `json:"error,omitempty"` // why the log is refused
}

// LedgerWitness is a witness of the gateway's ledger.
type LedgerWitness struct {
	Name  string    `json:"name"`
	URL   string    `json:"url,omitempty"` // shown to the gateway's operators only
	Key   string    `json:"key"`
	Size  uint64    `json:"size"` // leaves of the newest checkpoint it cosigned since the gateway's start; 0: none
	At    time.Time `json:"at,omitzero"`
	Asked time.Time `json:"asked,omitzero"`
	Error string    `json:"error,omitempty"` // why it did not cosign the last time
}

const witnessesPath = "/api/v1/ledger/witnesses"

// Witnesses tells how the gateway stands with its witnesses.
func (a *Admin) Witnesses(ctx context.Context) (*Witnesses, error) {
	out := &Witnesses{}
	return out, a.get(ctx, witnessesPath, out)
}

// CosignNow lets every witness be asked to cosign the next checkpoint, and returns once they were. One that refused or did
// not answer is no error: it is in the answer.
func (a *Admin) CosignNow(ctx context.Context) (*Witnesses, error) {
	out := &Witnesses{}
	return out, a.change(ctx, http.MethodPost, witnessesPath+"/cosign", nil, out)
}
