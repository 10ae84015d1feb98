package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type approvalCmd struct {
	List    approvalListCmd    `cmd:"" help:"List calls that policy holds."`
	Show    approvalShowCmd    `cmd:"" help:"Show what a held call would do, and why it is held."`
	Approve approvalApproveCmd `cmd:"" help:"Approve a held call, once."`
	Reject  approvalRejectCmd  `cmd:"" help:"Reject a held call, also one that is approved and not used yet."`
}

type approvalListCmd struct {
	controlPort
	State string `help:"Which: ${enum}." enum:"pending,approved,rejected,expired,executed,all" default:"pending"`
	Agent string `help:"Only of this agent." placeholder:"AGENT_ID"`
	Plan  string `help:"Only of this plan." placeholder:"PLAN_ID"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run lists held calls, oldest first.
func (c *approvalListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	f := gatewright.ApprovalFilter{Agent: c.Agent, Plan: c.Plan, State: c.State}
	if c.State == "all" {
		f.State = ""
	}
	all, err := a.Approvals(sh.ctx, f)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(all)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tSTATE\tGIVEN\tUNTIL\tAGENT\tTOOL\tAMOUNT\tWHY")
	for i := range all {
		v := &all[i]
		fmt.Fprintf(w, "%s\t%s\t%d of %d\t%s\t%s\t%s\t%s\t%s\n", clean(v.ID), clean(v.State), v.Given, v.Approvals, moment(v.Expires),
			clean(v.Agent), plainly(v.Server+"/"+v.Tool), orDash(v.Amount), orDash(v.Reason))
	}
	return w.Flush()
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

type approvalShowCmd struct {
	controlPort
	ID   string `arg:"" help:"Id of the approval." placeholder:"APPROVAL_ID"`
	JSON bool   `help:"Print JSON." name:"json"`
}

// Run shows one held call.
func (c *approvalShowCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	v, err := a.Approval(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(v)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, f := range facts(v) {
		fmt.Fprintf(w, "%s\t%s\n", f[0], f[1])
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return showArguments(sh.out, v.Args)
}

// facts are the lines about a held call.
func facts(v *gatewright.Approval) [][2]string {
	who := plainly(v.Agent) + " for " + plainly(v.User) + ", with key " + plainly(v.Key)
	tool := plainly(v.Server+"/"+v.Tool) + " (" + plainly(v.Op) + ")"
	if v.Local {
		tool += ", which the agent calls itself"
	}
	out := [][2]string{
		{"approval", clean(v.ID)},
		{"state", fmt.Sprintf("%s, %d of %d approvals, by role %s or above, until %s", clean(v.State), v.Given, v.Approvals, clean(v.Approver), moment(v.Expires))},
		{"asked", moment(v.Created) + " by " + who},
		{"tool", tool},
		{"plan", orDash(v.Plan)},
		{"amount", orDash(v.Amount)},
		{"why", orDash(v.Reason)},
		{"policies", orDash(strings.Join(v.Policies, ", "))},
	}
	for _, d := range v.Decisions {
		verb := "rejected"
		if d.Approve {
			verb = "approved"
		}
		line := fmt.Sprintf("%s by %s, %s", moment(d.Time), clean(d.User), clean(d.Role))
		if d.Reason != "" {
			line += ": " + plainly(d.Reason)
		}
		out = append(out, [2]string{verb, line})
	}
	if v.Record != "" {
		out = append(out, [2]string{"used", moment(v.Ended) + " by the call " + clean(v.Record)})
	}
	out = append(out, [2]string{"digest", clean(v.Digest)})
	if len(v.Args) == 0 {
		out = append(out, [2]string{"arguments", fmt.Sprintf("not shown: %d bytes, too large to be kept, or not for your role", v.ArgsSize)})
	}
	return out
}

// showArguments prints what the call would do.
func showArguments(w io.Writer, args json.RawMessage) error {
	if len(args) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, args, "", "  "); err != nil {
		return fmt.Errorf("print arguments: %w", err)
	}
	_, err := fmt.Fprintf(w, "arguments\n%s\n", plainly(b.String()))
	return err
}

// plainly writes every character that a terminal does not show as what it is, or shows in another order, as \uXXXX. Who
// decides about a text must not be deceived by it, so nothing is left out as clean does.
func plainly(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch hi, lo := utf16.EncodeRune(r); {
		case r == '\n' || unicode.IsPrint(r) && !unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			b.WriteRune(r)
		case hi != unicode.ReplacementChar:
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

type approvalApproveCmd struct {
	controlPort
	ID     string `arg:"" help:"Id of the approval." placeholder:"APPROVAL_ID"`
	Reason string `help:"Why; it stands in the ledger for good." placeholder:"TEXT"`
}

// Run approves.
func (c *approvalApproveCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	approve := a.Approve
	if c.Reason != "" {
		approve = func(ctx context.Context, id string) (*gatewright.Approval, error) {
			return a.ApproveBecause(ctx, id, c.Reason)
		}
	}
	v, err := approve(sh.ctx, c.ID)
	if err != nil {
		return err
	}
	return decided(sh, v)
}

type approvalRejectCmd struct {
	controlPort
	ID     string `arg:"" help:"Id of the approval." placeholder:"APPROVAL_ID"`
	Reason string `help:"Why; it stands in the ledger for good." placeholder:"TEXT"`
}

// Run rejects.
func (c *approvalRejectCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	v, err := a.Reject(sh.ctx, c.ID, c.Reason)
	if err != nil {
		return err
	}
	return decided(sh, v)
}

func decided(sh *shell, v *gatewright.Approval) error {
	fmt.Fprintf(sh.out, "%s %s\n", clean(v.ID), clean(v.State))
	if v.State == "pending" {
		fmt.Fprintf(sh.err, "%d of %d approvals; somebody else has to approve too\n", v.Given, v.Approvals)
	}
	return nil
}
