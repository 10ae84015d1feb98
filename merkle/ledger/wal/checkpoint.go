package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// maxCheckpoint bounds a checkpoint file in bytes.
const maxCheckpoint = 32 << 10

// signedNote is the latest checkpoint of a tenant.
type signedNote struct {
	ledger.Checkpoint
	text []byte
}

type signedNotes map[string]*signedNote

func (n signedNotes) checkpoints() map[string]*ledger.Checkpoint {
	out := make(map[string]*ledger.Checkpoint, len(n))
	for tenant, s := range n {
		out[tenant] = &s.Checkpoint
	}
	return out
}

// readPins reads the checkpoints in a ledger's folder. With no keys their signatures are not checked.
func readPins(on disk.FS, dir string, keys ledger.VerifierKeys, instance string) (signedNotes, error) {
	names, err := on.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints: %w", err)
	}
	out := signedNotes{}
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
		cp, err := openPin(text, keys)
		if err != nil {
			return nil, fmt.Errorf("%w: checkpoint of %s: %w", ErrCorrupt, tenant, err)
		}
		if cp.Size == 0 || instance != "" && !strings.HasSuffix(cp.Origin, ledger.Origin("", tenant, instance)) {
			return nil, fmt.Errorf("%w: checkpoint of %s is of %q, size %d", ErrCorrupt, tenant, cp.Origin, cp.Size)
		}
		out[tenant] = &signedNote{cp, text}
	}
	return out, nil
}

func openPin(text []byte, keys ledger.VerifierKeys) (ledger.Checkpoint, error) {
	if len(keys) == 0 {
		return ledger.ReadCheckpoint(text)
	}
	return ledger.OpenCheckpoint(text, keys)
}

// runCheckpoints signs what changed, and once more when the last record is written; then it closes the segment.
func (l *Log) runCheckpoints() {
	t := time.NewTicker(l.opt.Checkpoint)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.noteCheckpoint(l.checkpoint())
		case <-l.signed:
			err := l.checkpoint()
			l.noteCheckpoint(err)
			l.state.Lock()
			l.closeErr = errors.Join(err, l.w.file.Close())
			l.state.Unlock()
			return
		}
	}
}

func (l *Log) noteCheckpoint(err error) {
	l.view.Lock()
	l.stats.Checkpoint = err
	l.view.Unlock()
}

// checkpoint signs and publishes the tree of every tenant that changed.
func (l *Log) checkpoint() error {
	fronts, err := l.changed()
	if err != nil {
		return err
	}
	for tenant, f := range fronts {
		cp := ledger.Checkpoint{
			Origin: ledger.Origin(l.opt.Origin, tenant, l.opt.Instance), Size: f.Size(), Root: f.Root(),
		}
		text := cp.Sign(l.signer)
		if err := disk.ReplaceFile(l.opt.FS, checkpointName(l.opt.Dir, tenant), text); err != nil {
			return fmt.Errorf("write checkpoint of %s: %w", tenant, err)
		}
		l.view.Lock()
		l.checkpoints[tenant] = &signedNote{cp, text}
		l.view.Unlock()
	}
	return nil
}

// changed returns the trees that grew since their checkpoint, between two commits and durable: a tree
// whose leaves could still be lost is never signed, not even in write mode.
func (l *Log) changed() (map[string]merkle.Frontier, error) {
	l.state.Lock()
	defer l.state.Unlock()
	if err := l.poisoned(); err != nil {
		return nil, err
	}
	if l.w.pending { // else an interrupted write may still lie behind the end, to be recorded first
		if err := l.flush(true); err != nil {
			return nil, err
		}
	}
	out := map[string]merkle.Frontier{}
	l.view.RLock()
	defer l.view.RUnlock()
	for tenant, c := range l.w.chains {
		if s := l.checkpoints[tenant]; c.front.Size() > 0 && (s == nil || s.Size != c.front.Size()) {
			out[tenant] = c.front.Clone()
		}
	}
	return out, nil
}

// Checkpoint returns a tenant's latest signed checkpoint, ErrTenant when there is none yet.
func (l *Log) Checkpoint(tenant string) ([]byte, error) {
	l.view.RLock()
	defer l.view.RUnlock()
	if s := l.checkpoints[tenant]; s != nil {
		return append([]byte(nil), s.text...), nil
	}
	return nil, fmt.Errorf("checkpoint of %s: %w", filepath.Base(tenant), ErrTenant)
}
