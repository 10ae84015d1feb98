package policies

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/cedar-policy/cedar-go/types"

	"github.com/gatewright/gatewright/merkle/canon"
)

// facts is the part of an Ask that a context is made of, reduced to what the candidates read. Labels and arguments are not
// part of it.
type facts struct {
	fields field
	trust  int64
	user   string
	plan   PlanFacts
	next   bool // whether it is the next step of the plan
	ip     netip.Addr
	tls    bool
	now    int64 // ms since 1970
}

var (
	errNoAddress = errors.New("a policy reads the caller's address, which is unknown")
	errNoClock   = errors.New("a policy reads the time, which is unknown")
	errNoSession = errors.New("a policy reads the session, which is unknown")
)

// newFacts reduces an Ask. What a policy reads must be known.
func newFacts(a *Ask, fields field, trust int64) (facts, error) {
	f := facts{fields: fields}
	if fields&readTrust != 0 {
		f.trust = trust
	}
	if fields&readUser != 0 {
		f.user = a.User
	}
	if fields&readIP != 0 {
		if !a.IP.IsValid() {
			return f, errNoAddress
		}
		f.ip = a.IP.Unmap().WithZone("")
	}
	f.tls = fields&readTLS != 0 && a.TLS
	if fields&readNow != 0 {
		if a.Now.IsZero() {
			return f, errNoClock
		}
		f.now = a.Now.UnixMilli()
	}
	if fields&readPlan != 0 {
		f.plan = planRead(&a.Plan, fields)
		f.next = fields&readNext != 0 && a.Plan.Next()
	}
	if fields&readSession != 0 && fields != readAll && !a.Session.Known {
		return f, errNoSession
	}
	return f, nil
}

// planRead keeps what is read of the plan, in a form that compares equal when it is equal.
func planRead(p *PlanFacts, fields field) (out PlanFacts) {
	out.InPlan = fields&readInPlan != 0 && p.InPlan
	if fields&readPlanID != 0 {
		out.ID = p.ID
	}
	if fields&readStep != 0 {
		out.Step = p.Step
	}
	if fields&readSteps != 0 {
		out.Steps = p.Steps
	}
	if fields&readDone != 0 {
		out.Done = p.Done
	}
	if fields&readIssued != 0 {
		out.BundleAtIssue = p.BundleAtIssue
	}
	if fields&readExpires != 0 && !p.Expires.IsZero() {
		out.Expires = time.UnixMilli(p.Expires.UnixMilli()).UTC()
	}
	return out
}

// base gives the attributes every context may have.
func (f *facts) base(a *Ask) types.RecordMap {
	ctx := types.RecordMap{}
	put := func(bit field, into types.RecordMap, name types.String, v types.Value) {
		if f.fields&bit != 0 {
			into[name] = v
		}
	}
	put(readNow, ctx, "now", types.NewDatetimeFromMillis(f.now))
	put(readTrust, ctx, "trust", types.Long(f.trust))
	if f.user != "" {
		put(readUser, ctx, "onBehalfOf", types.NewEntityUID("User", types.String(f.user)))
	}
	if f.fields&readNet != 0 {
		net := types.RecordMap{}
		if f.ip.IsValid() {
			put(readIP, net, "ip", types.IPAddr(netip.PrefixFrom(f.ip, f.ip.BitLen())))
		}
		put(readTLS, net, "tls", types.Boolean(f.tls))
		ctx["net"] = types.NewRecord(net)
	}
	if f.fields&(readFilters|readSession|readApproval) != 0 {
		f.counted(ctx, a)
	}
	if f.fields&readPlan != 0 {
		plan := types.RecordMap{}
		put(readInPlan, plan, "inPlan", types.Boolean(f.plan.InPlan))
		put(readPlanID, plan, "id", types.String(f.plan.ID))
		put(readStep, plan, "step", types.Long(f.plan.Step))
		put(readSteps, plan, "steps", types.Long(f.plan.Steps))
		put(readDone, plan, "stepsDone", types.Long(f.plan.Done))
		put(readNext, plan, "next", types.Boolean(f.next))
		put(readIssued, plan, "bundleAtIssue", types.String(f.plan.BundleAtIssue))
		if f.fields&readExpires != 0 {
			plan["expires"] = expiry(f.plan.Expires)
		}
		ctx["plan"] = types.NewRecord(plan)
	}
	return ctx
}

// counted adds what changes with every call: what filters found, what quota has counted, what people approved.
func (f *facts) counted(ctx types.RecordMap, a *Ask) {
	bits := f.fields
	within := func(name types.String, all field, fill func(put func(bit field, name types.String, v types.Value))) {
		if bits&all == 0 {
			return
		}
		rec := types.RecordMap{}
		fill(func(bit field, name types.String, v types.Value) {
			if bits&bit != 0 {
				rec[name] = v
			}
		})
		ctx[name] = types.NewRecord(rec)
	}
	within("filters", readFilters, func(put func(field, types.String, types.Value)) {
		put(readLabels, "labels", stringSet(a.Labels))
		put(readScore, "score", highest(a.Scores))
		put(readScores, "scores", scoreRecord(a.Scores))
	})
	if !a.Session.Known {
		bits &^= readSession // read with everything else: only work has it
	}
	within("session", readSession, func(put func(field, types.String, types.Value)) {
		put(readCalls, "calls", types.Long(a.Session.Calls))
		put(readThisTool, "callsThisTool", types.Long(a.Session.ThisTool))
		put(readSeen, "labels", stringSet(a.Session.Labels))
	})
	within("approval", readApproval, func(put func(field, types.String, types.Value)) {
		put(readApproved, "approved", types.Boolean(a.Approved))
		put(readApprovals, "count", types.Long(a.Approvals))
	})
}

// highest is the highest score, 0 when no filter gave one.
func highest(scores []Score) (most types.Long) {
	for _, s := range scores {
		most = max(most, types.Long(s.Value))
	}
	return most
}

// scoreRecord shows every score by its name. A policy can only read those that its bundle's schema names.
func scoreRecord(scores []Score) types.Record {
	rec := types.RecordMap{}
	for _, s := range scores {
		rec[types.String(s.Name)] = types.Long(s.Value)
	}
	return types.NewRecord(rec)
}

// expiry shows a plan without an end as one that ended at the epoch.
func expiry(t time.Time) types.Datetime {
	if t.IsZero() {
		return types.NewDatetimeFromMillis(0)
	}
	return types.NewDatetimeFromMillis(t.UnixMilli())
}

// addInput adds what the candidates read of the arguments.
func addInput(ctx types.RecordMap, args []byte, s *shape, r reads) error {
	in := inputReader{shape: s, reads: r, input: types.RecordMap{}}
	if err := in.take(args); err != nil {
		return err
	}
	if r.fields&readInput != 0 {
		ctx["input"] = types.NewRecord(in.input)
	}
	if r.fields&readNulls != 0 {
		ctx["inputNulls"] = types.NewSet(in.reader.nulls...)
	}
	if r.fields&readUndeclared != 0 {
		return in.undeclared(ctx)
	}
	return nil
}

// inputReader walks the arguments of one call.
type inputReader struct {
	shape  *shape
	reads  reads
	reader reader
	input  types.RecordMap
	names  []types.Value
	left   int    // params still to come
	all    bool   // every member is looked at
	extra  []byte // the undeclared members, as they came, with commas between
}

// read takes the top-level arguments that somebody reads, and stops when it has them all: names come once in checked JSON.
func (in *inputReader) read(args []byte) error {
	c := canon.NewCursor(args)
	for more := c.Enter(); more && (in.left > 0 || in.all); more = c.More() {
		if err := in.member(c.Key(), c.Value()); err != nil {
			return err
		}
	}
	return nil
}

// member takes one top-level argument if somebody reads it.
func (in *inputReader) member(key, value []byte) error {
	m := in.shape.member(key)
	if m == nil {
		if in.reads.fields&readUndeclared != 0 {
			in.names = append(in.names, types.String(key))
			if in.extra != nil {
				in.extra = append(in.extra, ',')
			}
			in.extra = append(append(canon.AppendString(in.extra, string(key)), ':'), value...)
		}
		return nil
	}
	if !in.reads.wants(m.name) {
		return nil
	}
	in.left--
	in.reader.path = append(in.reader.path[:0], m.name)
	return in.reader.member(in.input, m, value)
}

// wants reports whether an argument is read. inputNulls needs them all.
func (r *reads) wants(name string) bool {
	if r.whole || r.fields&readNulls != 0 {
		return true
	}
	return slices.Contains(r.params, name)
}

func (in *inputReader) undeclared(ctx types.RecordMap) error {
	object := append(append([]byte{'{'}, in.extra...), '}')
	text, err := canon.AppendCanonical(nil, object, canon.DefaultLimits())
	if err != nil {
		return err
	}
	ctx["undeclared"] = types.NewRecord(types.RecordMap{
		"names": types.NewSet(in.names...),
		"text":  types.String(text),
	})
	return nil
}
