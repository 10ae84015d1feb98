// Package wal is the durable ledger: one write-ahead log for all tenants of an instance, with a
// chain MAC and an RFC 6962 tree for each. One goroutine writes, so that one fdatasync serves all
// callers that wait, and a second signs one receipt root per batch.
//
// A call that returns without an error is in the log for good. A call that returns an error is a
// refusal; after ErrDeadline and ErrPoisoned its record may be in the log all the same, never
// acknowledged: an admitted record of that kind gets a settled one with outcome unknown.
//
// The log locks nothing: the caller keeps other processes out of the folder.
package wal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Options is what a log needs from outside.
type Options struct {
	Config
	Dir      string // the ledger's own folder
	Instance string // name of this gateway: [a-z0-9][a-z0-9-]{0,62}
	Origin   string // HOST in the origins of checkpoints and receipts
	Signer   ed25519.PrivateKey
	// ChainKeyFile holds the running chain key k_e, replaced in each epoch. RootKeyFile receives k_0 once,
	// when the log is made. Move it off the machine: who holds it can check every chain MAC, and forge
	// them too. Without it the trees, signatures and CRCs are still checked.
	ChainKeyFile, RootKeyFile string
	// WrapKey and UnwrapKey, when set, encrypt the content of both files.
	WrapKey, UnwrapKey func([]byte) ([]byte, error)
	Now                func() time.Time // safe for concurrent use
	Rand               io.Reader        // safe for concurrent use
	// Signed is what was signed before, read and verified by whoever publishes: a log that is behind it, or that differs
	// from it, is not opened.
	Signed map[string]ledger.Checkpoint
	// Publish gets the trees that grew, each Config.Checkpoint and once more at Close after the last record; every leaf of
	// theirs is durable and can be scanned. After an error it gets them again. nil: nothing is published.
	Publish func(ctx context.Context, heads []Head) error
	FS      disk.FS // nil: the operating system's
	// IndexCache bounds the indexes of full segments that stay in memory, in bytes: 50 for a record. 0 is 64 MiB. A search
	// that needs more reads them from the disk again.
	IndexCache int64
	// CheckFirst is how many bytes of history Open checks itself when it starts from a stored state; a longer history is
	// checked in the background, at low priority, while the log is in use. 0 is 8 MiB; negative: all is left to the
	// background.
	CheckFirst int64
	// StateEvery is how many bytes the log grows between two times its state is stored. 0 is 16 MiB.
	StateEvery int64
	// CutLastBatch lets Open cut a torn last batch even if valid frames of the same batch follow the bad
	// place, as a power cut can leave it. Danger: damage to acknowledged records of the last batch looks the same.
	CutLastBatch bool
}

func (o *Options) check() error {
	switch {
	case o.Dir == "" || o.ChainKeyFile == "" || o.RootKeyFile == "":
		return errors.New("folder and key files must be named")
	case !ledger.ValidTenant(o.Instance) || o.Instance == ledger.InstanceTenant:
		return fmt.Errorf("instance %q: want [a-z0-9][a-z0-9-]{0,62}", o.Instance)
	case o.Now == nil || o.Rand == nil:
		return errors.New("clock and randomness must be given")
	}
	return o.Validate()
}

// Mark is where a record stands: its index in the tenant's tree and its leaf there.
type Mark struct {
	Tenant string
	Index  uint64
	Leaf   merkle.Hash
}

// Log is an open ledger. It is safe for concurrent use.
type Log struct {
	opt    Options
	signer ledger.Signer
	boot   uint64
	uses   *uses
	spare  *spare
	follow *follower
	hashes hashes

	mu      sync.Mutex // guards the lists of waiting items and closing
	queue   []*item    // to be written
	taken   [2][]*item // being written, by each committer
	signq   []*item    // written, to be signed
	signing []*item    // being signed
	closing bool
	wake    chan struct{} // something waits
	help    chan struct{} // something waits while the disk is busy
	sign    chan struct{}

	state   sync.Mutex // held while a batch is laid: what it guards is durable when disk is free too
	w       writer
	disk    sync.Mutex // held while a batch is written and shown; taken after state
	out     output
	syncing atomic.Bool

	view      sync.RWMutex // guards what readers see, which is durable
	tenants   map[string]*shelf
	index     indexing
	names     []string
	counts    chan struct{}     // has room for the counts that run
	published map[string]uint64 // sizes; of the publishing goroutine alone
	stats     Stats

	gen     Generation
	told    uint64 // generation that the log's own records announced last; Log.state guards it
	clock   int64  // highest time that recovery saw, unix microseconds
	unknown uint64 // records of kinds of a newer version
	saver   saver
	audit   *audit        // what is to be checked in the background, nil: nothing
	audited chan struct{} // closed when that has ended
	prune   struct {
		mu   sync.Mutex // held while pruning; guards all below
		base *state     // where the log begins, nil: at its beginning
	}

	generation atomic.Uint64
	poison     atomic.Pointer[error]
	items      sync.Pool
	batches    sync.Pool

	stop      chan struct{} // closed when closing begins
	written   chan struct{} // closed when the writer has ended
	signed    chan struct{} // closed when the signer has ended
	wg        sync.WaitGroup
	closeErr  error
	torn      *CorruptError // what recovery found, for the record of it
	tornBytes int64
	last      lastFrame
	once      sync.Once
}

// Stats are counts since the log was opened, and its state now.
type Stats struct {
	Records, Batches, Signatures uint64
	Queue                        int // records that wait
	Open                         int // admitted and not settled
	Plans                        int // plans whose uses are counted
	Tenants                      int
	Boot, Segment                uint64
	Ready                        bool   // accepts records, and the next segment is there or being made
	Spare                        bool   // the next segment is there
	Err                          error  // why it is not ready
	Behind                       bool   // somebody who follows is served from the disk
	Remade                       uint64 // indexes that differed from the records they were made from, and were made again
	Index                        error  // why indexes could not be saved last time; they are made again when they are wanted
	Publish                      error  // why the trees could not be published last time
	Started                      string // from where the log was started, and why the stored state was not believed
	Snapshot                     error  // why the state could not be stored last time
	Verified, VerifyOf           uint64 // records of the history that were checked in full, and all there are to check
	Verify                       error  // why the history could not be checked, or what the check found
}

// Open makes a log ready to append. It goes on from the state that was stored last and reads what was written since; what
// stands before is checked in the background, and damage that is found there poisons the log. Without a stored state that
// can be believed the whole log is read first. Open refuses a log that is damaged where it reads, cut behind a signed
// checkpoint or a stored state, or of a newer version.
func Open(ctx context.Context, opt Options) (*Log, error) {
	if opt.FS == nil {
		opt.FS = disk.OS{}
	}
	if err := opt.check(); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	signer, err := ledger.NewSigner(ledger.Origin(opt.Origin, ledger.InstanceTenant, opt.Instance), opt.Signer)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := newLog(opt, signer)
	if err := l.recover(ctx); err != nil {
		return nil, fmt.Errorf("open ledger: %w", errors.Join(err, l.closeFiles()))
	}
	l.start()
	if err := l.settleLeftovers(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.Close(ctx))
	}
	return l, nil
}

func newLog(opt Options, signer ledger.Signer) *Log {
	l := &Log{
		opt: opt, signer: signer, uses: newUses(), tenants: map[string]*shelf{}, published: map[string]uint64{},
		wake: make(chan struct{}, 1), help: make(chan struct{}, 1), sign: make(chan struct{}, 1),
		counts: make(chan struct{}, maxCounts),
		stop:   make(chan struct{}), written: make(chan struct{}), signed: make(chan struct{}), audited: make(chan struct{}),
	}
	l.index = newIndexing(&l.opt, source{l})
	l.items.New = func() any { return &item{done: make(chan struct{}, 1)} }
	l.batches.New = func() any { return new(batch) }
	return l
}

func (l *Log) start() {
	kick(l.spare.wake)
	l.follow.count(l.w.chains)
	l.index.began = true
	l.wg.Add(8)
	for _, run := range []func(){l.runWriter, l.runSigner, l.runWatch, l.runSpare, l.runPublish, l.runIndex, l.runSave, l.runAudit} {
		go func() {
			defer l.wg.Done()
			run()
		}()
	}
}

// checkFirst is how many bytes of history Open checks before it returns.
func (o *Options) checkFirst() int64 {
	if o.CheckFirst == 0 {
		return 8 << 20
	}
	return o.CheckFirst
}

// keys are those that states of the log may be signed with: the one in force alone, see Resign.
func (l *Log) keys() []ed25519.PublicKey {
	return []ed25519.PublicKey{l.signer.Public.Key}
}

// VerifierKey is the public key that receipts and checkpoints verify under.
func (l *Log) VerifierKey() ledger.VerifierKey { return l.signer.Public }

// Boot counts the starts of this log.
func (l *Log) Boot() uint64 { return l.boot }

// Size returns the number of durable records of a tenant.
func (l *Log) Size(tenant string) uint64 {
	l.view.RLock()
	defer l.view.RUnlock()
	if s := l.tenants[tenant]; s != nil {
		return s.size
	}
	return 0
}

// Tenants returns the tenants that have records, in order of their first.
func (l *Log) Tenants() []string {
	l.view.RLock()
	defer l.view.RUnlock()
	return append([]string(nil), l.names...)
}

// Stats returns a snapshot.
func (l *Log) Stats() Stats {
	l.view.RLock()
	s := l.stats
	s.Tenants = len(l.names)
	l.view.RUnlock()
	l.mu.Lock()
	s.Queue = len(l.queue) + len(l.taken[0]) + len(l.taken[1])
	closing := l.closing
	l.mu.Unlock()
	l.uses.mu.RLock()
	s.Open, s.Plans = len(l.uses.open), len(l.uses.plans)
	l.uses.mu.RUnlock()
	s.Boot, s.Behind = l.boot, l.follow.behind()
	switch p := l.poison.Load(); {
	case closing:
		s.Err = ErrClosed
	case p != nil:
		s.Err = *p
	default:
		var made int
		made, s.Err = l.spare.status()
		s.Spare = made == segmentAhead
	}
	s.Ready = s.Err == nil
	return s
}

// Close refuses new records, writes and signs what waits, publishes the last trees and ends all
// goroutines. It returns early with ctx's error when the disk does not answer.
func (l *Log) Close(ctx context.Context) error {
	l.once.Do(func() {
		l.mu.Lock()
		l.closing = true
		l.mu.Unlock()
		close(l.stop)
	})
	done := make(chan struct{})
	go func() {
		l.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return l.closeErr
	case <-ctx.Done():
		return fmt.Errorf("close ledger: %w", context.Cause(ctx))
	}
}

// closeFiles closes what recovery opened when no goroutine runs.
func (l *Log) closeFiles() error {
	var err error
	if l.w.file != nil {
		err = l.w.file.Close()
	}
	if l.spare != nil {
		l.spare.close()
	}
	return err
}

// fail poisons the log. The first cause stays.
func (l *Log) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrPoisoned, cause)
	l.poison.CompareAndSwap(nil, &err)
	return *l.poison.Load()
}

func (l *Log) poisoned() error {
	if p := l.poison.Load(); p != nil {
		return *p
	}
	return nil
}
