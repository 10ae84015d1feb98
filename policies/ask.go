package policies

import (
	"net/netip"
	"time"
)

// Principal is who asks, as the identity snapshot knows them. It is immutable: make one per snapshot and hand the same
// pointer to every Ask, because the engine keeps what it derives from a Principal keyed by the pointer.
type Principal struct {
	Kind    string   // "Agent" or "User"; any other kind is refused
	ID      string   // agt_... or usr_...
	Tenant  string   // the organisation the principal belongs to
	Owner   string   // for an agent, the user who answers for it
	Teams   []string // become parents
	Roles   []string // become parents
	Labels  []string
	TalksTo []string // servers the principal is confined to; empty means no confinement
	Trust   int64    // 0 to 1000
	Status  string   // "active", "pending", "suspended" or "revoked"
}

// ToolDef is a tool as the catalogue describes it: a plain value, so that neither side knows the other's types.
type ToolDef struct {
	Server      string
	Name        string
	Op          string // "call_tool" (the default when empty), "read_resource" or "get_prompt"
	InputSchema []byte // JSON Schema; what it cannot express in Cedar stays visible in an opaque form
	ReadOnly    bool
	Destructive bool
	Idempotent  bool
	OpenWorld   bool
	Sensitivity int64
	Labels      []string
}

// PlanFacts is what the intent stage proved about the signed plan this call belongs to. The zero value says: no plan.
type PlanFacts struct {
	InPlan        bool
	ID            string
	Step          int
	Steps         int
	Done          int
	Expires       time.Time
	BundleAtIssue string // digest of the bundle in force when the token was issued, hex
}

// Next tells whether the call is the next step in order: as many steps are done as stand before it.
func (p *PlanFacts) Next() bool { return p.InPlan && p.Step == p.Done }

// SessionFacts is what was counted of the session a call belongs to: its plan, or without one its agent within a rolling
// window. Those that are not Known refuse where a policy reads them.
type SessionFacts struct {
	Known    bool
	Calls    int64    // of work, before this one; those still in flight count
	ThisTool int64    // of these, of this tool
	Labels   []string // that filters put on them and on their results, sorted
}

// Score is how sure a filter is of something, from 0 to 1000.
type Score struct {
	Name  string // [a-z0-9_]{1,64}
	Value int64
}

// Ask is one question put to policy. It must not be changed between Decide and Covers.
type Ask struct {
	Principal *Principal
	User      string // the user on whose behalf the principal acts
	Action    string // call_tool, read_resource, get_prompt, list_tools, discover, invoke_model, ...
	Server    string
	Tool      string
	Args      []byte // a checked JSON object (merkle/canon.Check), or nil
	ArgsKnown bool   // false asks: could this be allowed for some arguments? Used to filter lists
	Plan      PlanFacts
	IP        netip.Addr
	TLS       bool
	Now       time.Time
	Labels    []string // put on the call by filters
	Scores    []Score  // given by filters, sorted by name, each name once
	Session   SessionFacts

	// Local says that the tool is of a server the gateway does not hold: the caller names it and runs it itself. It is
	// judged as call_tool on Tool::"SERVER/TOOL" with nothing known of it: not read-only, destructive, not idempotent,
	// open to the world, sensitivity 0, no labels, and an empty input for the bundle.
	Local bool
	// Approved says that people have approved exactly this call: policies with @hold that apply do not count.
	Approved bool
	// Approvals is how many people have, 0 unless Approved.
	Approvals int
	// Overlays narrow what the bundle allows, in this order for what Policies lists. A nil one refuses. What all of them
	// together may take is bounded: too many patterns for arguments of this size refuse, and Errors says so.
	Overlays []*Overlay
}
