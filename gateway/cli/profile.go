package cli

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type profileCmd struct {
	Show   profileShowCmd   `cmd:"" help:"Show the profile in force, and the policies that it is."`
	Remove profileRemoveCmd `cmd:"" help:"Take the profile out of force; the bundle's policies stay."`
}

type profileShowCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run shows the profile: since when, by whom, and what it comes to.
func (c *profileShowCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	p, err := a.Profile(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(p)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, f := range profileFacts(p) {
		fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return sh.policy("profile", p.Policy, p.Cedar, p.Lines)
}

// profileFacts are the lines about a profile.
func profileFacts(p *gatewright.Profile) [][2]string {
	out := [][2]string{
		{"version", strconv.Itoa(p.Version)},
		{"since", moment(p.Since) + " by " + plainly(p.By)},
		{"proposal", clean(p.Proposal)},
	}
	if p.Problem != "" {
		out = append(out, [2]string{"problem", plainly(oneLine(p.Problem)) + "; until it is removed or replaced, calls are refused"})
	}
	return append(out, [2]string{"digest", clean(p.Digest)})
}

type profileRemoveCmd struct{ controlPort }

// Run takes the profile out of force.
func (c *profileRemoveCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if err := a.RemoveProfile(sh.ctx); err != nil {
		return err
	}
	fmt.Fprintln(sh.out, "profile removed")
	return nil
}
