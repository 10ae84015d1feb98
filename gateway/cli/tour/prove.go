package tour

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// prove is the sixth act: the gateway is gone, and what it said is verified with its public key alone.
func (g *guide) prove(ctx context.Context, data string) error {
	g.screen.act(6, "Everything verified offline", "The gateway has been stopped. What it said is verified without it: its public key and its files are enough.")
	g.pause(ctx, breath)
	proof, err := g.verify(ctx, data)
	if err != nil {
		return fmt.Errorf("act 6, everything verified offline: %w", err)
	}
	g.screen.proof(proof)
	return g.screen.err
}

// proof is what was verified.
type proof struct {
	receipts int
	report   wal.Report
	demo     wal.TenantReport
	key      string
}

func (g *guide) verify(ctx context.Context, data string) (*proof, error) {
	b, err := os.ReadFile(filepath.Join(data, "keys", "ledger.pub"))
	if err != nil {
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	keys, err := gatewright.ParseKeys(b)
	if err != nil {
		return nil, err
	}
	for _, k := range g.kept {
		if _, err := gatewright.VerifyReceipt(k.text, keys); err != nil {
			return nil, fmt.Errorf("receipt of %s: %w", k.record, err)
		}
	}
	if err := forged(g.kept[1].text, keys); err != nil {
		return nil, err
	}
	p := &proof{receipts: len(g.kept), key: keys[0].String()}
	if p.report, err = g.o.Verify(ctx, data); err != nil {
		return nil, err
	}
	return p, p.judge(g.trail.next)
}

// forged changes one bit of a receipt's record. It must not verify any more.
func forged(text string, keys gatewright.Keys) error {
	r, err := ledger.ParseReceipt([]byte(text))
	if err != nil {
		return err
	}
	leaf := slices.Clone(r.Leaf)
	leaf[len(leaf)/2] ^= 1
	r.Leaf = leaf
	if _, err := gatewright.VerifyReceipt(string(r.AppendText(nil)), keys); !errors.Is(err, gatewright.ErrReceipt) {
		return errors.New("a receipt with one bit changed verifies")
	}
	return nil
}

// judge holds the ledger's report against what the tour saw: everything checked, and no record less than was shown.
func (p *proof) judge(seen uint64) error {
	r := &p.report
	for _, t := range r.Tenants {
		if t.Name == "demo" {
			p.demo = t
		}
	}
	switch {
	case !r.Signatures || !r.Chain:
		return errors.New("the ledger's signatures or its chain could not be checked")
	case p.demo.Size < seen:
		return fmt.Errorf("the ledger holds %d records of the organisation, and %d were shown", p.demo.Size, seen)
	case p.demo.Signed != p.demo.Size:
		return fmt.Errorf("only %d of %d records of the organisation are under a signed checkpoint", p.demo.Signed, p.demo.Size)
	case r.Open > 0:
		return fmt.Errorf("%d calls were let out and never settled", r.Open)
	}
	return nil
}
