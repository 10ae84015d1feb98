package armoriq

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Times are UTC, as everything in the gateway's context is.
const now = "context.now"

// Cedar has no weekdays and no division, so the day of the week is found by subtraction: a tree of comparisons gives the
// days before the block of weeks that now lies in, and a set holds the days of such a block. That works from a Monday,
// epoch, for blocks*weeks weeks, until April 2065; a policy with days forbids everything before and after.
const (
	blocks = 32
	weeks  = 64
	day    = 24 * time.Hour
)

func epoch() time.Time { return time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC) }

func blockStart(i int) string {
	return `datetime("` + epoch().Add(time.Duration(i)*weeks*7*day).Format(time.DateOnly) + `")`
}

// dayNames are the names of the client's documentation. Numbers are refused: 1 is Monday to some and Tuesday to others.
func dayNames() []string {
	return []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
}

// times reads time_restrictions and gives when calls are let through.
func times(v value, t *terms) (expr, error) {
	m, err := v.object("allowed_hours", "allowed_days")
	if err != nil {
		return never, err
	}
	out := always
	if h, ok := m["allowed_hours"]; ok {
		hours, err := h.hours()
		if err != nil {
			return never, err
		}
		out = duringHours(hours)
		t.say("Only during these hours (UTC): %s.", spans(hours))
	}
	if d, ok := m["allowed_days"]; ok {
		days, err := d.days()
		if err != nil {
			return never, err
		}
		out = allOf(out, onDays(days))
		t.say("Only on these days (UTC): %s.", daysText(days))
	}
	return out, nil
}

// hours reads hours of the day, each of which is allowed from its first minute to its last: [9, 17] is two hours, not a
// span of them.
func (v value) hours() (in [24]bool, err error) {
	list, err := v.list(maxList)
	if err == nil && len(list) == 0 {
		err = v.problem("leave the member out, or list hours", "an empty list could mean every hour or none")
	}
	for _, e := range list {
		h, wrong := e.whole(0, 23)
		if wrong != nil {
			return in, wrong
		}
		in[h] = true
	}
	return in, err
}

func (v value) days() (in [7]bool, err error) {
	words, err := v.words()
	for i, w := range words {
		at := slices.IndexFunc(dayNames(), func(n string) bool { return strings.EqualFold(n, w) || strings.EqualFold(n[:3], w) })
		if at < 0 {
			e := value{at: v.at + "/" + strconv.Itoa(i)}
			return in, e.problem("write Monday to Sunday, or Mon to Sun", "%q is no day", w)
		}
		in[at] = true
	}
	return in, err
}

// eachSpan calls fn for each run of allowed hours, from its first to the one after its last.
func eachSpan(hours [24]bool, fn func(from, to int)) {
	for from := 0; from < 24; from++ {
		if !hours[from] {
			continue
		}
		to := from
		for to < 24 && hours[to] {
			to++
		}
		fn(from, to)
		from = to
	}
}

func duringHours(hours [24]bool) expr {
	var out []expr
	eachSpan(hours, func(from, to int) {
		if from == 0 && to == 24 {
			out = append(out, always)
			return
		}
		out = append(out, expr(fmt.Sprintf(`(%s.toTime() >= duration("%dh") && %s.toTime() < duration("%dh"))`, now, from, now, to)))
	})
	return anyOf(out...)
}

func spans(hours [24]bool) string {
	var out []string
	eachSpan(hours, func(from, to int) { out = append(out, fmt.Sprintf("%02d:00 to %02d:00", from, to)) })
	return strings.Join(out, ", ")
}

func daysText(days [7]bool) string {
	var out []string
	for i, name := range dayNames() {
		if days[i] {
			out = append(out, name)
		}
	}
	return strings.Join(out, ", ")
}

// onDays lists the days of a block, or those that are left out, whichever are fewer.
func onDays(days [7]bool) expr {
	n := 0
	for _, in := range days {
		if in {
			n++
		}
	}
	if n == 7 {
		return always
	}
	listed := n <= 3
	var set []string
	for i := range weeks * 7 {
		if days[i%7] == listed {
			set = append(set, strconv.Itoa(i))
		}
	}
	at := fmt.Sprintf("%s.durationSince(%s).toDays() - %s", now, blockStart(0), daysBefore(0, blocks))
	in := expr("[" + strings.Join(set, ", ") + "].contains(" + at + ")")
	if !listed {
		in = not(in)
	}
	return allOf(expr(fmt.Sprintf("(%s >= %s && %s < %s)", now, blockStart(0), now, blockStart(blocks))), in)
}

// daysBefore gives, as an expression, the days between epoch and the block of weeks that now lies in.
func daysBefore(from, to int) string {
	if to-from == 1 {
		return strconv.Itoa(from * weeks * 7)
	}
	mid := (from + to) / 2
	return fmt.Sprintf("(if %s < %s then %s else %s)", now, blockStart(mid), daysBefore(from, mid), daysBefore(mid, to))
}

// addresses reads ip_whitelist and gives the callers that are let through.
func addresses(v value, t *terms) (expr, error) {
	words, err := v.words()
	if err != nil {
		return never, err
	}
	var out []expr
	for i, w := range words {
		e := value{at: v.at + "/" + strconv.Itoa(i)}
		p, err := e.network(w)
		if err != nil {
			return never, err
		}
		out = append(out, expr("context.net.ip.isInRange(ip("+quote(p)+"))"))
	}
	t.say("Only from these addresses: %s.", strings.Join(words, ", "))
	return anyOf(out...), nil
}

// network checks an address or a CIDR block. Blocks with bits beyond their length are refused: one of the two is a slip.
func (v value) network(s string) (string, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		return addr.String(), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || p.Addr().Is4In6():
		return "", v.problem("write an address or a block, like 10.0.0.0/8", "%q is no address and no block of addresses", s)
	case p.Masked() != p:
		return "", v.problem("the block is "+p.Masked().String(), "%q has bits set beyond its length", s)
	}
	return p.String(), nil
}
