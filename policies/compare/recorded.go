package compare

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
)

// Answers as reports name them.
const (
	Allow = "allow"
	Deny  = "deny"
	Hold  = "hold"
)

// RecordedAsk is a question that policy was asked, as the ledger keeps it, and what was answered. It is a plain value.
type RecordedAsk struct {
	Record string // id of the record
	Bundle string // digest of the bundle that answered, hex; "" when it is not known

	Principal   *policies.Principal // nil in records that keep only its digest: Options.Resolve is asked then
	Snapshot    string              // digest of the principal, hex
	Agent, User string

	Action, Server, Tool string
	Args                 []byte // a checked JSON object, or nil
	Request, Salt        string // the digest of the arguments and what it is salted with, as they stand in the question
	Plan                 policies.PlanFacts
	Session              policies.SessionFacts
	Labels               []string
	Scores               []policies.Score
	Addr                 netip.Addr
	TLS                  bool
	Time                 time.Time
	Local                bool
	Approvals            int  // how many people had approved the call
	Approved             bool // and whether they had
	Narrowed             bool // terms narrowed the bundle that are not in the record

	Verdict  string   // "allow", "deny" or "hold"; "" when policy did not have the last word
	Policies []string // that determined it
	Code     string   // of the refusal

	made bool // up: its example shows all of it
}

// Lost is why a record could not be replayed.
type Lost string

// Error implements error.
func (l Lost) Error() string { return string(l) }

// Reasons for which a record is not replayed.
const (
	LostErased    Lost = "its subject was erased"
	LostUnsealed  Lost = "it keeps only commitments: nothing is sealed beside it"
	LostClosed    Lost = "what is sealed beside it does not open"
	LostChanged   Lost = "what is sealed beside it is not what the record commits to"
	LostMalformed Lost = "what is sealed beside it is no question to policy"
	LostPrincipal Lost = "its caller is not known any more"
	LostTool      Lost = "its tool or server is gone"
)

// Ask is the question as an engine takes it. Its arguments are known.
func (r *RecordedAsk) Ask() policies.Ask {
	return policies.Ask{
		Principal: r.Principal, User: r.User, Action: r.Action, Server: r.Server, Tool: r.Tool, Args: r.Args, ArgsKnown: true,
		Plan: r.Plan, IP: r.Addr, TLS: r.TLS, Now: r.Time, Labels: r.Labels, Scores: r.Scores, Session: r.Session,
		Local: r.Local, Approved: r.Approved, Approvals: r.Approvals,
	}
}

// ParseAsk reads a question as gateway/pipeline seals it beside a record, canonical JSON, with the call's arguments. Members
// it does not know are passed over, so that newer records can be read; those that are missing in older ones stay zero.
func ParseAsk(ask, args []byte) (RecordedAsk, error) { return new(Parser).Parse(ask, args) }

// Parser reads many questions. It gives equal principals the same pointer, by which engines remember them. The zero value
// is ready; it is not for use by several goroutines.
type Parser struct {
	// Scratch is for who implements Batch: what its Read keeps here, the same goroutine's next Read finds again.
	Scratch any

	principals map[string]*policies.Principal // by their JSON
	words      map[string]string              // names that are likely to come again
}

// Bounds of what a Parser remembers: principals, words, and the bytes of a word.
const (
	maxPrincipals = 1 << 16
	maxWords      = 1 << 12
	maxWord       = 64
)

// Parse is ParseAsk. What it returns keeps args and nothing of ask.
func (p *Parser) Parse(ask, args []byte) (r RecordedAsk, err error) {
	if err := canon.Check(ask, askLimits); err != nil {
		return r, fmt.Errorf("parse a recorded question: %w", err)
	}
	if len(args) > 0 {
		r.Args = args
	}
	in := walker{}
	in.object(ask, func(key string, value []byte) { p.member(&in, &r, key, value) })
	switch {
	case in.err != nil:
		return r, fmt.Errorf("parse a recorded question: %w", in.err)
	case r.Action == "":
		return r, errors.New("parse a recorded question: no action")
	}
	return r, nil
}

// askLimits bound a question: its arguments are not part of it.
var askLimits = canon.Limits{Bytes: 1 << 20, Depth: 16, Values: 1 << 16}

func (p *Parser) member(in *walker, r *RecordedAsk, key string, value []byte) {
	switch key {
	case "action":
		r.Action = p.word(in, value)
	case "addr":
		if s := in.text(value); s != "" {
			addr, err := netip.ParseAddr(s)
			in.fail(err)
			r.Addr = addr
		}
	case "agent":
		r.Agent = p.word(in, value)
	case "approval":
		r.approval(in, value)
	case "facts":
		r.Principal = p.principal(in, value)
	case "labels":
		r.Labels = in.texts(value)
	case "local":
		r.Local = in.flag(value)
	case "now":
		r.Time = time.UnixMicro(in.number(value)).UTC()
	case "overlays":
		r.Narrowed = len(in.texts(value)) > 0
	case "plan":
		r.plan(in, value)
	case "principal":
		r.Snapshot = p.word(in, value)
	case "request":
		r.Request = in.text(value)
	case "salt":
		r.Salt = in.text(value)
	case "scores":
		in.object(value, func(name string, v []byte) {
			r.Scores = append(r.Scores, policies.Score{Name: name, Value: in.number(v)})
		})
	case "server":
		r.Server = p.word(in, value)
	case "session":
		r.session(in, value)
	case "tls":
		r.TLS = in.flag(value)
	case "tool":
		r.Tool = p.word(in, value)
	case "user":
		r.User = p.word(in, value)
	}
}

// word is text that is made once as long as it comes again.
func (p *Parser) word(in *walker, value []byte) string {
	n := len(value)
	if n < 2 || n > maxWord+2 || value[0] != '"' {
		return in.text(value)
	}
	if w, ok := p.words[string(value)]; ok {
		return w
	}
	w := in.text(value)
	if in.err != nil {
		return w
	}
	if p.words == nil || len(p.words) >= maxWords {
		p.words = map[string]string{}
	}
	p.words[string(value)] = w
	return w
}

func (r *RecordedAsk) plan(in *walker, value []byte) {
	r.Plan.InPlan = true
	in.object(value, func(key string, v []byte) {
		switch key {
		case "done":
			r.Plan.Done = int(in.number(v))
		case "expires":
			r.Plan.Expires = time.Unix(in.number(v), 0)
		case "id":
			r.Plan.ID = in.text(v)
		case "issued_under":
			r.Plan.BundleAtIssue = in.text(v)
		case "step":
			r.Plan.Step = int(in.number(v))
		case "steps":
			r.Plan.Steps = int(in.number(v))
		}
	})
}

func (r *RecordedAsk) session(in *walker, value []byte) {
	r.Session.Known = true
	in.object(value, func(key string, v []byte) {
		switch key {
		case "calls":
			r.Session.Calls = in.number(v)
		case "this_tool":
			r.Session.ThisTool = in.number(v)
		case "labels":
			r.Session.Labels = in.texts(v)
		}
	})
}

// approval is how many people approved the call, a number.
func (r *RecordedAsk) approval(in *walker, value []byte) {
	r.Approved, r.Approvals = true, int(in.number(value))
}

// principal reads who asked, or finds whom it has read before.
func (p *Parser) principal(in *walker, value []byte) *policies.Principal {
	if who := p.principals[string(value)]; who != nil {
		return who
	}
	who := &policies.Principal{}
	in.object(value, func(key string, v []byte) {
		switch key {
		case "kind":
			who.Kind = in.text(v)
		case "id":
			who.ID = in.text(v)
		case "tenant":
			who.Tenant = in.text(v)
		case "owner":
			who.Owner = in.text(v)
		case "teams":
			who.Teams = in.texts(v)
		case "roles":
			who.Roles = in.texts(v)
		case "labels":
			who.Labels = in.texts(v)
		case "talks_to":
			who.TalksTo = in.texts(v)
		case "trust":
			who.Trust = in.number(v)
		case "status":
			who.Status = in.text(v)
		}
	})
	if p.principals == nil || len(p.principals) >= maxPrincipals {
		p.principals = map[string]*policies.Principal{}
	}
	p.principals[string(value)] = who
	return who
}

// walker reads checked JSON of an expected shape and keeps the first thing that is not of it.
type walker struct{ err error }

func (w *walker) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *walker) object(doc []byte, fn func(key string, value []byte)) {
	if canon.KindOf(doc) != '{' {
		w.fail(errors.New("not an object where one is due"))
		return
	}
	c := canon.NewCursor(doc)
	for more := c.Enter(); more; more = c.More() {
		key := string(c.Key())
		fn(key, c.Value())
	}
}

func (w *walker) text(value []byte) string {
	if n := len(value); n >= 2 && value[0] == '"' && !slices.Contains(value[1:n-1], '\\') {
		return string(value[1 : n-1])
	}
	s, err := canon.Unquote(value)
	w.fail(err)
	return s
}

func (w *walker) texts(value []byte) (out []string) {
	if canon.KindOf(value) != '[' {
		w.fail(errors.New("not a list where one is due"))
		return nil
	}
	c := canon.NewCursor(value)
	for more := c.Enter(); more; more = c.More() {
		out = append(out, w.text(c.Value()))
	}
	return out
}

func (w *walker) number(value []byte) int64 {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		w.fail(fmt.Errorf("%.40q is not a whole number", value))
	}
	return n
}

func (w *walker) flag(value []byte) bool {
	b, err := strconv.ParseBool(string(value))
	w.fail(err)
	return b
}
