package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/store"
)

// runsRow is what an agent says of its runs, the oldest first.
type runsRow struct {
	Runs []runRow `json:"runs"`
}

type runRow struct {
	ID     string `json:"id"`
	Report []byte `json:"report"` // canonical JSON
}

var runsTable = store.Table[runsRow]{Name: "usage_runs", Version: 1}

// maxReport bounds what is kept of one run, in bytes.
const maxReport = 4 << 10

// Run keeps the last report of one of the agent's runs over its history: a JSON object of the agent's own. applied is
// false when it says what was kept already. It returns the report as it stands, canonical.
func (r *Register) Run(ctx context.Context, who Who, id string, report []byte) (kept json.RawMessage, applied bool, err error) {
	if err := who.check(); err != nil {
		return nil, false, fmt.Errorf("report run: %w", err)
	}
	text, err := canon.AppendCanonical(nil, report, canon.Limits{Bytes: maxReport, Depth: 8, Values: 256})
	if err != nil || canon.KindOf(text) != '{' || !validUUID(id) {
		return nil, false, fmt.Errorf("report run: %w: want a UUID and a JSON object of at most %d bytes", ErrInvalid, maxReport)
	}
	id = strings.ToLower(id)
	err = r.store.Update(ctx, who.Tenant, func(tx store.Txn) error {
		row, err := readRuns(tx, who.Agent)
		if err != nil {
			return err
		}
		if applied = row.put(id, text, r.cfg.Runs); !applied {
			return nil
		}
		_, err = runsTable.Put(tx, who.Agent, row, store.AnyVersion)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("report run: keep: %w", err)
	}
	return text, applied, nil
}

// put makes a run the newest and tells whether that changed what is known of it.
func (r *runsRow) put(id string, text []byte, limit int) bool {
	for i, have := range r.Runs {
		if have.ID != id {
			continue
		}
		if bytes.Equal(have.Report, text) {
			return false
		}
		r.Runs = slices.Delete(r.Runs, i, i+1)
		break
	}
	r.Runs = append(r.Runs, runRow{id, text})
	r.Runs = r.Runs[max(0, len(r.Runs)-limit):]
	return true
}

func readRuns(tx store.Txn, agent string) (runsRow, error) {
	row, _, err := runsTable.Get(tx, agent)
	if errors.Is(err, store.ErrNotFound) {
		return runsRow{}, nil
	}
	return row, err
}
