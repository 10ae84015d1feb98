package wal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// VerifyOptions is what an auditor brings.
type VerifyOptions struct {
	// Signed are the checkpoints the log must reach and agree with. Whoever reads them checks their signatures.
	Signed map[string]ledger.Checkpoint
	// K0 is the exported first chain key, 32 bytes. Without it the chain MACs are not checked.
	K0 []byte
	// Progress, when set, is told the bytes read so far, some thousand records apart.
	Progress func(bytes int64)
	FS       disk.FS // nil: the operating system's
}

// Report says what was checked and what was not.
type Report struct {
	Instance   string
	Segments   int
	Records    uint64
	Unknown    uint64 // records of a kind this version does not know; verified like all
	Open       int    // admitted records without a settled one
	Boots      uint64
	Chain      bool // all chain MACs were checked with k_0
	Signatures bool // every checkpoint was signed by a pinned key; set by whoever read them
	Tenants    []TenantReport
	Notes      []string // what was not checked, and why
	Bad        *CorruptError
}

// TenantReport is one tenant's tree.
type TenantReport struct {
	Name   string
	Size   uint64
	Root   merkle.Hash
	Signed uint64 // size of its checkpoint, 0 without one
}

// Verify reads a log offline and checks every byte of it: CRCs, sequence, chain MACs (with k_0), trees against the
// checkpoints, and that nothing stands after the end of the data. It returns an error at the first bad place, a
// *CorruptError also found in the report where it has a place. It changes nothing.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	r := &replay{fs: o.FS, dir: dir, progress: o.Progress}
	if o.K0 != nil {
		if len(o.K0) != 32 {
			return Report{}, fmt.Errorf("verify ledger: %w: k_0 has %d bytes", ErrKeys, len(o.K0))
		}
		r.key, r.keys = chainKey{key: [32]byte(o.K0)}, true
	}
	r.pins = o.Signed
	err := r.run(ctx)
	if err == nil && r.tail.torn != nil {
		err = r.tail.torn
	}
	if err == nil {
		err = checkNames(r, o.Signed, o.FS)
	}
	rep := r.summary(o.Signed)
	if bad, ok := errors.AsType[*CorruptError](err); ok {
		rep.Bad = bad
	}
	if err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	return rep, nil
}

// checkNames checks what can be judged only after the instance's name is known.
func checkNames(r *replay, signed map[string]ledger.Checkpoint, on disk.FS) error {
	numbers, err := segmentNumbers(on, r.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return &CorruptError{Reason: "no segment is there", kind: ErrTruncated}
	}
	boot, err := readBoot(on, r.dir)
	if err != nil {
		return err
	}
	if boot < r.boot || boot == 0 {
		return fmt.Errorf("%w: boot %d is recorded, the boot file says %d", ErrCorrupt, r.boot, boot)
	}
	for tenant, s := range signed {
		if !strings.HasSuffix(s.Origin, ledger.Origin("", tenant, r.instance)) {
			return fmt.Errorf("%w: checkpoint of %s is of %q", ErrCorrupt, tenant, s.Origin)
		}
	}
	return nil
}

func (r *replay) summary(signed map[string]ledger.Checkpoint) Report {
	rep := Report{
		Instance: r.instance, Records: r.records, Unknown: r.unknown, Boots: r.boot,
		Chain:    r.keys && r.unchecked == 0,
		Segments: int(r.tail.at.segment) + 1,
	}
	if r.uses != nil {
		rep.Open = len(r.uses.open)
	}
	for _, c := range r.chains {
		t := TenantReport{Name: c.name, Size: c.front.Size(), Root: c.front.Root()}
		if s, ok := signed[c.name]; ok {
			t.Signed = s.Size
		} else {
			rep.Notes = append(rep.Notes, "no checkpoint of "+c.name+": its last records could be cut off unseen")
		}
		rep.Tenants = append(rep.Tenants, t)
	}
	slices.SortFunc(rep.Tenants, func(a, b TenantReport) int { return strings.Compare(a.Name, b.Name) })
	if !rep.Chain {
		rep.Notes = append(rep.Notes, "chain MACs not checked: no k_0")
	}
	return rep
}
