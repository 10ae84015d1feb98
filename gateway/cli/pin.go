package cli

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type connectorPinsCmd struct {
	controlPort
	Server string `arg:"" optional:"" help:"Only of this server; default: all." placeholder:"SERVER"`
	All    bool   `help:"Approved ones too."`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run lists the tools that wait for a decision.
func (c *connectorPinsCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	servers := []string{c.Server}
	if c.Server == "" {
		all, err := a.Servers(sh.ctx)
		if err != nil {
			return err
		}
		servers = servers[:0]
		for i := range all {
			servers = append(servers, all[i].Name)
		}
	}
	shown := []gatewright.Pin{}
	for _, name := range servers {
		all, err := a.Pins(sh.ctx, name)
		if err != nil {
			return err
		}
		for i := range all {
			if c.All || all[i].State != "approved" {
				shown = append(shown, all[i])
			}
		}
	}
	if c.JSON {
		return sh.json(shown)
	}
	if len(shown) == 0 {
		fmt.Fprintln(sh.err, "no tool is in quarantine")
		return nil
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOOL\tSTATE\tDIGEST\tAPPROVED\tFINDINGS")
	for i := range shown {
		p := &shown[i]
		state := clean(p.State)
		if !p.Listed {
			state += ", not listed"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", plainly(p.Server+"/"+p.Tool), state, short(p.Digest), short(p.Approved), orDash(plainly(strings.Join(p.Findings, "; "))))
	}
	return w.Flush()
}

// shownDigest is how many digits of a digest a table shows; minDigest is how many name one.
const shownDigest, minDigest = 16, 8

func short(digest string) string { return orDash(digest[:min(len(digest), shownDigest)]) }

type connectorDiffCmd struct {
	controlPort
	Tool    string `arg:"" help:"The tool." placeholder:"SERVER/TOOL"`
	Against string `help:"From this approved definition to the one approved now: what rolling back would undo." placeholder:"DIGEST"`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Run shows one pin with the differences and the decisions.
func (c *connectorDiffCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	server, tool, err := toolOf(c.Tool)
	if err != nil {
		return err
	}
	p, err := a.Pin(sh.ctx, server, tool, "")
	if err == nil && c.Against != "" {
		against := ""
		if against, err = oneOf(p.Kept, c.Against); err == nil {
			p, err = a.Pin(sh.ctx, server, tool, against)
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(p)
	}
	return showPin(sh, p)
}

func showPin(sh *shell, p *gatewright.Pin) error {
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	rows := [][2]string{{"tool", plainly(p.Server + "/" + p.Tool)}, {"state", clean(p.State)}, {"digest", orDash(p.Digest)}, {"approved", orDash(p.Approved)}}
	for _, f := range p.Findings {
		rows = append(rows, [2]string{"finding", plainly(f)})
	}
	if p.Unusable != "" {
		rows = append(rows, [2]string{"unusable", plainly(p.Unusable)})
	}
	for i := range p.History {
		d := &p.History[i]
		text := []string{fmt.Sprintf("%s %s to %s from %s by %s", moment(d.Time), clean(d.Action), short(d.To), short(d.From), orDash(d.User))}
		for _, more := range []string{d.Despite, d.Reason} {
			if more != "" {
				text = append(text, plainly(more))
			}
		}
		rows = append(rows, [2]string{"decision", strings.Join(text, ": ")})
	}
	for _, k := range p.Kept {
		rows = append(rows, [2]string{"kept", clean(k)})
	}
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\n", r[0], r[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, d := range p.Differences {
		fmt.Fprintf(sh.out, "\n%s %s\n%s", clean(d.Member), clean(d.Change), plainly(d.Text))
	}
	return nil
}

// toolOf takes SERVER/TOOL apart.
func toolOf(name string) (server, tool string, err error) {
	server, tool, ok := strings.Cut(name, "/")
	if !ok || server == "" || tool == "" {
		return "", "", usage("write it as gatewright connector pins shows it", "%q is not SERVER/TOOL", name)
	}
	return server, tool, nil
}

// oneOf finds the digest that a person means by its first digits.
func oneOf(digests []string, prefix string) (string, error) {
	found := ""
	for _, d := range digests {
		if d == "" || !strings.HasPrefix(d, prefix) {
			continue
		}
		if found != "" && found != d {
			return "", usage("write more of it", "several digests begin with %s", clean(prefix))
		}
		found = d
	}
	if found == "" || len(prefix) < minDigest {
		return "", &hinted{fmt.Errorf("no digest to decide about begins with %q", clean(prefix)),
			fmt.Sprintf("gatewright connector diff shows what there is now; at least %d digits are needed", minDigest)}
	}
	return found, nil
}

type connectorApproveCmd struct {
	controlPort
	Tool    string `arg:"" help:"The tool; with --all its server alone." placeholder:"SERVER/TOOL"`
	Digest  string `arg:"" optional:"" help:"Of the definition that you read (connector diff shows it), or its first 8 digits or more." placeholder:"DIGEST"`
	All     bool   `help:"All tools of the server that wait and have no findings. Nobody has read them then."`
	Despite bool   `help:"Approve it though it has findings."`
	Reason  string `help:"Why; it stands in the tool's history." placeholder:"TEXT"`
}

// Run approves what was read, or everything.
func (c *connectorApproveCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if c.All {
		return c.approveAll(sh, a)
	}
	server, tool, err := toolOf(c.Tool)
	if err != nil {
		return err
	}
	if c.Digest == "" {
		return usage("gatewright connector diff "+clean(c.Tool)+" shows it", "the digest of the definition that you read is needed")
	}
	p, err := a.Pin(sh.ctx, server, tool, "")
	if err != nil {
		return err
	}
	digest, err := oneOf([]string{p.Digest}, c.Digest)
	if err != nil {
		return err
	}
	if p, err = a.ApprovePin(sh.ctx, server, tool, digest, c.Reason, c.Despite); err != nil {
		return err
	}
	return decidedPin(sh, p)
}

func (c *connectorApproveCmd) approveAll(sh *shell, a *gatewright.Admin) error {
	if c.Digest != "" || c.Despite || strings.Contains(c.Tool, "/") {
		return usage("gatewright connector approve --all SERVER", "--all takes a server, and neither a digest nor --despite")
	}
	all, err := a.Pins(sh.ctx, c.Tool)
	if err != nil {
		return err
	}
	left := 0
	for i := range all {
		switch p := &all[i]; {
		case !p.Waits():
		case len(p.Findings) > 0:
			left++
		default:
			if p, err = a.ApprovePin(sh.ctx, p.Server, p.Tool, p.Digest, c.Reason, false); err != nil {
				return err
			}
			if err := decidedPin(sh, p); err != nil {
				return err
			}
		}
	}
	if left > 0 {
		return &hinted{fmt.Errorf("%d tools have findings and still wait", left), "gatewright connector pins " + clean(c.Tool) + " shows them"}
	}
	return nil
}

func decidedPin(sh *shell, p *gatewright.Pin) error {
	_, err := fmt.Fprintf(sh.out, "%s %s, approved is %s\n", plainly(p.Server+"/"+p.Tool), clean(p.State), short(p.Approved))
	return err
}

type connectorRejectCmd struct {
	controlPort
	Tool   string `arg:"" help:"The tool." placeholder:"SERVER/TOOL"`
	Digest string `arg:"" optional:"" help:"Of the definition that waits, or of the approved one to take its approval back; its first 8 digits or more." placeholder:"DIGEST"`
	Reason string `help:"Why; it stands in the tool's history." placeholder:"TEXT"`
}

// Run rejects a definition.
func (c *connectorRejectCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	server, tool, err := toolOf(c.Tool)
	if err != nil {
		return err
	}
	if c.Digest == "" {
		return usage("gatewright connector diff "+clean(c.Tool)+" shows them", "the digest of the definition that you reject is needed")
	}
	p, err := a.Pin(sh.ctx, server, tool, "")
	if err != nil {
		return err
	}
	digest, err := oneOf([]string{p.Digest, p.Approved}, c.Digest)
	if err != nil {
		return err
	}
	if p, err = a.RejectPin(sh.ctx, server, tool, digest, c.Reason); err != nil {
		return err
	}
	return decidedPin(sh, p)
}

type connectorRollbackCmd struct {
	controlPort
	Tool   string `arg:"" help:"The tool." placeholder:"SERVER/TOOL"`
	Digest string `arg:"" optional:"" help:"Of a kept definition, or its first 8 digits or more; default: the one approved before." placeholder:"DIGEST"`
	Reason string `help:"Why; it stands in the tool's history." placeholder:"TEXT"`
}

// Run approves an earlier definition again.
func (c *connectorRollbackCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	server, tool, err := toolOf(c.Tool)
	if err != nil {
		return err
	}
	p, err := a.Pin(sh.ctx, server, tool, "")
	if err != nil {
		return err
	}
	earlier := slices.DeleteFunc(slices.Clone(p.Kept), func(d string) bool { return d == p.Approved })
	if len(earlier) == 0 {
		return &hinted{fmt.Errorf("%s has no earlier definition to go back to", clean(c.Tool)), "gatewright connector reject takes an approval back"}
	}
	digest := earlier[0]
	if c.Digest != "" {
		if digest, err = oneOf(earlier, c.Digest); err != nil {
			return err
		}
	}
	if p, err = a.RollBackPin(sh.ctx, server, tool, digest, c.Reason); err != nil {
		return err
	}
	return decidedPin(sh, p)
}
