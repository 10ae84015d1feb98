package cli

import (
	"fmt"
	"text/tabwriter"
	"time"
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
		return sh.json(sinks)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tTYPE\tTENANT\tADDRESS\tLAG\tSENT\tFAILED\tLAST SUCCESS\tLAST ERROR")
	for i := range sinks {
		s := &sinks[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", clean(s.Name), clean(s.Type), clean(s.Tenant), clean(s.Address), s.Lag, s.Sent, s.Failed, orNever(s.LastSuccess), clean(s.LastError))
	}
	return w.Flush()
}

type ledgerHoldCmd struct {
	controlPort
	Reason string `help:"Why: it stands in the ledger for good, so name nobody in it. Without it the hold that stands is shown." placeholder:"TEXT"`
}

// Run puts the organisation under legal hold, or tells whether it is.
func (c *ledgerHoldCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	h, err := a.Hold(sh.ctx)
	if c.Reason != "" {
		h, err = a.HoldLedger(sh.ctx, c.Reason)
	}
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
	Before string `help:"Only records older than this, RFC 3339 (default: all that ledger.retention keeps no longer)." placeholder:"TIME"`
	DryRun bool   `help:"Only say what would go."`
	JSON   bool   `help:"Print JSON, with the receipts of the prune records." name:"json"`
}

// Run gives up what is kept no longer.
func (c *ledgerPruneCmd) Run(sh *shell) error {
	var before time.Time
	if c.Before != "" {
		var err error
		if before, err = time.Parse(time.RFC3339, c.Before); err != nil {
			return usage("write it as 2026-01-31T00:00:00Z", "--before %q is no time", c.Before)
		}
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
	fmt.Fprintln(w, "TENANT\tFROM\tTO\tRECORDS\tRECORD")
	for _, p := range done.Items {
		record := clean(p.Record)
		if p.Held {
			record = "under legal hold"
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\n", clean(p.Tenant), p.From, p.To, p.To-p.From, record)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if done.DryRun {
		fmt.Fprintln(sh.err, "nothing was changed")
	}
	return nil
}

type ledgerEraseCmd struct {
	controlPort
	Subject string `help:"Id of the user or the agent." required:"" placeholder:"ID"`
	Reason  string `help:"Why: it stands in the ledger for good, so name nobody in it." required:"" placeholder:"TEXT"`
	Yes     bool   `help:"Yes, destroy the key: what is sealed about the subject is unreadable from then on, for everybody and for good."`
	JSON    bool   `help:"Print JSON." name:"json"`
}

// Run erases what is sealed about a subject.
func (c *ledgerEraseCmd) Run(sh *shell) error {
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
	word := "erased"
	if e.Already {
		word = "erased before, and nothing was sealed since"
	}
	fmt.Fprintf(sh.out, "%s: records %s and %s name the subject as %s\n", word, clean(e.Record), clean(e.Outcome), clean(e.Digest))
	fmt.Fprintf(sh.err, "the salt of that digest is %s; backups made before keep the key\n", clean(e.Salt))
	return nil
}
