package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Pin is what is decided about one tool's definition. Only an approved tool is called and shown to agents.
type Pin struct {
	Server   string   `json:"server"`
	Tool     string   `json:"tool"`
	State    string   `json:"state"`              // approved, new, changed, rejected
	Listed   bool     `json:"listed"`             // by its server, now
	Digest   string   `json:"digest,omitempty"`   // of the listed definition, SHA-256 in hex
	Approved string   `json:"approved,omitempty"` // of the approved one
	Findings []string `json:"findings"`           // what a person must know before approving it
	Unusable string   `json:"unusable,omitempty"` // why it could not be called even when approved

	// The rest is in the answers about one tool alone.

	Differences []PinDifference `json:"differences,omitempty"` // from the approved definition to the listed one
	Kept        []string        `json:"kept,omitempty"`        // digests to roll back to, the last approved first
	History     []PinDecision   `json:"history,omitempty"`     // oldest first
}

// Waits says whether somebody should decide about it.
func (p *Pin) Waits() bool { return p.Listed && (p.State == "new" || p.State == "changed") }

// PinDifference is how one member of a definition differs. The text is the server's own, made visible.
type PinDifference struct {
	Member string `json:"member"`
	Change string `json:"change"` // added, removed, changed
	Text   string `json:"text"`
}

// PinDecision is one decision about a definition. First use is the word of the configuration: nobody's.
type PinDecision struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action"` // approve, reject, rollback, first_use
	User    string    `json:"user,omitempty"`
	Key     string    `json:"key,omitempty"`
	From    string    `json:"from,omitempty"`
	To      string    `json:"to"`
	Despite string    `json:"despite,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// Pins lists the pins of a server's tools, without differences and history.
func (a *Admin) Pins(ctx context.Context, server string) ([]Pin, error) {
	return listAll[Pin](ctx, a.end, "/api/v1/servers/"+url.PathEscape(server)+"/pins")
}

func pinPath(server, tool string) string {
	return "/api/v1/servers/" + url.PathEscape(server) + "/pins/" + url.PathEscape(tool)
}

// Pin returns one tool's pin. With a digest of an approved definition as against, the differences lead from that one to the
// approved one.
func (a *Admin) Pin(ctx context.Context, server, tool, against string) (*Pin, error) {
	path := pinPath(server, tool)
	if against != "" {
		path += "?" + url.Values{"against": {against}}.Encode()
	}
	out := &Pin{}
	return out, a.get(ctx, path, out)
}

// ApprovePin approves the definition of that digest, which the server must still list. despite approves one with findings.
func (a *Admin) ApprovePin(ctx context.Context, server, tool, digest, reason string, despite bool) (*Pin, error) {
	return a.decidePin(ctx, pinPath(server, tool)+"/approve", map[string]any{"digest": digest, "reason": reason, "despite_findings": despite})
}

// RejectPin rejects the definition of that digest, or takes its approval back.
func (a *Admin) RejectPin(ctx context.Context, server, tool, digest, reason string) (*Pin, error) {
	return a.decidePin(ctx, pinPath(server, tool)+"/reject", map[string]any{"digest": digest, "reason": reason})
}

// RollBackPin approves an earlier definition again, by its digest among those kept.
func (a *Admin) RollBackPin(ctx context.Context, server, tool, digest, reason string) (*Pin, error) {
	return a.decidePin(ctx, pinPath(server, tool)+"/rollback", map[string]any{"digest": digest, "reason": reason})
}

func (a *Admin) decidePin(ctx context.Context, path string, body map[string]any) (*Pin, error) {
	if body["reason"] == "" {
		delete(body, "reason")
	}
	out := &Pin{}
	return out, a.change(ctx, http.MethodPost, path, body, out)
}
