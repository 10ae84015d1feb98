// Package publish shows the ledger to the world: each tenant's log as C2SP tiles with a checkpoint that the instance
// signed, and one log of those checkpoints, which witnesses cosign without seeing a tenant's.
//
// # What is durable before what
//
// A tick takes the trees that grew, all their records durable in the log, and goes on in this order: their tiles; a leaf
// for each of their checkpoints in the log of checkpoints; that log's tiles; its signed checkpoint. Only then are the
// tenants' checkpoints written, and after them that of the log of checkpoints. So nothing is signed that could be lost,
// and a tick that ends anywhere is done again by the next, or after a start. Tiles of tenants are derived: whatever is
// missing or damaged is made again from the log.
//
// # What is believed of the disk
//
// Nothing that only lies there: who can write to the folder must not have the instance sign what it did not say. Notes are
// believed for their signatures, and entries of the log of checkpoints below the largest of them for its root. An entry
// behind it, of a tick that did not come to sign, is believed when its salt is the MAC that only the instance can make;
// from the first other one on they are cut. A tenant's tiles are compared with the log before anything is proved, served
// or exported from them, and so is every checkpoint that is signed again for a proof.
package publish

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Errors that callers branch on.
var (
	// ErrNotYet is a record that no published checkpoint covers yet: the next one will.
	ErrNotYet = errors.New("not covered by a checkpoint yet")
	// ErrNoRecord is a record that the tenant's ledger does not have.
	ErrNoRecord = errors.New("no such record in the ledger")
	// ErrBehind says that tiles are still being made; the next call goes on.
	ErrBehind = errors.New("tiles are still being made")
	// ErrRolledBack is a ledger folder that is older than what is known of it elsewhere.
	ErrRolledBack = errors.New("ledger was put back to an earlier state")

	errDetached = errors.New("publisher has no log yet")
)

// Source is the log whose trees are published; *wal.Log is one.
type Source interface {
	Head(ctx context.Context, tenant string) (wal.Head, error) // the tree as it stands durably
	ReadLeaves(ctx context.Context, into *wal.Leaves, tenant string, from uint64, n int) error
	Find(ctx context.Context, tenant, id string) (wal.Entry, bool, error)
}

// Kept is a second place for the latest checkpoint of the log of checkpoints, apart from the ledger's folder: so a folder
// that was rolled back alone is noticed.
type Kept interface {
	Get(ctx context.Context) (note []byte, err error) // nil without an error: nothing is kept
	Put(ctx context.Context, note []byte) error
}

// Options is what a publisher needs.
type Options struct {
	FS       disk.FS // nil: the operating system's
	Dir      string  // the ledger's folder
	Instance string  // with its generation: wal.InstanceName
	Origin   string  // HOST in the origins of checkpoints
	Signer   ed25519.PrivateKey
	// Retiring is the key before Signer, while its last checkpoints are replaced: both sign.
	Retiring ed25519.PrivateKey
	// Retired are public keys that signed earlier checkpoints. What they signed is believed and never signed by them again.
	Retired []ed25519.PublicKey
	// Cosigners sign every checkpoint besides, such as the log's own ML-DSA-44 key.
	Cosigners []ledger.NoteSigner
	// SaltKey hides checkpoints in the log of checkpoints. nil: one derived from Signer.
	SaltKey []byte
	// Cosign asks witnesses about a checkpoint of the log of checkpoints and returns signature lines, none when it is not
	// time to ask. It is called by one goroutine at a time, and never holds a tenant's checkpoint up. nil: nobody is asked.
	Cosign func(ctx context.Context, note []byte, size uint64, proof func(old uint64) ([]merkle.Hash, error)) (sigLines []byte, err error)
	// CosignEvery is the least time between two calls of Cosign. 0: each checkpoint.
	CosignEvery time.Duration
	// CosignDeadline bounds one call of Cosign. 0 is 10 s.
	CosignDeadline time.Duration
	Kept           Kept // nil: none
	// Check is asked by OpenBook before the log is opened: its error keeps the ledger from opening, as when witnesses saw
	// more of it. nil: nobody is asked.
	Check func(ctx context.Context, p *Publisher) error
	Now   func() time.Time // nil: time.Now
}

const (
	// defaultDeadline is what witnesses are given by default.
	defaultDeadline = 10 * time.Second
	// cosignPatience is how long the checkpoint of checkpoints waits for cosignatures before it is published without.
	cosignPatience = 300 * time.Millisecond
	// workers is how many tenants are written at a time: they wait for the disk together.
	workers = 8
	// keptLeaves is how many workers' memory for records is kept from tick to tick, some 5 MiB each.
	keptLeaves = 2
)

// Publisher signs and writes checkpoints and tiles. It is safe for concurrent use.
type Publisher struct {
	opt     Options
	signers []ledger.NoteSigner
	own     ledger.VerifierKeys // the keys that checkpoints in the folder may be signed with, newest first
	// saltKeys are the keys of salts, newest first: the one that is used, and that of a retiring key.
	saltKeys [][]byte
	source   atomic.Pointer[Source]
	trees    trees
	log      *checkpoints

	leaves chan *wal.Leaves // of workers that are idle

	tick sync.Mutex // held for a whole tick
	mu   sync.RWMutex
	// notes are the latest checkpoints; guarded by mu, as stats.
	notes map[string]*note
	stats Stats

	ctx    context.Context //nolint:containedctx // of the goroutine that asks witnesses
	cancel context.CancelFunc
	asking sync.WaitGroup
}

// note is a signed checkpoint.
type note struct {
	ledger.Checkpoint
	text []byte
}

// Stats says how publishing stands.
type Stats struct {
	Tenants  int       // that have a checkpoint
	Behind   int       // whose tiles were not ready at the last tick
	Rebuilt  uint64    // whose tiles were made again because they were missing or damaged, since the start
	Cut      uint64    // entries of the log of checkpoints that nobody signed and the instance never wrote: they were cut
	Last     time.Time // of the last tick that published everything
	Err      error     // of the last tick
	Size     uint64    // of the log of checkpoints, as published
	Cosigned uint64    // its size when witnesses last cosigned it, 0: never
	// Cosignatures counts signature lines of witnesses since the start.
	Cosignatures uint64
	CosignErr    error // of the last time witnesses were asked
}

// Open reads what was published before. A checkpoint that no own key signed is wal.ErrCorrupt; a log of checkpoints
// behind its checkpoint, or behind the kept one, is ErrRolledBack.
func Open(o Options) (*Publisher, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Publisher{opt: o, leaves: make(chan *wal.Leaves, keptLeaves)}
	if err := p.open(); err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	return p, nil
}

func (p *Publisher) open() (err error) {
	if err := p.openKeys(); err != nil {
		return err
	}
	p.trees = trees{on: p.opt.FS, dir: p.opt.Dir}
	if p.notes, err = readNotes(p.opt.FS, p.opt.Dir, p.own, p.opt.Instance); err != nil {
		return err
	}
	if p.log, err = p.openLog(); err != nil {
		return err
	}
	if err := p.checkKept(); err != nil {
		return err
	}
	if err := p.trust(p.log.tree, p.log.signed); err != nil {
		return wrapLog(err)
	}
	if err := p.recall(); err != nil {
		return err
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return nil
}

// openKeys names the keys: all are the instance's, whatever the generation.
func (p *Publisher) openKeys() error {
	instance, _, _ := cutGeneration(p.opt.Instance)
	name := ledger.Origin(p.opt.Origin, ledger.InstanceTenant, instance)
	signer, err := ledger.NewSigner(name, p.opt.Signer)
	if err != nil {
		return err
	}
	p.signers, p.own = []ledger.NoteSigner{signer}, ledger.VerifierKeys{signer.Public}
	if p.opt.Retiring != nil {
		old, err := ledger.NewSigner(name, p.opt.Retiring)
		if err != nil {
			return err
		}
		p.signers, p.own = append(p.signers, old), append(p.own, old.Public)
	}
	for _, public := range p.opt.Retired {
		k, err := ledger.NewVerifierKey(name, public)
		if err != nil {
			return err
		}
		p.own = append(p.own, k)
	}
	p.signers = append(p.signers, p.opt.Cosigners...)
	if p.opt.SaltKey != nil {
		p.saltKeys = [][]byte{p.opt.SaltKey}
		return nil
	}
	p.saltKeys = [][]byte{saltKey(p.opt.Signer)}
	if p.opt.Retiring != nil {
		p.saltKeys = append(p.saltKeys, saltKey(p.opt.Retiring))
	}
	return nil
}

func saltKey(signer ed25519.PrivateKey) []byte {
	return keyed(signer.Seed(), []byte("gatewright/checkpoint-salt/v1"))
}

func keyed(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(nil)
}

// Attach gives the publisher the log that it publishes. Before that, nothing is published.
func (p *Publisher) Attach(s Source) { p.source.Store(&s) }

// Signed returns the latest checkpoints: what the log must reach, and agree with.
func (p *Publisher) Signed() map[string]ledger.Checkpoint {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make(map[string]ledger.Checkpoint, len(p.notes))
	for tenant, n := range p.notes {
		out[tenant] = n.Checkpoint
	}
	p.log.mu.RLock()
	defer p.log.mu.RUnlock()
	for tenant, at := range p.log.said { // in the log of checkpoints, perhaps cosigned, and not yet written
		if at.Size > out[tenant].Size {
			out[tenant] = at.Checkpoint
		}
	}
	return out
}

// Checkpoint returns a tenant's latest signed checkpoint, wal.ErrTenant when there is none yet.
func (p *Publisher) Checkpoint(tenant string) ([]byte, error) {
	n, err := p.note(tenant)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), n.text...), nil
}

func (p *Publisher) note(tenant string) (*note, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if n := p.notes[tenant]; n != nil {
		return n, nil
	}
	return nil, fmt.Errorf("checkpoint of %s: %w", filepath.Base(tenant), wal.ErrTenant)
}

// Publishing returns a snapshot of how it stands.
func (p *Publisher) Publishing() Stats {
	size, cosigned := p.log.published()
	p.mu.RLock()
	defer p.mu.RUnlock()
	s := p.stats
	s.Tenants, s.Size, s.Cosigned = len(p.notes), size, cosigned
	return s
}

// Keys are the keys that the checkpoints verify under, newest first.
func (p *Publisher) Keys() ledger.VerifierKeys { return append(ledger.VerifierKeys(nil), p.own...) }

// Close ends asking witnesses, when they answered or ctx ends. It follows the log's Close.
func (p *Publisher) Close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		p.asking.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	p.cancel()
	<-done
	return nil
}

// origin names a tenant's log.
func (p *Publisher) origin(tenant string) string {
	return ledger.Origin(p.opt.Origin, tenant, p.opt.Instance)
}

// sign makes a note.
func (p *Publisher) sign(cp ledger.Checkpoint) (*note, error) {
	text, err := cp.SignAt(p.opt.Now(), p.signers...)
	if err != nil {
		return nil, err
	}
	return &note{cp, text}, nil
}
