package cli

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type ledgerSinksCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists the sinks and how far each is behind.
func (c *ledgerSinksCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	sinks, err := a.Sinks(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{"items": sinks})
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTYPE\tTENANT\tADDRESS\tLAG\tSENT\tFAILED\tLOST\tREJECTED\tLAST SUCCESS\tLAST ERROR")
	for i := range sinks {
		s := &sinks[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", clean(s.Name), clean(s.Type), clean(s.Tenant), clean(s.Address), s.Lag, s.Sent, s.Failed, s.Lost, s.Rejected, orNever(s.LastSuccess), clean(s.LastError))
	}
	return w.Flush()
}

type ledgerHoldCmd struct {
	controlPort
	Reason *string `help:"Why: it stands in the ledger for good, so name nobody in it. Without it the hold that stands is shown." placeholder:"TEXT"`
}

// reasoned refuses a reason that says nothing, as a variable that is not set does.
func reasoned(text string) error {
	if strings.TrimSpace(text) == "" {
		return usage("say why: it stands in the ledger", "--reason is empty")
	}
	return nil
}

// Run puts the organisation under legal hold, or tells whether it is.
func (c *ledgerHoldCmd) Run(sh *shell) error {
	if c.Reason != nil {
		if err := reasoned(*c.Reason); err != nil {
			return err
		}
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	ask := a.Hold
	if c.Reason != nil {
		ask = func(ctx context.Context) (*gatewright.Hold, error) { return a.HoldLedger(ctx, *c.Reason) }
	}
	h, err := ask(sh.ctx)
	if err != nil {
		return err
	}
	if !h.Held {
		fmt.Fprintln(sh.out, "no legal hold")
		return nil
	}
	fmt.Fprintf(sh.out, "under legal hold since %s by %s: %s\n", h.Since.Format(time.RFC3339), clean(h.By), clean(h.Reason))
	return nil
}

type ledgerReleaseCmd struct {
	controlPort
	Reason string `help:"Why: it stands in the ledger for good, so name nobody in it." required:"" placeholder:"TEXT"`
}

// Run ends the legal hold.
func (c *ledgerReleaseCmd) Run(sh *shell) error {
	if err := reasoned(c.Reason); err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if _, err := a.ReleaseLedger(sh.ctx, c.Reason); err != nil {
		return err
	}
	fmt.Fprintln(sh.out, "released")
	return nil
}

type ledgerPruneCmd struct {
	controlPort
	Before string `help:"Only records older than this: 2026-11-22, 2026-11-22T08:00:00Z, or 24h or 30d ago (default: all that ledger.retention keeps no longer)." placeholder:"TIME"`
	DryRun bool   `help:"Only say what would go."`
	JSON   bool   `help:"Print JSON, with the receipts of the prune records." name:"json"`
}

// Run gives up what is kept no longer.
func (c *ledgerPruneCmd) Run(sh *shell) error {
	var before time.Time
	if at, err := instant("--before", c.Before); err != nil {
		return err
	} else if at != nil {
		before = *at
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	done, err := a.PruneLedger(sh.ctx, before, c.DryRun)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(done)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tFROM\tTO\tRECORDS\tRECORD\tWHY NO MORE")
	for _, p := range done.Items {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%s\n", clean(p.Tenant), p.From, p.To, p.To-p.From, orDash(clean(p.Record)), orDash(clean(whyNoMore(&p))))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if done.DryRun {
		fmt.Fprintln(sh.err, "nothing was changed")
	}
	return nil
}

func whyNoMore(p *gatewright.PrunedPart) string {
	if p.Held && p.Why == "" {
		return "the organisation is under legal hold"
	}
	return p.Why
}

type ledgerEraseCmd struct {
	controlPort
	Subject string `help:"Id of the user. What an agent sends lies under its owner: only an agent without one is erased by its own id." required:"" placeholder:"ID"`
	Reason  string `help:"Why: it stands in the ledger for good, so name nobody in it." required:"" placeholder:"TEXT"`
	Yes     bool   `help:"Yes, destroy the key: what is sealed about the subject is unreadable from then on, for everybody and for good."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Run erases what is sealed about a subject.
func (c *ledgerEraseCmd) Run(sh *shell) error {
	if err := reasoned(c.Reason); err != nil {
		return err
	}
	if !c.Yes {
		return usage("export it first where it is needed (gatewright ledger export --subject), then add --yes", "an erasure cannot be undone")
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	e, err := a.EraseSubject(sh.ctx, c.Subject, c.Reason)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(e)
	}
	if e.Nothing {
		fmt.Fprintln(sh.out, "nothing was erased: nothing is sealed under this subject, and no record says that it was")
		return nil
	}
	word := fmt.Sprintf("erased, %d of the records that are kept can no longer be opened", e.Records)
	if e.Already {
		word = "erased before, and nothing was sealed since"
	}
	fmt.Fprintf(sh.out, "%s: records %s and %s name the subject as %s\n", word, clean(e.Record), clean(e.Outcome), clean(e.Digest))
	if e.Owner != "" {
		fmt.Fprintf(sh.err, "what it sends for its owner is sealed under %s, and stays readable\n", clean(e.Owner))
	}
	fmt.Fprintf(sh.err, "the salt of that digest is %s; backups made before keep the key\n", clean(e.Salt))
	return nil
}
