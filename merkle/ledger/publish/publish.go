// Package publish shows the ledger to the world: for each tenant a checkpoint that the instance signed.
package publish

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// maxCheckpoint bounds a checkpoint file in bytes.
const maxCheckpoint = 32 << 10

// Options is what a publisher needs.
type Options struct {
	FS       disk.FS // nil: the operating system's
	Dir      string  // the ledger's folder
	Instance string
	Origin   string // HOST in the origins of checkpoints
	Signer   ed25519.PrivateKey
}

// Publisher signs and writes checkpoints. It is safe for concurrent use; Publish is called by one goroutine.
type Publisher struct {
	opt    Options
	signer ledger.Signer

	mu    sync.RWMutex // guards what follows
	notes map[string]*note
}

// note is the latest checkpoint of a tenant.
type note struct {
	ledger.Checkpoint
	text []byte
}

// Open reads what was published before. A checkpoint that its own key did not sign is wal.ErrCorrupt.
func Open(o Options) (*Publisher, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	signer, err := ledger.NewSigner(ledger.Origin(o.Origin, ledger.InstanceTenant, o.Instance), o.Signer)
	if err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	notes, err := readNotes(o.FS, o.Dir, ledger.VerifierKeys{signer.Public}, o.Instance)
	if err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	return &Publisher{opt: o, signer: signer, notes: notes}, nil
}

// readNotes reads the checkpoints in a ledger's folder. With no keys their signatures are not checked.
func readNotes(on disk.FS, dir string, keys ledger.VerifierKeys, instance string) (map[string]*note, error) {
	names, err := on.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	out := map[string]*note{}
	for _, tenant := range names {
		if !ledger.ValidTenant(tenant) {
			continue
		}
		text, err := disk.ReadSmall(on, checkpointName(dir, tenant), maxCheckpoint)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoint of %s: %w", tenant, err)
		}
		cp, err := openNote(text, keys)
		if err != nil {
			return nil, fmt.Errorf("%w: checkpoint of %s: %w", wal.ErrCorrupt, tenant, err)
		}
		if cp.Size == 0 || instance != "" && !strings.HasSuffix(cp.Origin, ledger.Origin("", tenant, instance)) {
			return nil, fmt.Errorf("%w: checkpoint of %s is of %q, size %d", wal.ErrCorrupt, tenant, cp.Origin, cp.Size)
		}
		out[tenant] = &note{cp, text}
	}
	return out, nil
}

func openNote(text []byte, keys ledger.VerifierKeys) (ledger.Checkpoint, error) {
	if len(keys) == 0 {
		return ledger.ReadCheckpoint(text)
	}
	return ledger.OpenCheckpoint(text, keys)
}

func checkpoints(notes map[string]*note) map[string]ledger.Checkpoint {
	out := make(map[string]ledger.Checkpoint, len(notes))
	for tenant, n := range notes {
		out[tenant] = n.Checkpoint
	}
	return out
}

// Signed returns the latest checkpoints: what the log must reach, and agree with.
func (p *Publisher) Signed() map[string]ledger.Checkpoint {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return checkpoints(p.notes)
}

// Publish signs and writes the checkpoints of trees that grew, all of them durable.
func (p *Publisher) Publish(_ context.Context, heads []wal.Head) error {
	for i := range heads {
		h := &heads[i]
		cp := ledger.Checkpoint{
			Origin: ledger.Origin(p.opt.Origin, h.Tenant, p.opt.Instance), Size: h.Tree.Size(), Root: h.Tree.Root(),
		}
		text, err := cp.Sign(p.signer)
		if err != nil {
			return err
		}
		if err := disk.ReplaceFile(p.opt.FS, checkpointName(p.opt.Dir, h.Tenant), text); err != nil {
			return fmt.Errorf("write checkpoint of %s: %w", h.Tenant, err)
		}
		p.mu.Lock()
		p.notes[h.Tenant] = &note{cp, text}
		p.mu.Unlock()
	}
	return nil
}

// Checkpoint returns a tenant's latest signed checkpoint, wal.ErrTenant when there is none yet.
func (p *Publisher) Checkpoint(tenant string) ([]byte, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if n := p.notes[tenant]; n != nil {
		return append([]byte(nil), n.text...), nil
	}
	return nil, fmt.Errorf("checkpoint of %s: %w", filepath.Base(tenant), wal.ErrTenant)
}

// checkpointName is where a tenant's latest signed checkpoint lies.
func checkpointName(dir, tenant string) string { return filepath.Join(dir, tenant, "checkpoint") }
