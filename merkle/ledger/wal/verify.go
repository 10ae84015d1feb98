package wal

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
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
	// Progress, when set, is told the bytes read so far, some dozen records apart.
	Progress func(bytes int64)
	FS       disk.FS // nil: the operating system's
	// Keys are the pinned public keys: one of them must have signed the states that the log stored. Without them nobody
	// vouches for the base of a pruned log, and a note says so.
	Keys ledger.VerifierKeys
	// Each, when set, is told every record as it is read. Its error ends the verification.
	Each func(*Seen) error
}

// Seen is a record of a log that is verified, and what it comes to. It is valid during the call only.
type Seen struct {
	Tenant string
	Index  uint64 // in its tenant's tree
	Leaf   []byte
	Hash   merkle.Hash      // of the leaf
	Tree   *merkle.Frontier // of the tenant's records so far; must not be changed
	Tile   *merkle.Hash     // what the last 256 leaves hash to, when this one fills a tile; else nil
}

// tileHeight is the level of Seen.Tile.
const tileHeight = 8

// openCalls are the ids of admitted records without a settled one, and their tenants.
type openCalls map[[26]byte]uint32

func (o openCalls) begin(s *state) error {
	if s == nil {
		return nil
	}
	u, err := s.table.table(len(s.chains))
	if err != nil {
		return fmt.Errorf("%w: base of the pruned log: %w", ErrCorrupt, err)
	}
	for id, c := range u.open {
		o[id] = c.tenant
	}
	return nil
}

func (o openCalls) replay(tenant uint32, r *ledger.Record) {
	switch r.Kind {
	case ledger.Admitted:
		o[idKey(r.ID)] = tenant
	case ledger.Settled:
		if t, ok := o[idKey(r.Of)]; ok && t == tenant {
			delete(o, idKey(r.Of))
		}
	default:
	}
}

// Report says what was checked and what was not.
type Report struct {
	Instance   string
	Generation uint64 // how often its history began, see Restore
	First      uint64 // number of the first segment that is kept
	Pruned     uint64 // records before it: not there to be read, their trees are in the base
	BaseSigned bool   // a pinned key signed the base of a pruned log
	Segments   int    // that are kept
	Records    uint64 // those that were pruned included
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
// checkpoints, and that nothing stands after the end of the data. Index files, which are made from the log, are compared with it: one
// that differs is no damage, and is noted. It returns an error at the first bad place, a
// *CorruptError also found in the report where it has a place. It changes nothing.
func Verify(ctx context.Context, dir string, o VerifyOptions) (Report, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	keys := publicKeys(o.Keys)
	base, err := readBase(o.FS, dir, "", keys...)
	if err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	calls := openCalls{}
	r := &replay{fs: o.FS, dir: dir, first: base.first(), progress: o.Progress, uses: calls, workers: runtime.GOMAXPROCS(0)}
	if base != nil {
		r.instance = base.instance
	}
	if r.generation, err = ReadGeneration(o.FS, dir, keys...); err != nil {
		return Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	note := r.expect(base, keys)
	if o.K0 != nil {
		if len(o.K0) != 32 {
			return Report{}, fmt.Errorf("verify ledger: %w: k_0 has %d bytes", ErrKeys, len(o.K0))
		}
		r.key, r.keys = chainKey{key: [32]byte(o.K0)}, true
	}
	r.pins = o.Signed
	r.each = o.Each
	r.rows = &matching{fs: o.FS, dir: dir, part: noPart}
	if err = calls.begin(base); err == nil {
		err = r.begin(base)
	}
	if err == nil {
		err = r.run(ctx)
	}
	if err == nil {
		r.rows.finish()
	}
	if err == nil && r.tail.torn != nil {
		err = r.tail.torn
	}
	if err == nil {
		err = checkNames(r, o.Signed, o.FS)
	}
	rep := r.summary(o.Signed)
	rep.Notes = append(append(rep.Notes, note...), r.rows.notes()...)
	if base != nil {
		rep.First = base.first()
		rep.Pruned = base.records
		rep.BaseSigned = len(keys) > 0
	}
	if bad, ok := errors.AsType[*CorruptError](err); ok {
		rep.Bad = bad
	}
	if err != nil {
		return rep, fmt.Errorf("verify ledger: %w", err)
	}
	return rep, nil
}

// publicKeys are the keys that states can be signed with.
func publicKeys(keys ledger.VerifierKeys) []ed25519.PublicKey {
	var out []ed25519.PublicKey
	for i := range keys {
		if keys[i].Type() == ledger.KeyEd25519 {
			out = append(out, keys[i].Key)
		}
	}
	return out
}

// expect has the walk come to the stored state, if there is one that can be believed. It says what is not checked of it.
func (r *replay) expect(base *state, keys []ed25519.PublicKey) (notes []string) {
	if base != nil && len(keys) == 0 {
		notes = append(notes, "the base of the pruned log: signature not checked, no pinned keys")
	}
	s, err := readState(r.fs, snapshotName(r.dir), stateSnapshot, keys...)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		notes = append(notes, fmt.Sprintf("the stored state is of no use, the next start reads the whole log: %v", err))
	case len(keys) > 0 && !s.tail().at.before(base.start()) && s.generation == r.generation:
		r.meets = s
	}
	return notes
}

// checkNames checks what can be judged only after the instance's name is known.
func checkNames(r *replay, signed map[string]ledger.Checkpoint, on disk.FS) error {
	numbers, err := segmentNumbers(on, r.dir, r.first, everySegment)
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
	if r.told > r.generation {
		return fmt.Errorf("%w: generation %d is recorded, the generation file says %d", ErrCorrupt, r.told, r.generation)
	}
	if boot < r.boot || boot == 0 {
		return fmt.Errorf("%w: boot %d is recorded, the boot file says %d", ErrCorrupt, r.boot, boot)
	}
	for tenant, s := range signed {
		if !strings.HasSuffix(s.Origin, ledger.Origin("", tenant, InstanceName(r.instance, r.generation))) {
			return fmt.Errorf("%w: checkpoint of %s is of %q", ErrCorrupt, tenant, s.Origin)
		}
	}
	return nil
}

func (r *replay) summary(signed map[string]ledger.Checkpoint) Report {
	rep := Report{
		Instance: r.instance, Generation: r.generation, Records: r.records, Unknown: r.unknown, Boots: r.boot,
		Chain:    r.keys && r.unchecked == 0,
		Segments: int(r.tail.at.segment-r.first) + 1,
	}
	if calls, ok := r.uses.(openCalls); ok {
		rep.Open = len(calls)
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
	for name, p := range r.below {
		rep.Notes = append(rep.Notes, fmt.Sprintf("the checkpoint of %s, at %d records, is of a part that was pruned", name, p.Size))
	}
	if !rep.Chain {
		rep.Notes = append(rep.Notes, "chain MACs not checked: no k_0")
	}
	return rep
}
