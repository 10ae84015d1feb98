package server

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatewright/gatewright/gateway/control"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/mldsa"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
	"github.com/gatewright/gatewright/store"
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
	}, g.publishing)
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

// publishing adds what the ledger's checkpoints need beside the log: witnesses, and a second place.
func (g *Gateway) publishing(o *publish.Options) {
	o.Cosign, o.Kept, o.Retired = g.cosigner(), keptNote{g.store}, g.keys.retired
	if g.keys.later != nil {
		o.Cosigners = []ledger.NoteSigner{*g.keys.later}
	}
	o.Check = func(ctx context.Context, p *publish.Publisher) error { return g.checkStart(ctx, p) }
}

// keptNote keeps the latest checkpoint of the ledger in the store, apart from the ledger's folder: when that folder alone
// is put back to an earlier state, the next start notices.
type keptNote struct{ store store.Store }

// Where the note lies in the store, among the rows of the gateway itself.
const (
	keptTable = "ledger_checkpoint"
	keptKey   = "latest"
)

// Get implements publish.Kept.
func (k keptNote) Get(ctx context.Context) (note []byte, err error) {
	err = k.store.View(ctx, store.Instance, func(tx store.Txn) error {
		v, err := tx.Get(keptTable, keptKey)
		note = v.Data
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return note, err
}

// Put implements publish.Kept.
func (k keptNote) Put(ctx context.Context, note []byte) error {
	return k.store.Update(ctx, store.Instance, func(tx store.Txn) error {
		_, err := tx.Put(keptTable, keptKey, note, store.AnyVersion)
		return err
	})
}

// publishGauges is how publishing stands.
func (g *Gateway) publishGauges() []control.Gauge {
	gauge := func(name, help string, value func(publish.Stats) float64) control.Gauge {
		return control.Gauge{
			Name: "gatewright_ledger_" + name, Help: help, Counter: strings.HasSuffix(name, "_total"),
			Value: func() float64 { return value(g.published.Publishing()) },
		}
	}
	return []control.Gauge{
		gauge("tenants_behind", "Ledgers whose tiles were not ready for the last checkpoint.", func(s publish.Stats) float64 { return float64(s.Behind) }),
		gauge("tiles_rebuilt_total", "Ledgers whose tiles were made again, missing or damaged.", func(s publish.Stats) float64 { return float64(s.Rebuilt) }),
		gauge("published_seconds", "When everything was last published, in seconds since 1970; 0: never.", func(s publish.Stats) float64 {
			if s.Last.IsZero() {
				return 0
			}
			return float64(s.Last.UnixMilli()) / 1000
		}),
		gauge("checkpoints", "Entries of the published log of checkpoints.", func(s publish.Stats) float64 { return float64(s.Size) }),
		gauge("checkpoints_cosigned", "Of them, those that witnesses cosigned.", func(s publish.Stats) float64 { return float64(s.Cosigned) }),
		gauge("checkpoints_cut_total", "Entries of the log of checkpoints that were cut at the start, not being this gateway's: somebody wrote there.", func(s publish.Stats) float64 { return float64(s.Cut) }),
		gauge("cosignatures_total", "Cosignatures of witnesses.", func(s publish.Stats) float64 { return float64(s.Cosignatures) }),
	}
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

// laterKey loads, or makes, the ML-DSA-44 key that signs checkpoints besides, and writes its public half beside the other.
// Its name is that of the Ed25519 key: both are the ledger's.
func (g *Gateway) laterKey() (*mldsa.Cosigner, error) {
	c := g.o.Config.Ledger
	if !c.MLDSA {
		return nil, nil //nolint:nilnil // none is no error
	}
	const name = "ledger.mldsa44"
	seed, err := g.laterSeed(name)
	if err != nil {
		return nil, err
	}
	key, err := mldsa.NewCosigner(ledger.Origin(c.Origin, ledger.InstanceTenant, c.Instance), seed)
	if err != nil {
		return nil, err
	}
	text := "# Checkpoints of this gateway verify under this key too (ML-DSA-44, C2SP tlog-cosignature).\n" + key.Public().String() + "\n"
	return &key, g.dir.WriteFile("keys/"+name+".pub", []byte(text), 0o644)
}

// laterSeed is the key's seed, made when the setting is first turned on. Where the public half stands and the seed is
// gone, the seed is missing.
func (g *Gateway) laterSeed(name string) ([]byte, error) {
	_, err := os.Stat(g.dir.Join("keys", name))
	_, known := os.Stat(g.dir.Join("keys", name+".pub"))
	if !errors.Is(err, fs.ErrNotExist) || known == nil {
		return g.dir.Key(name, mldsa.SeedSize)
	}
	seed := make([]byte, mldsa.SeedSize)
	if _, err := io.ReadFull(g.o.Rand, seed); err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	text, err := g.dir.Wrap(seed)
	if err != nil {
		return nil, err
	}
	return seed, g.dir.WriteFile(filepath.Join("keys", name), text, 0o600)
}

// retiredKeys reads the keys that signed before this one. A rotation that was interrupted is to be finished first.
func (g *Gateway) retiredKeys(signer ed25519.PrivateKey) ([]ed25519.PublicKey, error) {
	if _, err := os.Stat(g.dir.Join("keys", "ledger.next")); err == nil {
		return nil, errors.New("a rotation of the ledger's key was interrupted: finish it with gatewright ledger rotate-key")
	}
	b, err := os.ReadFile(g.dir.Join("keys", "ledger.pub"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read keys/ledger.pub: %w", err)
	}
	c := g.o.Config.Ledger
	now, err := ledger.NewSigner(ledger.Origin(c.Origin, ledger.InstanceTenant, c.Instance), signer)
	if err != nil {
		return nil, err
	}
	keys, err := ledger.OpenKeyList(b, now.Public)
	if err != nil {
		return nil, fmt.Errorf("keys/ledger.pub: %w (put back what the gateway or rotate-key wrote; a file with the gateway's own key alone is made anew when it is removed)", err)
	}
	var out []ed25519.PublicKey
	for _, k := range keys {
		out = append(out, k.Key)
	}
	return out, nil
}

// publishKey writes the keys that receipts are verified with where people and scripts find them, the newest first.
func (g *Gateway) publishKey() error {
	keys := g.published.Keys()
	return g.dir.WriteFile("keys/ledger.pub", ledger.KeyList(ledger.Signer{Public: keys[0], Private: g.keys.ledger}, keys[1:]), 0o644)
}

// ledgerKeys are the texts of the keys that receipts verify under, the newest first.
func (g *Gateway) ledgerKeys() []string {
	var out []string
	for _, k := range g.published.Keys() {
		out = append(out, k.String())
	}
	return out
}
