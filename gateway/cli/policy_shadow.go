package cli

import (
	"cmp"
	"fmt"
	"strings"
	"text/tabwriter"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type policyShadowCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run says what the policies that are tried would have answered.
func (c *policyShadowCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	t, err := a.PolicyTrial(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(t)
	}
	sh.showTrial(t)
	if t.Mode == "canary" && len(t.Latest) > 0 {
		fmt.Fprintln(sh.out, "INSTEAD: what was answered -> what the bundle before would have answered, for the share of the canary")
	}
	return sh.showFlips(t.Latest)
}

func (sh *shell) showTrial(t *gatewright.PolicyTrial) {
	switch {
	case t.Mode == "canary":
		fmt.Fprintf(sh.out, "in canary for %d %% of the principals: %.16s\n", t.Canary, clean(t.Staged))
	case t.Staged != "":
		fmt.Fprintf(sh.out, "in shadow: %.16s\n", clean(t.Staged))
	case len(t.Policies) == 0:
		fmt.Fprintln(sh.out, "nothing is tried")
	}
	for _, p := range t.Policies {
		fmt.Fprintf(sh.out, "in shadow: policy %s\n", plainLine(p))
	}
	if t.Compared > 0 {
		fmt.Fprintf(sh.out, "%s compared%s\n", plural(t.Compared, "call"), flips(t.Current, "engine"))
	}
	if n := flips(t.Total, "policy"); n != "" {
		fmt.Fprintf(sh.out, "by single policies%s\n", n)
	}
	if t.Passed+t.Failed > 0 {
		fmt.Fprintf(sh.out, "not compared: %d that took too long, %d that broke off\n", t.Passed, t.Failed)
	}
}

// flips counts by direction, as in ": 2 allow -> deny".
func flips(list []gatewright.PolicyFlips, by string) string {
	var out []string
	for _, f := range list {
		if f.By == by {
			out = append(out, fmt.Sprintf("%d %s -> %s", f.Count, clean(f.From), clean(f.To)))
		}
	}
	if len(out) == 0 {
		return ""
	}
	return ": " + strings.Join(out, ", ")
}

func (sh *shell) showFlips(calls []gatewright.FlippedCall) error {
	if len(calls) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tWHO\tWHAT\tINSTEAD\tBY\tRECORD")
	for i := range calls {
		x := &calls[i]
		what := strings.TrimPrefix(x.Server+"/"+x.Tool, "/")
		by := strings.Join(x.Policies, ", ")
		if x.Errors > 0 {
			by = strings.TrimPrefix(fmt.Sprintf("%s, %d that cannot be evaluated", by, x.Errors), ", ")
		}
		cells := []string{moment(x.At), cmp.Or(x.Agent, x.User), cmp.Or(what, x.Op), x.From + " -> " + x.To, cmp.Or(by, "no policy"), x.Record}
		for i, cell := range cells {
			cells[i] = orDash(plainLine(cell))
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}
