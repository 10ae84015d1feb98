package cli

import (
	"fmt"
	"strings"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// at names a version of a filter.
func at(name string, version uint64) string { return fmt.Sprintf("%s@v%d", clean(name), version) }

// step is a version in another's place.
func step(name string, before, after uint64) string {
	if before == 0 || before == after {
		return at(name, after)
	}
	return at(name, before) + " -> " + at(name, after)
}

// changed says what a change made of what was in force and tried.
func changed(c *gatewright.FilterChange) string {
	var parts []string
	b, a := c.Before, c.After
	switch {
	case a == b && c.Mode == "shadow":
		return "in shadow: " + at(c.Name, a.Shadow) + " as before, with another config or place"
	case a == b:
		return "in force: " + at(c.Name, a.Enforced) + " as before, with another config or place"
	case a.Enforced == 0 && b.Enforced != 0:
		parts = append(parts, fmt.Sprintf("taken out of force: %s (it was version %d)", clean(c.Name), b.Enforced))
	case a.Enforced != b.Enforced:
		parts = append(parts, "in force: "+step(c.Name, b.Enforced, a.Enforced))
	case a.Enforced != 0:
		parts = append(parts, "in force: "+at(c.Name, a.Enforced)+" as before")
	}
	switch {
	case a.Shadow != 0 && a.Shadow != b.Shadow:
		parts = append(parts, "in shadow: "+step(c.Name, b.Shadow, a.Shadow))
	case a.Shadow == 0 && b.Shadow != 0 && (b.Shadow != a.Enforced || a.Enforced == b.Enforced):
		parts = append(parts, fmt.Sprintf("taken out of shadow: %s (it was version %d)", clean(c.Name), b.Shadow))
	}
	return strings.Join(parts, "; ")
}

// next says what may come after a change.
func next(c *gatewright.FilterChange) string {
	name := clean(c.Name)
	back := fmt.Sprintf("`gatewright filter rollback %s` ", name)
	switch {
	case c.After.Shadow != 0:
		return fmt.Sprintf("`gatewright filter list %s` counts what it would do, `gatewright filter activate %s %d` puts it in force, %sends the trial", name, name, c.After.Shadow, back)
	case c.After.Enforced == 0 && c.Rollback == 0:
		return fmt.Sprintf("its versions stay: `gatewright filter activate %s` puts one in force", name)
	case c.After.Enforced == 0:
		return back + "puts " + at(name, c.Rollback) + " in force again, where it stood"
	case c.Rollback == 0:
		return fmt.Sprintf("`gatewright filter list %s` counts what it does, `gatewright filter remove %s` takes it out of force", name, name)
	case c.Rollback == c.After.Enforced:
		return fmt.Sprintf("`gatewright filter list %s` counts what it does, %sgoes back to the config and place before", name, back)
	}
	return fmt.Sprintf("`gatewright filter list %s` counts what it does, %sgoes back to %s", name, back, at(name, c.Rollback))
}

// moved says line by line what a revision changes of the filters.
func moved(m *gatewright.FilterMoves) (lines []string) {
	by := map[string][]string{}
	add := func(what, text string) { by[what] = append(by[what], text) }
	for i := range m.Filters {
		f := &m.Filters[i]
		tried := f.Mode == "shadow"
		switch {
		case f.After == nil && tried:
			add("ends the trial of", clean(f.Name))
		case f.After == nil:
			add("takes out of force", clean(f.Name))
		case f.Before == nil && tried:
			add("tries in shadow", moving(f.Name, f.After))
		case f.Before == nil:
			add("puts in force", moving(f.Name, f.After))
		case f.Before.Digest == f.After.Digest:
			add("changes config or place of", moving(f.Name, f.After))
		default:
			add("changes", moving(f.Name, f.Before)+" -> "+moving(f.Name, f.After))
		}
	}
	for _, what := range []string{"takes out of force", "puts in force", "changes", "changes config or place of", "ends the trial of", "tries in shadow"} {
		if list := by[what]; list != nil {
			lines = append(lines, what+": "+strings.Join(list, ", "))
		}
	}
	if m.Reordered {
		lines = append(lines, "changes the order in which calls pass filters")
	}
	return lines
}

// moving names a version by its number, or its digest where it has none any more.
func moving(name string, f *gatewright.MovedFilter) string {
	if f.Version == 0 {
		return fmt.Sprintf("%s@%.19s", clean(name), clean(f.Digest))
	}
	return at(name, f.Version)
}

// showMoves prints what a revision changes of the filters, and warnings about it.
func showMoves(sh *shell, r *gatewright.Revision) {
	for _, line := range moved(&r.FilterMoves) {
		fmt.Fprintln(sh.out, line)
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(sh.err, "warning: %s\n", clean(w))
	}
}
