package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/absence"
	"github.com/gatewright/gatewright/merkle/ledger/export"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
)

// proofStart begins a C2SP tlog-proof.
const proofStart = "c2sp.org/tlog-proof@"

// file verifies what is no receipt but a file of another kind, known by how it begins. It reports whether it was one.
func (c *verifyCmd) file(sh *shell) (known bool, err error) {
	f, err := os.Open(c.Receipt)
	if err != nil {
		return false, nil // text says what is wrong with it
	}
	defer f.Close()
	start := make([]byte, 64)
	n, err := f.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, nil // a folder, or something that is no file: text tells
	}
	start = start[:n]
	var verify func(ctx context.Context, sh *shell, f *os.File, keys gatewright.Keys) error
	switch {
	case export.Is(start):
		verify = c.export
	case absence.Is(start):
		verify = c.absence
	case bytes.HasPrefix(start, []byte(proofStart)):
		verify = c.logProof
	default:
		return false, nil
	}
	if err := c.fits(bytes.HasPrefix(start, []byte(proofStart)), false); err != nil {
		return true, err
	}
	keys, err := c.keys(sh)
	if err != nil {
		return true, err
	}
	return true, verify(sh.ctx, sh, f, keys)
}

// fits refuses flags that say nothing about the file at hand: whoever gave them would take what they ask for as proved.
func (c *verifyCmd) fits(logProof, receipt bool) error {
	switch {
	case !receipt && (c.Args != "" || c.Salt != ""):
		return usage("they are about one receipt", "--args and --salt say nothing about %s", name(c.Receipt))
	case !logProof && (c.Witnesses != "" || c.Need != nil):
		return usage("a .tlog-proof has cosignatures: gatewright ledger prove writes one", "--witnesses and --need say nothing about %s: no cosignature is in it", name(c.Receipt))
	case !logProof && c.Record != "":
		return usage("a .tlog-proof is about a record that is not in it; this holds its own", "--record says nothing about %s", name(c.Receipt))
	}
	return nil
}

// export verifies an archive of records.
func (c *verifyCmd) export(ctx context.Context, sh *shell, f *os.File, keys gatewright.Keys) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read export: %w", err)
	}
	rep, err := export.Verify(ctx, f, info.Size(), keys)
	if err != nil {
		return &hinted{err, "the export was changed or cut short, or another gateway made it; compare the pinned keys"}
	}
	m := &rep.Manifest
	if c.JSON {
		return sh.json(map[string]any{"verified": true, "manifest": m, "signed_by": rep.SignedBy, "complete": rep.Complete, "pruned": rep.Pruned, "opened": rep.Opened, "not_proved": rep.Notes})
	}
	fmt.Fprintf(sh.out, "verified: %d records of %s\n", rep.Records, clean(m.Origin))
	row := func(label, format string, args ...any) {
		fmt.Fprintf(sh.out, "  %-10s %s\n", label, clean(fmt.Sprintf(format, args...)))
	}
	row("signed by", "%s", rep.SignedBy)
	row("exported", "%s as %s for %s", m.At.Format("2006-01-02T15:04:05Z07:00"), m.Format, m.By.User)
	row("checkpoint", "%d records, root %s", m.Checkpoint.Size, m.Checkpoint.Root)
	if m.Count > 0 {
		row("records", "indices %d to %d", *m.First, *m.Last)
	}
	if given, err := json.Marshal(&m.Filter); err == nil && string(given) != "{}" {
		row("filter", "%s", given)
	}
	if rep.Opened > 0 {
		row("opened", "%d, each with the arguments its record commits to", rep.Opened)
	}
	switch {
	case rep.Complete:
		row("complete", "no record in the range is missing")
	case rep.Unbroken:
		row("NOT complete", "%d records of the range were pruned; from index %d on none is missing", rep.Pruned, m.Kept)
	case rep.Pruned > 0:
		row("NOT complete", "%d records of the range were pruned", rep.Pruned)
	}
	for _, n := range rep.Notes {
		fmt.Fprintf(sh.out, "note: %s\n", clean(n))
	}
	return nil
}

// absence verifies an absence proof. That the agent did call the tool is a refusal: what was to be proved is not so.
func (c *verifyCmd) absence(ctx context.Context, sh *shell, f *os.File, keys gatewright.Keys) error {
	res, err := absence.Verify(ctx, bufio.NewReader(f), keys)
	if err != nil {
		return &hinted{err, "the proof was changed or cut short, or another gateway made it; compare the pinned keys"}
	}
	first, last := res.Span()
	if c.JSON {
		err = sh.json(map[string]any{"verified": true, "absent": res.Absent(), "claim": res.Claim(), "not_proved": res.Limits(), "first": first, "last": last, "result": res})
		if err != nil {
			return err
		}
	} else {
		fmt.Fprintln(sh.out, clean(res.Claim()))
		fmt.Fprintf(sh.out, "  all %d records were looked at, of %s to %s by their own times\n", res.Records, first.Format("2006-01-02T15:04:05Z"), last.Format("2006-01-02T15:04:05Z"))
		fmt.Fprintf(sh.out, "  they lead to a signed checkpoint of %d records\n", res.Size)
		if res.SinceSigned {
			fmt.Fprintf(sh.out, "  the range begins at a signed checkpoint of %d records\n", res.From)
		}
		for _, h := range res.Hits {
			fmt.Fprintf(sh.out, "  record %d %s: %s %s/%s %s\n", h.Index, clean(h.ID), clean(h.Kind), clean(h.Server), clean(h.Tool), clean(h.Code))
		}
		for _, l := range res.Limits() {
			fmt.Fprintf(sh.out, "not proved: %s\n", clean(l))
		}
	}
	if !res.Absent() {
		return errors.New("the proof is genuine, and absence is not proved")
	}
	return nil
}

// logProof verifies that a record stands in a log (C2SP tlog-proof).
func (c *verifyCmd) logProof(_ context.Context, sh *shell, f *os.File, keys gatewright.Keys) error {
	leaf, err := c.leaf(sh)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, ledger.MaxProof+1))
	if err != nil {
		return fmt.Errorf("read proof: %w", err)
	}
	p, err := ledger.ParseProof(text)
	if err != nil {
		return err
	}
	policy, err := c.witnesses(sh)
	if err != nil {
		return err
	}
	cp, err := p.Verify(merkle.LeafHash(leaf), keys, policy)
	if err != nil {
		return &hinted{err, "the proof or the record was changed, the proof is of another record, or another gateway made it; compare the pinned keys"}
	}
	r, err := ledger.ParseRecord(leaf)
	if err != nil {
		return err
	}
	if _, tenant, _, ok := ledger.ParseOrigin(cp.Origin); !ok || tenant != r.Tenant || !export.OfInstance(r.Instance, cp.Origin) {
		return fmt.Errorf("the record is of tenant %q at instance %q, the log is %q", r.Tenant, r.Instance, cp.Origin)
	}
	if c.JSON {
		return sh.json(map[string]any{"verified": true, "origin": cp.Origin, "index": p.Index, "size": cp.Size, "witnesses": policy.Need, "record": json.RawMessage(leaf)})
	}
	sh.showRecord(&gatewright.Verified{Origin: cp.Origin, Record: r, Leaf: leaf})
	fmt.Fprintf(sh.out, "  %-8s record %d of %d in the tree that was signed\n", "place", p.Index, cp.Size)
	if policy.Need > 0 {
		fmt.Fprintf(sh.out, "  %-8s at least %d of the pinned witnesses saw it\n", "cosigned", policy.Need)
	}
	return nil
}

// leaf finds the record that a log proof is about: a file with its bytes, as records.jsonl and `ledger show --json` have
// them, or a receipt.
func (c *verifyCmd) leaf(sh *shell) ([]byte, error) {
	if c.Record == "" {
		return nil, usage("--record names a file with the record: as `gatewright ledger show --json` prints it, a line of records.jsonl, or its receipt", "a log proof holds no record; which is it about?")
	}
	b, err := sh.read(c.Record)
	if err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(b)
	if _, leaf, err := export.ParseLine(text); err == nil {
		return leaf, nil
	}
	if r, err := ledger.ParseReceipt(text); err == nil {
		return r.Leaf, nil
	}
	// A record's bytes are canonical JSON: whatever printed it anew, its canonical form is the record's own.
	lim := canon.DefaultLimits()
	if canon.Check(text, lim) == nil && canon.KindOf(text) == '{' {
		if inner, ok := canon.Get(text, "record"); ok && canon.KindOf(inner) == '{' {
			text = inner
		}
		return canon.AppendCanonical(nil, text, lim)
	}
	return nil, usage("give what `gatewright ledger show --json` prints, a line of records.jsonl, or a receipt", "%s holds no record", name(c.Record))
}

// witnesses is who must have cosigned; nobody unless keys are given.
func (c *verifyCmd) witnesses(sh *shell) (ledger.WitnessPolicy, error) {
	var policy ledger.WitnessPolicy
	if c.Need != nil {
		if policy.Need = *c.Need; policy.Need < 1 {
			return policy, usage("leave it out for all of them", "--need %d asks for nobody", policy.Need)
		}
	}
	if c.Witnesses == "" {
		if policy.Need > 0 {
			return policy, usage("--witnesses FILE holds their keys, one a line", "--need %d, and no witnesses", policy.Need)
		}
		return policy, nil
	}
	b, err := sh.read(c.Witnesses)
	if err != nil {
		return policy, err
	}
	names := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		k, err := mldsa.ParseWitnessKey(line)
		if err != nil {
			return policy, usage("a key line is name+hash+base64", "%s: %v", name(c.Witnesses), err)
		}
		names[k.Name] = true
		policy.Keys = append(policy.Keys, k)
	}
	if policy.Need == 0 {
		policy.Need = len(names)
	}
	if err := policy.Validate(); err != nil {
		return policy, usage("--need is at most the number of witnesses", "%v", err)
	}
	return policy, nil
}
