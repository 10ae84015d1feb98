package wal

import (
	"crypto/ed25519"
	"io"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Workbench does what a commit costs in CPU time, step by step on one record and without a disk, a queue or a second
// goroutine, so that it can be measured from outside. It makes no ledger. It is not safe for concurrent use.
type Workbench struct {
	l     *Log
	c     *chain
	it    item
	batch []*item
	text  []byte
}

// NewWorkbench returns a workbench that signs with the key and draws ids from the source.
func NewWorkbench(key ed25519.PrivateKey, random io.Reader) (*Workbench, error) {
	signer, err := ledger.NewSigner(ledger.Origin("bench.example", ledger.InstanceTenant, "bench"), key)
	if err != nil {
		return nil, err
	}
	l := &Log{signer: signer, opt: Options{Config: DefaultConfig(), Instance: "bench", Now: time.Now, Rand: random}}
	l.batches.New = func() any { return new(batch) }
	l.w.size, l.w.off = l.opt.SegmentBytes, headerBytes
	return &Workbench{l: l, c: &chain{name: "bench"}}, nil
}

// Encode checks a record, fills in what is missing and makes the bytes of its leaf. It returns their number.
func (w *Workbench) Encode(r *ledger.Record) (int, error) {
	if err := w.l.encode(r, &w.it); err != nil {
		return 0, err
	}
	return w.it.leafLen, nil
}

// Seal hashes the leaf that was encoded last, computes its chain MAC, grows the tree by it and lays its frame with the
// CRC: all that the log does with the bytes of a record before it writes them.
func (w *Workbench) Seal() {
	w.it.leaf = merkle.LeafHash(w.it.buf[:w.it.leafLen])
	w.l.w.buf = w.l.w.buf[:0]
	w.l.layFrame(w.c, &w.it)
}

// Receipts builds the tree over n copies of the leaf, signs its root, and makes the proof and the text of each of the
// n receipts. It returns the length of the last.
func (w *Workbench) Receipts(n int) (int, error) {
	for len(w.batch) < n {
		w.batch = append(w.batch, new(item))
	}
	q := w.batch[:n]
	for _, it := range q {
		it.leaf, it.buf, it.leafLen = w.it.leaf, w.it.buf, w.it.leafLen
	}
	b := w.l.signRoot(q)
	defer w.l.leave(b)
	for _, it := range q {
		var err error
		if w.text, err = w.l.appendReceipt(it, w.text[:0]); err != nil {
			return 0, err
		}
	}
	return len(w.text), nil
}
