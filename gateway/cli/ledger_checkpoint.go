package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

type ledgerCheckpointCmd struct {
	controlPort
	Out   string `help:"Write the checkpoint to this file. Default: standard output." placeholder:"FILE"`
	Force bool   `help:"Replace a file that is there."`
}

// Run fetches the signed checkpoint, to be kept where the gateway cannot reach it.
func (c *ledgerCheckpointCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	note, err := a.Checkpoint(sh.ctx)
	if err != nil {
		return err
	}
	if c.Out == "" {
		_, err := sh.out.Write(note)
		return err
	}
	how := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.Force {
		how = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(c.Out, how, 0o644) //nolint:gosec // checkpoints are for others to read
	if errors.Is(err, os.ErrExist) {
		return usage("give another name, or --force to replace it", "%s is there already", name(c.Out))
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	_, err = f.Write(note)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	cp, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "checkpoint of %s: %s\n", plural(cp.Size, "record"), c.Out)
	fmt.Fprintln(sh.err, "hint: keep it elsewhere; later: gatewright ledger consistency --checkpoint FILE --key FILE")
	return nil
}

type ledgerConsistencyCmd struct {
	controlPort
	pinned
	From       uint64 `arg:"" optional:"" help:"The smaller size: how many records the ledger had."`
	To         uint64 `arg:"" optional:"" help:"The larger size; default: that of the published checkpoint."`
	Checkpoint string `help:"A checkpoint of this ledger that you hold, in place of sizes: its signature, that of the gateway's checkpoint of now and the proof between both are verified." placeholder:"FILE"`
	JSON       bool   `help:"Print JSON." name:"json"`
}

// Run fetches and checks the proof that a ledger grew and was not changed.
func (c *ledgerConsistencyCmd) Run(sh *shell) error {
	switch {
	case c.Checkpoint != "" && c.From != 0:
		return usage("a checkpoint has a size of its own", "give sizes or --checkpoint, not both")
	case c.Checkpoint != "":
		return c.held(sh)
	case c.Key != "":
		return usage("it verifies the signature of --checkpoint FILE", "--key says nothing about sizes")
	case c.From == 0 || c.To != 0 && c.To < c.From:
		return usage("sizes count records; an empty ledger is the beginning of any", "nothing is proved between these sizes")
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	p, err := a.Consistency(sh.ctx, c.From, c.To)
	if err != nil {
		return err
	}
	if err := c.show(sh, p, nil); err != nil || c.JSON {
		return err
	}
	fmt.Fprintln(sh.err, "hint: these roots are the gateway's word: --checkpoint FILE --key FILE verifies them against a checkpoint that you hold")
	return nil
}

// held proves that the ledger of now goes on from the checkpoint in the file.
func (c *ledgerConsistencyCmd) held(sh *shell) error {
	keys, err := c.keys(sh)
	if err != nil {
		return err
	}
	text, err := sh.read(c.Checkpoint)
	if err != nil {
		return err
	}
	old, err := ledger.OpenCheckpoint(text, keys)
	if err != nil {
		return &hinted{fmt.Errorf("%s: %w", name(c.Checkpoint), err), "the checkpoint was changed, or another gateway made it; compare the pinned keys"}
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	text, err = a.Checkpoint(sh.ctx)
	if err != nil {
		return err
	}
	now, err := ledger.OpenCheckpoint(text, keys)
	if err != nil {
		return &hinted{fmt.Errorf("the gateway's checkpoint: %w", err), "is it the gateway that made the checkpoint you hold?"}
	}
	keep := "keep both checkpoints: together they show that the ledger was changed"
	switch {
	case old.Origin != now.Origin:
		return &hinted{fmt.Errorf("the checkpoint is of %q, the gateway's ledger is %q", old.Origin, now.Origin), "another organisation's, another gateway's, or one that was restored since under a new name"}
	case now.Size < old.Size:
		return &hinted{fmt.Errorf("NOT consistent: the gateway signs %d records now, and signed %d", now.Size, old.Size), keep}
	}
	p := &gatewright.Consistency{From: old.Size, To: now.Size}
	if old.Size > 0 && old.Size < now.Size {
		if p, err = a.Consistency(sh.ctx, old.Size, now.Size); err != nil {
			return err
		}
	}
	p.FromRoot, p.ToRoot = old.Root, now.Root // signed: whatever roots came with the hashes
	if err := p.Verify(); err != nil {
		return &hinted{fmt.Errorf("NOT consistent: the ledger of %d records is not the beginning of that of %d: %w", p.From, p.To, err), keep}
	}
	return c.show(sh, p, map[string]any{"verified": true, "origin": now.Origin})
}

func (c *ledgerConsistencyCmd) show(sh *shell, p *gatewright.Consistency, more map[string]any) error {
	text := func(h merkle.Hash) string { return base64.StdEncoding.EncodeToString(h[:]) }
	if c.JSON {
		out := map[string]any{"from": p.From, "to": p.To, "from_root": text(p.FromRoot), "to_root": text(p.ToRoot)}
		hashes := []string{}
		for _, h := range p.Hashes {
			hashes = append(hashes, text(h))
		}
		out["hashes"] = hashes
		maps.Copy(out, more)
		return sh.json(out)
	}
	word := "consistent"
	if more != nil {
		word = "verified: consistent"
	}
	fmt.Fprintf(sh.out, "%s: the first %d of %s are what they were\n", word, p.From, plural(p.To, "record"))
	fmt.Fprintf(sh.out, "  root of %d: %s\n  root of %d: %s\n", p.From, text(p.FromRoot), p.To, text(p.ToRoot))
	if more != nil {
		fmt.Fprintf(sh.out, "  both roots are signed checkpoints of %s\n", clean(fmt.Sprint(more["origin"])))
	}
	return nil
}

// verifiedKinds is what verify can be given.
const verifiedKinds = "verify knows receipts, checkpoints, .tlog-proof files, exports (the whole archive, as a file) and absence proofs"

// checkpoint verifies a signed checkpoint that stands by itself.
func (c *verifyCmd) checkpoint(sh *shell, text []byte) error {
	if c.Args != "" || c.Record != "" {
		return usage("a checkpoint is about a whole tree", "--args, --salt and --record say nothing about a checkpoint")
	}
	keys, err := c.keys(sh)
	if err != nil {
		return err
	}
	policy, err := c.witnesses(sh)
	if err != nil {
		return err
	}
	cp, err := ledger.OpenCheckpoint(text, keys)
	if err == nil && policy.Need > 0 {
		_, err = policy.Check(text)
	}
	if err != nil {
		return &hinted{err, "the checkpoint was changed, or another gateway made it; compare the pinned keys"}
	}
	if c.JSON {
		return sh.json(map[string]any{"verified": true, "origin": cp.Origin, "size": cp.Size, "root": cp.Root.String(), "witnesses": policy.Need})
	}
	fmt.Fprintf(sh.out, "verified: checkpoint of %s\n  %-8s %s\n  %-8s %s\n", clean(cp.Origin), "records", fmt.Sprint(cp.Size), "root", base64.StdEncoding.EncodeToString(cp.Root[:]))
	if policy.Need > 0 {
		fmt.Fprintf(sh.out, "  %-8s at least %d of the pinned witnesses saw it\n", "cosigned", policy.Need)
	}
	return nil
}

// plural counts things: 1 record, 2 records.
func plural[N int | uint64](n N, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
