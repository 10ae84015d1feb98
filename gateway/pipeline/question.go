package pipeline

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// appendAsk writes the whole question but its arguments, which stand in it as their salted digest, as canonical JSON. All
// that policy could read of the call is in it, the caller's own facts included, so that the same question can be asked
// again of any policies. What a call does not have is left out: readers take a missing member for that, and older records
// have fewer of them.
func (c *Call) appendAsk(b []byte, r *ledger.Record) []byte {
	a := &c.Ask
	b = appendText(append(b, `{"action":`...), a.Action)
	b = appendText(append(b, `,"addr":`...), r.Addr)
	b = appendText(append(b, `,"agent":`...), r.Agent)
	if a.Approved {
		b = strconv.AppendInt(append(b, `,"approval":`...), int64(a.Approvals), 10)
	}
	if a.Principal != nil {
		b = appendFacts(append(b, `,"facts":`...), a.Principal)
	}
	b = appendTexts(append(b, `,"labels":`...), a.Labels)
	if a.Local {
		b = append(b, `,"local":true`...)
	}
	b = strconv.AppendInt(append(b, `,"now":`...), a.Now.UnixMicro(), 10)
	if len(a.Overlays) > 0 {
		b = appendOverlays(append(b, `,"overlays":`...), a.Overlays)
	}
	if a.Plan.InPlan {
		b = appendPlan(append(b, `,"plan":`...), &a.Plan)
	}
	b = append(hex.AppendEncode(append(b, `,"principal":"`...), r.Snapshot[:]), '"')
	b = append(hex.AppendEncode(append(b, `,"request":"`...), r.Request[:]), '"')
	b = append(base64.RawURLEncoding.AppendEncode(append(b, `,"salt":"`...), c.Salt[:]), '"')
	if len(a.Scores) > 0 {
		b = appendScores(append(b, `,"scores":`...), a.Scores)
	}
	b = appendText(append(b, `,"server":`...), a.Server)
	if a.Session.Known {
		b = appendSession(append(b, `,"session":`...), &a.Session)
	}
	b = strconv.AppendBool(append(b, `,"tls":`...), a.TLS)
	b = appendText(append(b, `,"tool":`...), a.Tool)
	b = appendText(append(b, `,"user":`...), a.User)
	return append(b, '}')
}

func appendText(b []byte, s string) []byte { return canon.AppendString(b, s) }

func appendTexts(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = canon.AppendString(b, s)
	}
	return append(b, ']')
}

// appendFacts writes the caller as policy saw them; the digest in "principal" names the snapshot that they are from.
func appendFacts(b []byte, p *policies.Principal) []byte {
	b = appendText(append(b, `{"id":`...), p.ID)
	b = appendText(append(b, `,"kind":`...), p.Kind)
	b = appendTexts(append(b, `,"labels":`...), p.Labels)
	b = appendText(append(b, `,"owner":`...), p.Owner)
	b = appendTexts(append(b, `,"roles":`...), p.Roles)
	b = appendText(append(b, `,"status":`...), p.Status)
	b = appendTexts(append(b, `,"talks_to":`...), p.TalksTo)
	b = appendTexts(append(b, `,"teams":`...), p.Teams)
	b = appendText(append(b, `,"tenant":`...), p.Tenant)
	b = strconv.AppendInt(append(b, `,"trust":`...), p.Trust, 10)
	return append(b, '}')
}

func appendPlan(b []byte, p *policies.PlanFacts) []byte {
	b = strconv.AppendInt(append(b, `{"done":`...), int64(p.Done), 10)
	if !p.Expires.IsZero() {
		b = strconv.AppendInt(append(b, `,"expires":`...), p.Expires.Unix(), 10)
	}
	b = appendText(append(b, `,"id":`...), p.ID)
	b = appendText(append(b, `,"issued_under":`...), p.BundleAtIssue)
	b = strconv.AppendInt(append(b, `,"step":`...), int64(p.Step), 10)
	b = strconv.AppendInt(append(b, `,"steps":`...), int64(p.Steps), 10)
	return append(b, '}')
}

// appendScores writes an object: scores are sorted by name, and names are plain ASCII, so it is canonical.
func appendScores(b []byte, scores []policies.Score) []byte {
	b = append(b, '{')
	for i, s := range scores {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(append(appendText(b, s.Name), ':'), s.Value, 10)
	}
	return append(b, '}')
}

func appendSession(b []byte, s *policies.SessionFacts) []byte {
	b = strconv.AppendInt(append(b, `{"calls":`...), s.Calls, 10)
	b = appendTexts(append(b, `,"labels":`...), s.Labels)
	b = strconv.AppendInt(append(b, `,"this_tool":`...), s.ThisTool, 10)
	return append(b, '}')
}

// appendOverlays writes what narrowed the bundle, by digest, in order.
func appendOverlays(b []byte, overlays []*policies.Overlay) []byte {
	b = append(b, '[')
	for i, o := range overlays {
		if i > 0 {
			b = append(b, ',')
		}
		digest := o.Digest()
		b = append(hex.AppendEncode(append(b, '"'), digest[:]), '"')
	}
	return append(b, ']')
}
