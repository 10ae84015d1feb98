package export

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
)

// Bounds of what is kept about an export while its records pass by.
const (
	// Rows is how many records a report shows one by one.
	Rows = 200
	// maxNames is how many different names one tally tells apart; what comes later counts as others.
	maxNames = 4096
)

// About is what an export says of itself, for a report.
type About struct {
	Origin, Tenant string
	Format         Format
	Filter         Filter
	By             Requester
	Now            time.Time
	Checkpoint     ledger.Checkpoint
	Signers        []string // key names
	Limit          int
	Kept           uint64 // index of the first record that was kept, when the filter asks for some before it

	Count           uint64
	First, Last     uint64 // indices; without meaning when Count is 0
	Earliest, Later int64  // unix microseconds of the first and the last record by time
	Kinds           Tally
	Verdicts        Tally
	Codes           Tally
	Outcomes        Tally
	Agents          Tally
	Users           Tally
	Tools           Tally
	Rows            []Row // the first ones
}

// Row is a record of the report's table. Its Body is left out.
type Row struct {
	Index  uint64
	Record ledger.Record
}

// Tally counts names. Others counts what came when there was no room for another name.
type Tally struct {
	Names  map[string]uint64
	Others uint64
}

// Count is a name and how often it occurred.
type Count struct {
	Name string
	N    uint64
}

func (t *Tally) add(name string) {
	if name == "" {
		return
	}
	if _, ok := t.Names[name]; !ok && len(t.Names) >= maxNames {
		t.Others++
		return
	}
	if t.Names == nil {
		t.Names = map[string]uint64{}
	}
	t.Names[name]++
}

// Top returns the n most frequent names, and how many occurrences of others there are.
func (t *Tally) Top(n int) (top []Count, rest uint64) {
	for _, name := range slices.Sorted(maps.Keys(t.Names)) {
		top = append(top, Count{name, t.Names[name]})
	}
	slices.SortStableFunc(top, func(a, b Count) int { return cmp.Compare(b.N, a.N) })
	rest = t.Others
	for len(top) > n {
		rest += top[len(top)-1].N
		top = top[:len(top)-1]
	}
	return top, rest
}

func newAbout(e *Export) About {
	a := About{
		Origin: e.checkpoint.Origin, Tenant: e.opt.Tenant, Format: e.opt.Format, Filter: e.opt.Filter, By: e.opt.By,
		Now: e.opt.Now, Checkpoint: e.checkpoint, Limit: e.opt.Limit,
	}
	for _, s := range e.opt.Signers {
		a.Signers = append(a.Signers, s.KeyName())
	}
	return a
}

func (a *About) add(index uint64, r *ledger.Record) {
	if a.Count == 0 {
		a.First, a.Earliest, a.Later = index, r.Time, r.Time
	}
	a.Count++
	a.Last, a.Earliest, a.Later = index, min(a.Earliest, r.Time), max(a.Later, r.Time)
	a.Kinds.add(r.Label())
	a.Verdicts.add(r.Verdict)
	a.Codes.add(r.Code)
	a.Outcomes.add(r.Outcome)
	a.Agents.add(r.Agent)
	a.Users.add(r.User)
	if r.Tool != "" {
		a.Tools.add(r.Server + "/" + r.Tool)
	}
	if len(a.Rows) < Rows {
		short := *r
		short.Body, short.Side = nil, nil
		a.Rows = append(a.Rows, Row{index, short})
	}
}
