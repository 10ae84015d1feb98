package ledger

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"path/filepath"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// subject keeps records. Each writer has a record of its own, which keep gives a new id and a new time.
type subject interface {
	// keep returns when the record is kept, as well as the subject does it.
	keep(ctx context.Context, w *writer) error
	// batches is how many commits there were; 0: not known.
	batches() uint64
	Close() error
}

// writer is what one that writes reuses.
type writer struct {
	record  *ledger.Record
	buf     []byte
	done    chan error
	receipt []byte
}

func newWriter() *writer {
	return &writer{record: sample(ledger.Admin), done: make(chan error, 1)}
}

// log is the ledger as the gateway opens it, without anybody who publishes or follows.
type log struct {
	*wal.Log
	receipts bool
}

func openSync(dir string) (subject, error)  { return openLog(dir, wal.SyncDisk, false) }
func openWrite(dir string) (subject, error) { return openLog(dir, wal.SyncWrite, false) }

// openReceipts opens a log whose records are settled with a receipt.
func openReceipts(dir string) (subject, error) { return openLog(dir, wal.SyncDisk, true) }

func logOptions(dir, mode string) wal.Options {
	c := wal.DefaultConfig()
	c.Sync = mode
	c.Deadline = 10 * time.Second // how slow the disk may be is not the question here
	seed := [ed25519.SeedSize]byte{1}
	return wal.Options{
		Config: c, Dir: filepath.Join(dir, "ledger"), Instance: "bench", Origin: "bench.example",
		Signer:       ed25519.NewKeyFromSeed(seed[:]),
		ChainKeyFile: filepath.Join(dir, "chain"), RootKeyFile: filepath.Join(dir, "root"),
		Now: time.Now, Rand: rand.Reader,
	}
}

func openLog(dir, mode string, receipts bool) (subject, error) {
	l, err := wal.Open(context.Background(), logOptions(dir, mode))
	if err != nil {
		return nil, err
	}
	s := log{l, false}
	for l.Stats().Segment == 0 { // the first segment was made in haste
		if _, err := drive(context.Background(), s, writers[0], 10*time.Millisecond); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	for !l.Stats().Spare { // what is made in advance is made before the clock runs
		time.Sleep(time.Millisecond)
	}
	s.receipts = receipts
	return s, nil
}

func (l log) keep(ctx context.Context, w *writer) error {
	w.record.ID, w.record.Time = "", 0
	if !l.receipts {
		_, err := l.Append(ctx, w.record)
		return err
	}
	var err error
	_, w.receipt, err = l.Settle(ctx, w.record, w.receipt[:0])
	return err
}

func (l log) batches() uint64 {
	if l.receipts {
		return l.Stats().Signatures
	}
	return l.Stats().Batches
}

func (l log) Close() error { return l.Log.Close(context.Background()) }
