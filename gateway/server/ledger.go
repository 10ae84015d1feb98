package server

import (
	"context"
	"fmt"
	"os"

	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// openLedger opens the ledger and, on it, the register of plans, which follows the ledger.
func (g *Gateway) openLedger(ctx context.Context) error {
	if err := g.openVerifier(); err != nil {
		return err
	}
	if err := g.ledgerThere(); err != nil {
		return err
	}
	c := g.o.Config.Ledger
	wc := wal.Config{
		Sync: c.Sync, SegmentBytes: int64(c.Segment), Deadline: c.Deadline, Checkpoint: c.CheckpointEvery, QueueRecords: c.Queue,
	}
	var wrap, unwrap func([]byte) ([]byte, error) // left out, the chain keys are plain text that an auditor can read
	if g.dir.Wraps() {
		wrap, unwrap = g.dir.Wrap, g.dir.Unwrap
	}
	b, err := publish.OpenBook(ctx, wal.Options{
		Config: wc, Dir: g.dir.Join("ledger"), Instance: c.Instance, Origin: c.Origin, Signer: g.keys.ledger,
		ChainKeyFile: g.dir.Join("keys", "ledger.chain"), RootKeyFile: g.dir.Join("keys", "ledger.k0"),
		WrapKey: wrap, UnwrapKey: unwrap,
		Now: g.o.Now, Rand: g.o.Rand,
	})
	if err != nil {
		return err
	}
	g.ledger, g.published = b.Log, b.Publisher
	if err := g.openPlans(ctx); err != nil {
		return err
	}
	if err := g.followPlans(ctx); err != nil {
		return err
	}
	return g.publishKey()
}

// ledgerThere refuses a used data folder whose ledger is gone: an empty one in its place would hide that.
func (g *Gateway) ledgerThere() error {
	if g.dir.Fresh() {
		return nil
	}
	if _, err := os.Stat(g.dir.Join("ledger", "_wal", "boot")); err != nil {
		return fmt.Errorf("the ledger of this data folder is missing: restore it from a backup (%w)", err)
	}
	return nil
}

// publishKey writes the key that receipts are verified with where people and scripts find it.
func (g *Gateway) publishKey() error {
	text := "# Receipts and checkpoints of this gateway verify under this key (C2SP signed-note form).\n" + g.VerifierKey().String() + "\n"
	return g.dir.WriteFile("keys/ledger.pub", []byte(text), 0o644)
}
