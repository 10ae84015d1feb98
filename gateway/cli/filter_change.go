package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/policies/manifest"
)

type placing func(a *gatewright.Admin, ctx context.Context, name string, version uint64, where gatewright.FilterPlacement) (*gatewright.FilterChange, error)

// place brings a version in force or tries it, and says so.
func place(sh *shell, port *controlPort, p *placement, do placing, asJSON bool) error {
	where, err := p.where()
	if err != nil {
		return err
	}
	a, err := port.filterAdmin(sh, p.Name)
	if err != nil {
		return err
	}
	version, err := p.version(sh, a)
	if err != nil {
		return err
	}
	change, err := do(a, sh.ctx, p.Name, version, where)
	if err != nil {
		return noFilter(sh, a, p.Name, err)
	}
	return showChange(sh, change, asJSON)
}

// showChange says what was in force, what is, and what may come next.
func showChange(sh *shell, c *gatewright.FilterChange, asJSON bool) error {
	if asJSON {
		return sh.json(c)
	}
	for _, w := range c.Warnings {
		fmt.Fprintf(sh.err, "warning: %s\n", clean(w))
	}
	if c.Direction != "" {
		fmt.Fprintf(sh.err, "it looks at %s\n", placed(&gatewright.FilterInForce{Servers: c.Servers, Tools: c.Tools, Direction: c.Direction}))
	}
	fmt.Fprintf(sh.out, "%s, revision %d of the policies\n", changed(c), c.Revision)
	fmt.Fprintln(sh.err, next(c))
	return nil
}

type filterRollbackCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the filter."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run goes back.
func (c *filterRollbackCmd) Run(sh *shell) error {
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	change, err := a.RollBackFilter(sh.ctx, c.Name)
	if err != nil {
		return noFilter(sh, a, c.Name, err)
	}
	return showChange(sh, change, c.JSON)
}

type filterRemoveCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the filter."`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run takes a filter out of force.
func (c *filterRemoveCmd) Run(sh *shell) error {
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	change, err := a.RemoveFilter(sh.ctx, c.Name)
	if err != nil {
		return noFilter(sh, a, c.Name, err)
	}
	return showChange(sh, change, c.JSON)
}

type filterDeleteCmd struct {
	controlPort
	Name    string `arg:"" help:"Name of the filter."`
	Version uint64 `arg:"" help:"Number of the version." placeholder:"N"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Run deletes the version.
func (c *filterDeleteCmd) Run(sh *shell) error {
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	gone, err := a.DeleteFilterVersion(sh.ctx, c.Name, c.Version)
	if err != nil {
		return noFilter(sh, a, c.Name, err)
	}
	for _, w := range gone.Warnings {
		fmt.Fprintf(sh.err, "warning: %s\n", clean(w))
	}
	if c.JSON {
		return sh.json(gone)
	}
	fmt.Fprintf(sh.out, "%s version %d deleted\n", clean(c.Name), c.Version)
	return nil
}

// showRejected lists what did not pass.
func showRejected(sh *shell, a *gatewright.Admin, asJSON bool) error {
	all, err := a.RejectedFilters(sh.ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return sh.json(all)
	}
	for i := range all {
		r := &all[i]
		why := "-"
		if r.Rejection != nil {
			why = clean(oneLine(r.Rejection.Error()))
		}
		fmt.Fprintf(sh.out, "%s %s by %s, %d bytes, %.19s: %s\n", moment(r.Created), clean(r.Name), orDash(r.By), r.Size, clean(r.Digest), why)
	}
	return nil
}

type filterLogsCmd struct {
	controlPort
	Name  string `arg:"" help:"Name of the filter."`
	Lines int    `help:"How many lines at most, 1 to 1000." short:"n" default:"100"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run prints the lines, oldest first.
func (c *filterLogsCmd) Run(sh *shell) error {
	if c.Lines < 1 || c.Lines > 1000 {
		return usage("write --lines 100", "--lines %d is not between 1 and 1000", c.Lines)
	}
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	lines, err := a.FilterLogs(sh.ctx, c.Name, c.Lines)
	if err != nil {
		return noFilter(sh, a, c.Name, err)
	}
	if c.JSON {
		return sh.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(sh.err, "%s has written nothing since the gateway started\n", clean(c.Name))
	}
	for _, l := range lines {
		version := "-"
		if l.Version > 0 {
			version = fmt.Sprintf("v%d", l.Version)
		}
		fmt.Fprintf(sh.out, "%s %-5s %s %s\n", l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), clean(l.Level), version, clean(oneLine(l.Text)))
	}
	return nil
}

// filterAdmin is admin for a command about one filter. A name that cannot be is refused here, by the gateway's own rule: as part of
// an address the gateway would only call it misspelt.
func (c *controlPort) filterAdmin(sh *shell, name string) (*gatewright.Admin, error) {
	if err := manifest.CheckFilterName(name); err != nil {
		return nil, usage("write the name in lower case, such as block-sql; `gatewright filter list` lists those that there are", "filter: %v", err)
	}
	return c.admin(sh)
}

// noFilter says which filters there are when the one asked for is none of them; any other error stays as it is.
func noFilter(sh *shell, a *gatewright.Admin, name string, err error) error {
	if refused, ok := errors.AsType[*gatewright.Error](err); !ok || refused.Code != "not_found" {
		return err
	}
	all, bad := a.Filters(sh.ctx)
	if bad != nil {
		return err
	}
	names := make([]string, len(all))
	for i := range all {
		if names[i] = all[i].Name; names[i] == name {
			return &hinted{err, "`gatewright filter list " + clean(name) + "` lists its versions"}
		}
	}
	hint := "there are none; `gatewright filter push NAME FILE.wasm` uploads one"
	if len(names) > 0 {
		hint = "there are: " + clean(strings.Join(names, ", "))
	}
	return &hinted{fmt.Errorf("no filter %q", name), hint}
}
