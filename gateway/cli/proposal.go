package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type proposalCmd struct {
	List    proposalListCmd    `cmd:"" help:"List what agents propose: profiles and servers."`
	Show    proposalShowCmd    `cmd:"" help:"Show a proposal, and the policies that a profile becomes."`
	Approve proposalApproveCmd `cmd:"" help:"Put a proposed profile in force for the organisation, or mark a proposed server as done."`
	Reject  proposalRejectCmd  `cmd:"" help:"Refuse a proposal."`
}

type proposalListCmd struct {
	controlPort
	State string `help:"Which: ${enum}." enum:"pending,approved,rejected,withdrawn,all" default:"pending"`
	Kind  string `help:"Only of this kind: profile or server." enum:"profile,server," default:"" placeholder:"KIND"`
	Agent string `help:"Only of this agent." placeholder:"AGENT_ID"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run lists proposals, oldest first.
func (c *proposalListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	f := gatewright.ProposalFilter{Agent: c.Agent, Kind: c.Kind, State: c.State}
	if c.State == "all" {
		f.State = ""
	}
	all, err := a.Proposals(sh.ctx, f)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(all)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tSTATE\tASKED\tAGENT\tWHY")
	for i := range all {
		p := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", clean(p.ID), clean(p.Kind), clean(p.State), moment(p.Created), clean(p.Agent), orDash(p.Reason))
	}
	return w.Flush()
}

type proposalShowCmd struct {
	controlPort
	ID   string `arg:"" help:"Id of the proposal." placeholder:"PROPOSAL_ID"`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run shows one proposal: who asks, what for, and what a profile comes to.
func (c *proposalShowCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	p, err := a.Proposal(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(p)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, f := range proposalFacts(p) {
		fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	var content bytes.Buffer
	if err := json.Indent(&content, p.Content, "", "  "); err != nil {
		return fmt.Errorf("print content: %w", err)
	}
	fmt.Fprintf(sh.out, "content\n%s\n", plainly(content.String()))
	if p.Cedar != "" {
		fmt.Fprintf(sh.out, "policies\n%s\n", plainly(p.Cedar))
	}
	for _, line := range p.Lines {
		fmt.Fprintf(sh.out, "- %s\n", plainly(line))
	}
	return nil
}

// proposalFacts are the lines about a proposal.
func proposalFacts(p *gatewright.Proposal) [][2]string {
	kind := clean(p.Kind)
	if p.Form != "" {
		kind += " (" + clean(p.Form) + ")"
	}
	out := [][2]string{
		{"proposal", clean(p.ID)},
		{"kind", kind},
		{"state", clean(p.State)},
		{"asked", moment(p.Created) + " by " + plainly(p.Agent) + " for " + plainly(p.User) + ", with key " + plainly(p.Key)},
		{"why", orDash(p.Reason)},
	}
	if !p.Decided.IsZero() {
		out = append(out, [2]string{"decided", moment(p.Decided) + " by " + clean(p.By) + ": " + orDash(p.Note)})
	}
	if p.Problem != "" {
		out = append(out, [2]string{"problem", plainly(oneLine(p.Problem))})
	}
	return append(out, [2]string{"digest", clean(p.Digest)})
}

type proposalApproveCmd struct {
	controlPort
	ID string `arg:"" help:"Id of the proposal." placeholder:"PROPOSAL_ID"`
}

// Run approves.
func (c *proposalApproveCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	p, err := a.ApproveProposal(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(p.ID), clean(p.State))
	if p.Kind == "server" {
		fmt.Fprintln(sh.err, "no server was added; do that by hand")
	}
	return nil
}

type proposalRejectCmd struct {
	controlPort
	ID     string `arg:"" help:"Id of the proposal." placeholder:"PROPOSAL_ID"`
	Reason string `help:"Why; it stands in the ledger for good." placeholder:"TEXT"`
}

// Run rejects.
func (c *proposalRejectCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	p, err := a.RejectProposal(sh.ctx, c.ID, c.Reason)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(p.ID), clean(p.State))
	return nil
}
