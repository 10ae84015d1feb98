package publish

import (
	"context"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// VerifyOptions is what an auditor brings.
type VerifyOptions struct {
	// Keys are the pinned public keys. Without them checkpoints are compared but nobody vouches for them.
	Keys ledger.VerifierKeys
	// K0 is the exported first chain key, 32 bytes. Without it the chain MACs are not checked.
	K0 []byte
	// Progress, when set, is told the bytes read so far, some thousand records apart.
	Progress func(bytes int64)
	FS       disk.FS // nil: the operating system's
}

// Verify reads a ledger's folder offline and checks every byte of it: the log as wal.Verify does, and what was published
// of it against the log and against pinned keys. It returns an error at the first bad place, a *wal.CorruptError also found
// in the report where it has a place. It changes nothing.
func Verify(ctx context.Context, dir string, o VerifyOptions) (wal.Report, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	notes, err := readNotes(o.FS, dir, o.Keys, "")
	if err != nil {
		return wal.Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	rep, err := wal.Verify(ctx, dir, wal.VerifyOptions{Signed: checkpoints(notes), K0: o.K0, Progress: o.Progress, FS: o.FS, Keys: o.Keys})
	if rep.Signatures = len(o.Keys) > 0; !rep.Signatures {
		rep.Notes = append(rep.Notes, "checkpoint signatures not checked: no pinned keys")
	}
	return rep, err
}
