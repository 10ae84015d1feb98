package policies

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/types"
)

// Rate is what @rate("10/1h") says of a policy: how many calls it lets pass in any such span of time. A permit with a rate
// permits as many and is then as if it were not there. A forbid with a rate forbids what goes beyond it, whoever permits.
// @rate_by("tool") counts each tool of a caller for itself, @rate_by("tenant") all callers of the tenant together; without
// it a caller's calls are counted together. What is counted is kept by the caller of this package.
type Rate struct {
	Policy string // as Decision.Policies names it
	ID     string // the policy's id, which outlives a change of its place
	Max    int64  // calls, from 1 to a million
	Per    time.Duration
	By     string // "principal", "tool" or "tenant"
	Cap    bool   // of a forbid: it has to have room; of permits with rates one has to
}

// Bounds of a rate.
const (
	maxRate     = 1_000_000
	maxRateSpan = 31 * 24 * time.Hour
)

// takeRate reads the annotations of a rate. What they say must be right: a slip would let pass what was to be bounded.
func (r *rule) takeRate() (problems Problems) {
	notes := r.annotations()
	text, has := notes["rate"]
	by, named := notes["rate_by"]
	refuse := func(word, msg, hint string) { problems = append(problems, r.problem(word, msg, hint)) }
	if !has {
		if named {
			refuse("@rate_by", "@rate_by without @rate", `add @rate("10/1h")`)
		}
		return problems
	}
	rate := Rate{Policy: r.label, ID: r.id, By: by, Cap: r.forbid}
	if !named {
		rate.By = "principal"
	}
	var ok bool
	if rate.Max, rate.Per, ok = parseRate(text); !ok {
		refuse("@rate", fmt.Sprintf("@rate %.40q is not a number of calls from 1 to %d and a span from 1s to 31d", text, maxRate), `as @rate("10/1h"), with s, m, h or d`)
	}
	if !slices.Contains([]string{"principal", "tool", "tenant"}, rate.By) {
		refuse("@rate_by", fmt.Sprintf("@rate_by %.40q is nothing to count by", by), `@rate_by("principal"), @rate_by("tool") or @rate_by("tenant")`)
	}
	switch {
	case notes["id"] == "":
		refuse("@rate", "@rate on a policy without @id, whose count another policy's place could change", `add @id("name")`)
	case notes["hold"] != "":
		refuse("@rate", "@rate beside @hold", "write two policies: one holds, one bounds the rate")
	}
	r.rate = &rate
	return problems
}

// parseRate takes plain digits, a slash, plain digits and a unit.
func parseRate(text string) (most int64, per time.Duration, ok bool) {
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	count, span, _ := strings.Cut(text, "/")
	if len(span) < 2 {
		return 0, 0, false
	}
	n, okN := plainNumber(count, maxRate)
	unit, known := units[span[len(span)-1]]
	times, okT := plainNumber(span[:len(span)-1], int64(maxRateSpan/time.Second))
	per = time.Duration(times) * unit
	return n, per, okN && okT && known && per <= maxRateSpan
}

// plainNumber takes digits without a zero in front, from 1 to most.
func plainNumber(text string, most int64) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil && n >= 1 && n <= most && strconv.FormatInt(n, 10) == text
}

// counts refuses a rate where calls are not counted: only work passes quota's counters.
func (c *checker) counts(r *rule) Problems {
	if r.rate == nil {
		return nil
	}
	scope, work := scopeActions(r.ast()), actionUID("work")
	outside := func(uid types.EntityUID) bool { return uid != work && !slices.Contains(c.words.parents[uid], work) }
	if len(scope) > 0 && !slices.ContainsFunc(scope, outside) {
		return nil
	}
	return Problems{r.problem("@rate", "@rate where not only work is meant, and nothing else is counted", `name the action, or say action in Action::"work"`)}
}

// Rates lists what has to have room before an allowed call goes out: every forbid with a rate that applies (Cap), and the
// permits with a rate when no permit without one allows the call; of those one has to have room. Each that is relied on
// counts the call. It is nil for a call that is not allowed and for most bundles.
func (d Decision) Rates() (rates []Rate) {
	if d.engine == nil || !d.engine.rated || !d.allowed {
		return nil
	}
	for _, r := range d.capped() {
		rates = append(rates, *r.rate)
	}
	caps := len(rates)
	for _, reason := range d.reasons {
		r := d.engine.byLabel[string(reason.PolicyID)]
		if r.rate == nil {
			return rates[:caps]
		}
		rates = append(rates, *r.rate)
	}
	return rates
}

func (d Decision) capped() []*rule {
	if d.more == nil {
		return nil
	}
	return d.more.caps
}

// Rated reports whether any enforced policy has a rate.
func (e *Engine) Rated() bool { return e != nil && e.rated }

// ReadsSession reports whether any policy reads context.session, which then has to be counted.
func (e *Engine) ReadsSession() bool { return e != nil && e.reading&readSession != 0 }

// ReadsApproval reports whether any policy reads context.approval.
func (e *Engine) ReadsApproval() bool { return e != nil && e.reading&readApproval != 0 }

// ReadsSession reports whether any policy of the overlay reads context.session.
func (o *Overlay) ReadsSession() bool {
	return o != nil && slices.ContainsFunc(o.rules, func(r laid) bool { return r.full.reads.fields&readSession != 0 })
}

// survey notes what any policy reads and whether any has a rate.
func (e *Engine) survey() {
	for _, r := range e.rules {
		e.reading |= r.full.reads.fields
		e.rated = e.rated || r.rate != nil
	}
	if e.beside != nil {
		e.beside.survey()
		e.reading |= e.beside.reading
	}
}
