package control

import (
	"context"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/catalogue/pins"
	"github.com/gatewright/gatewright/merkle"
)

// ToolPins are what people decide about tool definitions. A decision is durable and in force when DecidePin returns nil.
type ToolPins interface {
	Pins(tenant, server string) ([]catalogue.Pin, bool)
	Pin(ctx context.Context, tenant, server, tool string, against merkle.Hash) (*catalogue.PinDetail, error)
	DecidePin(ctx context.Context, tenant, server, tool string, d catalogue.PinDecision) error
}

// pin is what is known of one tool's definition.
type pin struct {
	Server   string   `json:"server"`
	Tool     string   `json:"tool"`
	State    string   `json:"state" enum:"approved,new,changed,rejected" doc:"only an approved tool is called and shown to agents; a new or changed one waits for a decision"`
	Listed   bool     `json:"listed" doc:"the server lists the tool now"`
	Digest   string   `json:"digest,omitempty" doc:"SHA-256 of the listed definition's pinned members, hex: name what you decide about with it"`
	Approved string   `json:"approved,omitempty" doc:"that of the approved definition"`
	Findings []string `json:"findings" nullable:"false" doc:"what a person must know before approving it"`
	Unusable string   `json:"unusable,omitempty" doc:"why the tool could not be called even when approved"`
}

// pinDetail is a pin with all that is kept of it.
type pinDetail struct {
	pin
	Differences []difference  `json:"differences" nullable:"false" doc:"from the approved definition to the listed one; with against, from that one to the approved one"`
	Kept        []string      `json:"kept" nullable:"false" doc:"digests to roll back to, the last approved first"`
	History     []pinDecision `json:"history" nullable:"false" doc:"the last decisions, oldest first; the ledger has all"`
}

type difference struct {
	Member string `json:"member"`
	Change string `json:"change" enum:"added,removed,changed"`
	Text   string `json:"text" doc:"line by line: two blanks before what stays, '- ' before what went, '+ ' before what came; what does not show is written as \\u{...}. The server's words, not to be trusted"`
}

type pinDecision struct {
	Time    time.Time `json:"time"`
	Action  string    `json:"action" enum:"approve,reject,rollback,first_use"`
	User    string    `json:"user,omitempty" doc:"absent when the configuration decided: first_use"`
	Key     string    `json:"key,omitempty"`
	From    string    `json:"from,omitempty" doc:"digest approved before"`
	To      string    `json:"to" doc:"digest decided about"`
	Despite string    `json:"despite,omitempty" doc:"findings it was approved in spite of"`
	Reason  string    `json:"reason,omitempty"`
}

type pinOut struct{ Body pinDetail }

type listPinsIn struct {
	Name   string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" doc:"how many rows at most; the server may answer fewer"`
	Cursor string `query:"cursor" maxLength:"512" doc:"the next of the page before"`
	State  string `query:"state" enum:"approved,new,changed,rejected"`
}

// PinPath names a tool. It is exported because huma passes over embedded types that are not.
type PinPath struct {
	Name string `path:"name" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63"`
	Tool string `path:"tool" pattern:"^[A-Za-z0-9_.-]{1,128}$" maxLength:"128"`
}

type getPinIn struct {
	PinPath
	Against string `query:"against" pattern:"^[0-9a-f]{64}$" maxLength:"64" doc:"digest of an approved definition that is kept"`
}

type decidePinIn struct {
	PinPath
	Body struct {
		Digest string `json:"digest" pattern:"^[0-9a-f]{64}$" maxLength:"64" doc:"of the definition that is decided about: one that was replaced meanwhile is a conflict"`
		Reason string `json:"reason,omitempty" maxLength:"256" doc:"stands in the tool's history for as long as its server is there: no personal data"`
	}
}

type approvePinIn struct {
	PinPath
	Body struct {
		Digest  string `json:"digest" pattern:"^[0-9a-f]{64}$" maxLength:"64" doc:"of the definition that is decided about: one that was replaced meanwhile is a conflict"`
		Despite bool   `json:"despite_findings,omitempty" doc:"approve it though it has findings"`
		Reason  string `json:"reason,omitempty" maxLength:"256" doc:"stands in the tool's history for as long as its server is there: no personal data"`
	}
}

func (m *mounting) pins() {
	all := m.api.deps.Catalogue
	handle(m, "list-pins", func(_ context.Context, c *call, in *listPinsIn) (*paged[pin], error) {
		rows, ok := all.Pins(c.caller.Tenant(), in.Name)
		if !ok {
			return nil, notFound()
		}
		kept := rows[:0]
		for i := range rows {
			if in.State == "" || string(rows[i].State) == in.State {
				kept = append(kept, rows[i])
			}
		}
		return paginate(c, listing{in.Limit, in.Cursor}, kept, func(p *catalogue.Pin) string { return p.Tool + " " + p.Digest.String() }, shapePin)
	})
	handle(m, "get-pin", func(ctx context.Context, c *call, in *getPinIn) (*pinOut, error) {
		against, err := digestOf(in.Against)
		if err != nil {
			return nil, err
		}
		return m.api.readPin(ctx, c, in.PinPath, against)
	})
	handle(m, "approve-pin", func(ctx context.Context, c *call, in *approvePinIn) (*pinOut, error) {
		return m.api.decidePin(ctx, c, in.PinPath, pins.Approve, in.Body.Digest, in.Body.Reason, in.Body.Despite)
	})
	handle(m, "reject-pin", func(ctx context.Context, c *call, in *decidePinIn) (*pinOut, error) {
		return m.api.decidePin(ctx, c, in.PinPath, pins.Reject, in.Body.Digest, in.Body.Reason, false)
	})
	handle(m, "roll-back-pin", func(ctx context.Context, c *call, in *decidePinIn) (*pinOut, error) {
		return m.api.decidePin(ctx, c, in.PinPath, pins.RollBack, in.Body.Digest, in.Body.Reason, false)
	})
}

// digestOf reads a digest; "" is none.
func digestOf(text string) (merkle.Hash, error) {
	if text == "" {
		return merkle.Hash{}, nil
	}
	h, err := merkle.ParseHash(text)
	if err != nil {
		return h, refuse(http.StatusUnprocessableEntity, "request_invalid", "the digest is not 64 digits of lower-case hex", "take it from the tool's pin")
	}
	return h, nil
}

func (a *API) decidePin(ctx context.Context, c *call, at PinPath, action, digest, reason string, despite bool) (*pinOut, error) {
	c.target = at.Name + "/" + at.Tool
	c.note("digest", digest)
	h, err := digestOf(digest)
	if err != nil {
		return nil, err
	}
	err = a.deps.Catalogue.DecidePin(ctx, c.caller.Tenant(), at.Name, at.Tool, catalogue.PinDecision{
		Action: action, Digest: h, Despite: despite, User: c.caller.User(), Key: c.caller.KeyID(), Reason: reason,
	})
	if err != nil {
		return nil, err
	}
	out, err := a.readPin(ctx, c, at, merkle.Hash{})
	if err == nil {
		c.note("approved", out.Body.Approved)
	}
	return out, err
}

func (a *API) readPin(ctx context.Context, c *call, at PinPath, against merkle.Hash) (*pinOut, error) {
	d, err := a.deps.Catalogue.Pin(ctx, c.caller.Tenant(), at.Name, at.Tool, against)
	if err != nil {
		return nil, err
	}
	out := &pinOut{Body: pinDetail{pin: shapePin(&d.Pin), Differences: []difference{}, Kept: []string{}, History: []pinDecision{}}}
	for _, v := range d.Differences {
		out.Body.Differences = append(out.Body.Differences, difference(v))
	}
	for _, h := range d.Kept {
		out.Body.Kept = append(out.Body.Kept, h.String())
	}
	for i := range d.History {
		e := &d.History[i]
		out.Body.History = append(out.Body.History, pinDecision{e.Time, e.Action, e.User, e.Key, hexOf(e.From), e.To.String(), e.Despite, e.Reason})
	}
	return out, nil
}

// hexOf writes a digest, "" for none.
func hexOf(h merkle.Hash) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

func shapePin(p *catalogue.Pin) pin {
	return pin{
		Server: p.Server, Tool: p.Tool, State: string(p.State), Listed: p.Listed, Digest: hexOf(p.Digest), Approved: hexOf(p.Approved),
		Findings: strs(p.Findings), Unusable: clip(p.Unusable, clipText),
	}
}
