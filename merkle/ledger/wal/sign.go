package wal

import (
	"crypto/ed25519"
	"sync/atomic"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// batch is the tree over the leaves that one signature covers. It is shared by the callers, who each
// build their own proof from it, and reused when the last of them is done.
type batch struct {
	nodes []merkle.Hash // level by level, leaves first
	size  int
	sig   [ed25519.SignatureSize]byte
	users atomic.Int32
	text  []byte // what is signed
}

// build computes the RFC 6962 tree: pairs are hashed, an odd last node moves up as it is.
func (b *batch) build(items []*item) merkle.Hash {
	b.size = len(items)
	b.nodes = b.nodes[:0]
	for _, it := range items {
		b.nodes = append(b.nodes, it.leaf)
	}
	for level, n := 0, b.size; n > 1; n = (n + 1) / 2 {
		for i := 0; i+1 < n; i += 2 {
			b.nodes = append(b.nodes, merkle.NodeHash(b.nodes[level+i], b.nodes[level+i+1]))
		}
		if n%2 == 1 {
			b.nodes = append(b.nodes, b.nodes[level+n-1])
		}
		level += n
	}
	return b.nodes[len(b.nodes)-1]
}

// proof appends the inclusion proof of leaf i.
func (b *batch) proof(dst []merkle.Hash, i int) []merkle.Hash {
	for level, n := 0, b.size; n > 1; n = (n + 1) / 2 {
		if sibling := i ^ 1; sibling < n {
			dst = append(dst, b.nodes[level+sibling])
		}
		level, i = level+n, i/2
	}
	return dst
}

func (l *Log) runSigner() {
	defer close(l.signed)
	var q []*item
	for {
		q = l.take(&l.signq, &l.signing, q)
		n := len(q)
		if n > 0 {
			l.signBatch(q)
		}
		if q = l.release(&l.signing, q); n > 0 {
			continue
		}
		select {
		case <-l.sign:
		case <-l.written:
			if l.drained(&l.signq) {
				return
			}
		}
	}
}

// signBatch signs the root over the batch's leaves, all of them durable, and answers the callers.
func (l *Log) signBatch(q []*item) {
	b := l.signRoot(q)
	for _, it := range q {
		if !it.answer(nil) {
			l.leave(b)
		}
	}
	l.leave(b)
	l.view.Lock()
	l.stats.Signatures++
	l.view.Unlock()
}

// signRoot builds the tree over the leaves of items that nobody was answered for yet, and signs its root. Each item
// and the caller is a user of the batch.
func (l *Log) signRoot(q []*item) *batch {
	b := l.batches.Get().(*batch)
	root := b.build(q)
	pub := &l.signer.Public
	b.text = ledger.AppendReceiptMessage(b.text[:0], pub.Name, uint32(b.size), root)
	copy(b.sig[:], ed25519.Sign(l.signer.Private, b.text))
	b.users.Store(int32(len(q)) + 1)
	for i, it := range q {
		it.batch, it.index = b, i
	}
	return b
}

// leave gives a batch back after its last user.
func (l *Log) leave(b *batch) {
	if b.users.Add(-1) == 0 {
		l.batches.Put(b)
	}
}

// appendReceipt builds the receipt of a signed item in the caller's goroutine.
func (l *Log) appendReceipt(it *item, dst []byte) ([]byte, error) {
	b := it.batch
	it.batch = nil
	it.proof = b.proof(it.proof[:0], it.index)
	pub := &l.signer.Public
	r := ledger.Receipt{
		Origin: pub.Name, KeyHash: pub.Hash, Index: uint32(it.index), Size: uint32(b.size),
		Proof: it.proof, Signature: b.sig, Leaf: it.buf[:it.leafLen],
	}
	l.leave(b)
	raw, err := r.AppendBinary(it.raw[:0])
	it.raw = raw
	if err != nil {
		return dst, err
	}
	return ledger.AppendReceiptText(dst, raw), nil
}
