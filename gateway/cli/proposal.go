package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/gatewright/gatewright/gateway/cli/importer"
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
	return sh.policy("content", p.Content, p.Cedar, p.Lines)
}

// policy prints what was written, the policies that it became, and what they say.
func (sh *shell) policy(title string, written json.RawMessage, cedar string, lines []string) error {
	var content bytes.Buffer
	if err := json.Indent(&content, written, "", "  "); err != nil {
		return fmt.Errorf("print %s: %w", title, err)
	}
	fmt.Fprintf(sh.out, "%s\n%s\n", title, plainly(content.String()))
	if cedar != "" {
		fmt.Fprintf(sh.out, "policies\n%s\n", plainly(cedar))
	}
	for _, line := range lines {
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
		sh.serverByHand(a, c.ID)
	}
	return nil
}

// serverByHand says that an approved server is not there yet, and what would add it.
func (sh *shell) serverByHand(a *gatewright.Admin, id string) {
	tenant, blocks := "ORGANISATION", []string{}
	if who, err := a.WhoAmI(sh.ctx); err == nil && isName(who.Organisation) {
		tenant = who.Organisation
	}
	if p, err := a.Proposal(sh.ctx, id); err == nil {
		blocks = serverBlocks(p.Content, tenant)
	}
	if len(blocks) == 0 {
		fmt.Fprintf(sh.err, "no server was added, and the proposal names no http address: gatewright proposal show %s\n", clean(id))
		return
	}
	fmt.Fprintln(sh.err, "no server was added; check the address, put this into the configuration file, and start the gateway again:")
	for _, b := range blocks {
		fmt.Fprintf(sh.err, "\n%s", b)
	}
}

// wantedServer is one of the servers of a proposal, in any of the forms that clients send.
type wantedServer struct {
	ID      string `json:"id"`
	MCPName string `json:"mcpName"`
	URL     string `json:"url"`
	Source  string `json:"source"`
}

// maxBlocks bounds what is printed of a proposal; show prints the rest.
const maxBlocks = 16

// serverBlocks writes the servers of a proposal that have an address as the configuration file has them. What an agent
// sent reaches the file as plain names and addresses or not at all.
func serverBlocks(content json.RawMessage, tenant string) (blocks []string) {
	var own wantedServer
	var in struct {
		Servers []wantedServer `json:"mcp_servers"`
	}
	if json.Unmarshal(content, &own) != nil || json.Unmarshal(content, &in) != nil {
		return nil
	}
	for _, s := range append(in.Servers, own) {
		address := cmp.Or(s.URL, s.Source)
		if isAddress(address) && len(blocks) < maxBlocks {
			name := importer.Name(cmp.Or(s.ID, s.MCPName))
			blocks = append(blocks, fmt.Sprintf("server %q {\n  tenant = %q\n  url    = %q\n}\n", name, tenant, address))
		}
	}
	return blocks
}

// isAddress takes an http address without a credential that means the same between quotes in HCL, where ${ and %{ begin
// more than text.
func isAddress(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return false
	}
	unplain := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }
	return !strings.ContainsFunc(s, unplain) && !strings.Contains(s, "${") && !strings.Contains(s, "%{")
}

// isName takes what names an organisation or a server: [a-z0-9][a-z0-9-]{0,62}.
func isName(s string) bool { return s != "" && s == importer.Name(s) }

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
