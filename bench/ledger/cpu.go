package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// CPU is what a record costs in CPU time where nobody waits: microseconds and heap objects for each.
type CPU struct {
	Leaf          int     `json:"leaf_bytes"`
	Encode        float64 `json:"encode_us"` // id, time, checks and JSON
	EncodeAllocs  float64 `json:"encode_allocs"`
	Seal          float64 `json:"seal_us"` // leaf hash, chain MAC, tree, frame with its CRC; not the encoding
	SealAllocs    float64 `json:"seal_allocs"`
	Receipt       float64 `json:"receipt_us"` // of a batch of batchSize: tree, a share of the signature, proof, text
	ReceiptAllocs float64 `json:"receipt_allocs"`
	ReceiptBytes  int     `json:"receipt_bytes"`
	Sign          float64 `json:"sign_us"` // an Ed25519 signature over 300 bytes: how fast this machine is where it does not hash
}

// batchSize is how many receipts share a signature where their cost is measured.
const batchSize = 64

// runs of each piece of work.
const (
	seals   = 50_000
	batches = 300
)

func measureCPU() (c CPU, err error) {
	seed := [ed25519.SeedSize]byte{1}
	w, err := wal.NewWorkbench(ed25519.NewKeyFromSeed(seed[:]), rand.Reader)
	if err != nil {
		return c, err
	}
	r := sample(ledger.Admin)
	c.Encode, c.EncodeAllocs, err = cost(seals, func() error {
		r.ID, r.Time = "", 0
		c.Leaf, err = w.Encode(r)
		return err
	})
	if err != nil {
		return c, err
	}
	c.Seal, c.SealAllocs, err = cost(seals, func() error { w.Seal(); return nil })
	if err != nil {
		return c, err
	}
	c.Receipt, c.ReceiptAllocs, err = cost(batches, func() error {
		c.ReceiptBytes, err = w.Receipts(batchSize)
		return err
	})
	c.Receipt, c.ReceiptAllocs = c.Receipt/batchSize, c.ReceiptAllocs/batchSize
	return c, errors.Join(err, c.sign())
}

// hashed is how many blocks of SHA-256 a seal compresses (the leaf, the chain MAC over 76 bytes whose two key blocks are
// ready, and a node of the tree), and a receipt (a node): padding is nine bytes at least.
func (c *CPU) hashed() (seal, receipt int) {
	const block, padding, node = 64, 9, 2
	return (1+c.Leaf+padding+block-1)/block + 3 + node, node
}

// sign measures a signature: the yardstick of work that does not hash.
func (c *CPU) sign() (err error) {
	key, message := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), make([]byte, 300)
	c.Sign, _, err = cost(2000, func() error { ed25519.Sign(key, message); return nil })
	return err
}

// cost is the CPU microseconds and the heap objects that one of n runs takes, after one to warm up.
func cost(n int, work func() error) (us, allocs float64, err error) {
	if err := work(); err != nil {
		return 0, 0, err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	from, err := rig.CPU()
	if err != nil {
		return 0, 0, err
	}
	for range n {
		if err := work(); err != nil {
			return 0, 0, err
		}
	}
	to, err := rig.CPU()
	runtime.ReadMemStats(&after)
	return float64((to - from).Nanoseconds()) / 1e3 / float64(n), float64(after.Mallocs-before.Mallocs) / float64(n), err
}

// Verify is the offline verification of a log that was just made, with the first chain key.
type Verify struct {
	Records   uint64        `json:"records"`
	CPU       time.Duration `json:"cpu"`
	Elapsed   time.Duration `json:"elapsed"`
	PerSecond float64       `json:"per_second"` // records a second of CPU time: what one core does
}

func (b *bench) verify(ctx context.Context) (v Verify, err error) {
	dir, remove, err := b.fresh()
	if err != nil {
		return v, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	if err := b.fill(ctx, dir); err != nil {
		return v, err
	}
	text, err := rootKey(dir)
	if err != nil {
		return v, err
	}
	_, k0, err := wal.ParseChainKey(text)
	if err != nil {
		return v, err
	}
	from, err := rig.CPU()
	if err != nil {
		return v, err
	}
	start := time.Now()
	rep, err := wal.Verify(ctx, logOptions(dir, wal.SyncWrite).Dir, wal.VerifyOptions{K0: k0})
	if err != nil {
		return v, err
	}
	if !rep.Chain {
		return v, fmt.Errorf("the chain was not checked: %q", rep.Notes)
	}
	to, err := rig.CPU()
	v = Verify{Records: rep.Records, CPU: to - from, Elapsed: time.Since(start)}
	v.PerSecond = float64(v.Records) / v.CPU.Seconds()
	return v, err
}

// fill makes a log.
func (b *bench) fill(ctx context.Context, dir string) error {
	s, err := openWrite(dir)
	if err != nil {
		return err
	}
	_, err = drive(ctx, s, writers[0], b.Time/2)
	return errors.Join(err, s.Close())
}
