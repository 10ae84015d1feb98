package publish

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// maxCheckpoint bounds a checkpoint file in bytes.
const maxCheckpoint = 128 << 10

// readNotes reads the tenants' checkpoints in a ledger's folder. With no keys their signatures are not checked. Those of
// an earlier generation of the instance are left out: what they say was given up when the ledger was restored.
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
		n, err := readNote(on, checkpointName(dir, tenant), keys)
		if err != nil {
			return nil, fmt.Errorf("checkpoint of %s: %w", tenant, err)
		}
		if n == nil {
			continue
		}
		_, named, of, ok := ledger.ParseOrigin(n.Origin)
		if ok && named == tenant && instance != "" && earlier(of, instance) {
			continue
		}
		if !ok || n.Size == 0 || named != tenant || instance != "" && of != instance {
			return nil, fmt.Errorf("%w: checkpoint of %s is of %q, size %d", wal.ErrCorrupt, tenant, n.Origin, n.Size)
		}
		out[tenant] = n
	}
	return out, nil
}

// readNote reads a checkpoint file, nil when there is none. One that does not read is wal.ErrCorrupt.
func readNote(on disk.FS, name string, keys ledger.VerifierKeys) (*note, error) {
	text, err := disk.ReadSmall(on, name, maxCheckpoint)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // none is no error
	}
	if err != nil && !errors.Is(err, disk.ErrLarge) {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	cp := ledger.Checkpoint{}
	if err == nil {
		cp, err = openNote(text, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", wal.ErrCorrupt, err)
	}
	return &note{cp, text}, nil
}

func openNote(text []byte, keys ledger.VerifierKeys) (ledger.Checkpoint, error) {
	if len(keys) == 0 {
		return ledger.ReadCheckpoint(text)
	}
	return ledger.OpenCheckpoint(text, keys)
}

// checkpointName is where a log's latest signed checkpoint lies.
func checkpointName(dir, tenant string) string { return filepath.Join(dir, tenant, "checkpoint") }

// cosignedName is where the latest checkpoint of the log of checkpoints lies that has cosignatures.
func cosignedName(dir string) string { return filepath.Join(dir, ledger.CheckpointsLog, "cosigned") }

// cutGeneration takes an instance's name apart: gw-1.2 is the second generation of gw-1, gw-1 the first.
func cutGeneration(instance string) (name string, generation uint64, ok bool) {
	name, digits, found := strings.Cut(instance, ".")
	if !found {
		return instance, 1, true
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return name, n, err == nil && wal.InstanceName(name, n) == instance
}

// earlier reports whether of names an earlier generation of the same instance.
func earlier(of, instance string) bool {
	a, m, ok := cutGeneration(of)
	b, n, ok2 := cutGeneration(instance)
	return ok && ok2 && a == b && m < n
}
