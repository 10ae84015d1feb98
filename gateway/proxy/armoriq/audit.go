package armoriq

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// maxRows bounds one batch of reports, as its clients do.
const maxRows = 200

// readAudit reads POST /iap/audit: what an agent says it did. The request is the record: it stands in the ledger with its
// arguments sealed, as every call does. It is the agent's word, and changes nothing.
func readAudit(r *request) error {
	if err := report(r.body, ""); err != nil {
		return err
	}
	r.own("audit/report", "report", func(context.Context) (any, error) { return map[string]any{"success": true}, nil })
	r.write = func(r *request) {
		r.encode(map[string]any{
			"success": true, "audit_id": r.c.Record, "iap_commitment": nil, "iap_sync_status": "recorded",
		})
	}
	return nil
}

// readAuditBatch reads POST /iap/audit/batch {rows}. Rows that are not well formed are named, and the others recorded.
func readAuditBatch(r *request) error {
	type failure struct {
		Index  int    `json:"index"`
		Reason string `json:"reason"`
	}
	var rows []byte
	if err := readObject(r.body, "", fields{"rows": value(&rows)}); err != nil {
		return err
	}
	if rows == nil {
		return malformed("/rows", "is needed")
	}
	failures, n := []failure{}, 0
	err := elements(rows, "/rows", maxRows, func(v []byte, at string) error {
		if err := report(v, at); err != nil {
			failures = append(failures, failure{n, pipelineText(err)})
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	r.own("audit/report", "report", func(context.Context) (any, error) { return map[string]any{"success": true}, nil })
	r.write = func(r *request) {
		r.encode(map[string]any{"success": true, "written": n - len(failures), "failures": failures, "audit_id": r.c.Record})
	}
	return nil
}

// report checks one row.
func report(raw []byte, at string) error {
	var status, skip string
	var step json.Number
	err := readObject(raw, at, fields{
		"status": text(&status, 32), "step_index": number(&step), "action": text(&skip, 1024), "tool": text(&skip, 1024),
		"mcp": text(&skip, 128), "plan_id": text(&skip, 256), "error_message": text(&skip, 8192), "executed_at": text(&skip, 64),
	})
	if err != nil {
		return err
	}
	switch status {
	case "", "success", "failed", "error", "blocked", "held":
	default:
		return malformed(at+"/status", "must be success, failed, error, blocked or held")
	}
	if step != "" {
		if n, err := strconv.Atoi(string(step)); err != nil || n < -1 {
			return malformed(at+"/step_index", "must be a whole number")
		}
	}
	return nil
}

func pipelineText(err error) string {
	if d, ok := err.(*pipeline.Denial); ok { //nolint:errorlint // as malformed gives it
		return d.Message
	}
	return "is not well formed"
}

// encode writes an answer that is made once the record's id is known.
func (r *request) encode(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		b = []byte(`{"success":true}`)
	}
	r.x.JSON(http.StatusOK, b)
}
