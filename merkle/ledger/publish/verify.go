package publish

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
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

// Verify reads a ledger's folder offline and checks every byte of it: the log as wal.Verify does, what was published of
// it against pinned keys, and every tile, bundle and entry of the log of checkpoints against the log. It returns an error
// at the first bad place, a *wal.CorruptError also found in the report where it has a place. Tiles that are missing or
// behind are no damage: they are made from the log, and the report's notes say so. It changes nothing.
func Verify(ctx context.Context, dir string, o VerifyOptions) (wal.Report, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	v := &verifier{on: o.FS, dir: dir, keys: o.Keys, tenants: map[string]*audited{}}
	defer v.close()
	if err := v.begin(ctx); err != nil {
		return wal.Report{}, fmt.Errorf("verify ledger: %w", err)
	}
	rep, err := wal.Verify(ctx, dir, wal.VerifyOptions{
		Signed: v.signed(), K0: o.K0, Progress: o.Progress, FS: o.FS, Keys: o.Keys, Each: v.record,
	})
	if err == nil {
		if err = v.end(ctx, rep.Tenants); err != nil {
			err = fmt.Errorf("verify ledger: %w", err)
		}
	}
	rep.Notes = append(rep.Notes, v.notes...)
	if rep.Signatures = len(o.Keys) > 0; !rep.Signatures {
		rep.Notes = append(rep.Notes, "checkpoint signatures not checked: no pinned keys")
	}
	return rep, err
}

// verifier is an audit under way.
type verifier struct {
	on      disk.FS
	dir     string
	keys    ledger.VerifierKeys
	tenants map[string]*audited
	notes   []string
}

// audited is one tenant.
type audited struct {
	name   string
	note   *note               // nil: none was published
	said   []ledger.Checkpoint // in the log of checkpoints, as they stand there
	whole  bool                // its records are seen from the first on
	tree   *tile.Tree          // nil: no tiles
	tiles  *tile.Checker       // of the tree
	looked bool                // for tiles
}

func (v *verifier) tenant(name string) *audited {
	a := v.tenants[name]
	if a == nil {
		a = &audited{name: name}
		v.tenants[name] = a
	}
	return a
}

// begin reads what was signed.
func (v *verifier) begin(ctx context.Context) error {
	notes, err := readNotes(v.on, v.dir, v.keys, "")
	if err != nil {
		return err
	}
	for tenant, n := range notes {
		v.tenant(tenant).note = n
	}
	if err := v.beginLog(ctx); err != nil {
		return fmt.Errorf("%w: log of checkpoints: %w", wal.ErrCorrupt, err)
	}
	return nil
}

// beginLog checks the log of checkpoints by itself and keeps what it says of the tenants.
func (v *verifier) beginLog(ctx context.Context) error {
	dir := filepath.Join(v.dir, ledger.CheckpointsLog)
	tree, err := tile.Open(v.on, dir)
	if err != nil {
		return err
	}
	var signed *note
	var sizes []uint64
	for _, name := range []string{cosignedName(v.dir), checkpointName(v.dir, ledger.CheckpointsLog)} {
		n, err := readNote(v.on, name, v.keys)
		if err != nil {
			return err
		}
		if n == nil {
			continue
		}
		if _, tenant, _, ok := ledger.ParseOrigin(n.Origin); !ok || tenant != ledger.CheckpointsLog {
			return fmt.Errorf("its checkpoint is of %q", n.Origin)
		}
		if err := reaches(tree, n.Checkpoint); err != nil {
			return err
		}
		sizes = []uint64{n.Size} // partial files of the published one alone: those of the cosigned one may be gone
		if signed == nil || n.Size > signed.Size {
			signed = n
		}
	}
	if err := tree.Verify(ctx, nil, sizes...); err != nil {
		return err
	}
	if signed == nil {
		return nil
	}
	return v.readSaid(ctx, tree, signed)
}

// readSaid reads the entries that were signed. Those of an earlier generation speak of a history that was given up.
func (v *verifier) readSaid(ctx context.Context, tree *tile.Tree, signed *note) error {
	host, _, instance, _ := ledger.ParseOrigin(signed.Origin)
	for from := tree.Begin(0); from < signed.Size; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		entries, err := tree.Entries(from, int(min(signed.Size-from, tile.Width))) //nolint:gosec // at most tile.Width
		if err != nil {
			return err
		}
		for _, e := range entries {
			cp, err := ledger.ParseCheckpointBody(e[min(len(e), ledger.SaltSize):])
			of, tenant, in, ok := ledger.ParseOrigin(cp.Origin)
			switch {
			case err != nil || !ok || of != host || !ledger.ValidTenant(tenant) || in != instance && !earlier(in, instance):
				return fmt.Errorf("entry %d is no checkpoint of this instance", from)
			case in == instance:
				a := v.tenant(tenant)
				a.said = append(a.said, cp)
			}
			from++
		}
	}
	return nil
}

// signed are the pins of the log: the newest of each tenant.
func (v *verifier) signed() map[string]ledger.Checkpoint {
	out := map[string]ledger.Checkpoint{}
	for name, a := range v.tenants {
		if a.note != nil {
			out[name] = a.note.Checkpoint
		}
	}
	return out
}

// record takes a record of the log.
func (v *verifier) record(r *wal.Seen) error {
	a := v.tenant(r.Tenant)
	if !a.looked {
		a.looked, a.whole = true, r.Index == 0
		if err := v.openTiles(a, r.Index); err != nil {
			return err
		}
	}
	if a.whole {
		if err := a.compare(r.Tree); err != nil {
			return err
		}
	}
	if a.tiles == nil || r.Index < a.tiles.Next() {
		return nil
	}
	tile := r.Tile
	if !a.whole {
		tile = nil // it hangs on the base of a pruned log; the checker hashes what it was given
	}
	if err := a.tiles.Add(r.Leaf, r.Hash, tile); err != nil {
		return fmt.Errorf("%w: tiles of %s: %w", wal.ErrCorrupt, r.Tenant, err)
	}
	return nil
}

// compare holds the tree against what the log of checkpoints says of this size.
func (a *audited) compare(tree *merkle.Frontier) error {
	for len(a.said) > 0 && a.said[0].Size <= tree.Size() {
		if a.said[0].Size != tree.Size() || a.said[0].Root != tree.Root() {
			return fmt.Errorf("%w: the log of checkpoints has another root of %s at size %d", wal.ErrCorrupt, a.name, a.said[0].Size)
		}
		a.said = a.said[1:]
		for len(a.said) > 0 && a.said[0] == (ledger.Checkpoint{Origin: a.said[0].Origin, Size: tree.Size(), Root: tree.Root()}) {
			a.said = a.said[1:] // said twice: its first tick did not end
		}
	}
	return nil
}

// openTiles makes ready to compare the tiles of a tenant whose first record that is kept has that index.
func (v *verifier) openTiles(a *audited, index uint64) error {
	bad := func(err error) error { return fmt.Errorf("%w: tiles of %s: %w", wal.ErrCorrupt, a.name, err) }
	tree, err := tile.Open(v.on, filepath.Join(v.dir, a.name))
	if err != nil {
		return bad(err)
	}
	want := uint64(0)
	var sizes []uint64
	if a.note != nil {
		want = a.note.Size
		sizes = append(sizes, want)
	}
	if tree.Size() < want {
		v.notes = append(v.notes, fmt.Sprintf("tiles of %s end at %d of %d published records: they are made again at the next start",
			a.name, tree.Size(), want))
	}
	if tree.Size() == 0 {
		return nil
	}
	a.tree = tree
	if a.tiles, err = tree.Checker(tree.Begin(index), sizes...); err != nil {
		return bad(err)
	}
	if err := a.lead(index); err != nil {
		return bad(err)
	}
	return nil
}

// lead gives the checker the entries up to the first record that is kept, from the tree itself: where that stands in the
// tree's last bundle nobody else has them. They count in the root, which is compared at the end.
func (a *audited) lead(index uint64) error {
	for stop := min(index, a.tree.Size()); a.tiles.Next() < stop; {
		entries, err := a.tree.Entries(a.tiles.Next(), int(min(stop-a.tiles.Next(), tile.Width))) //nolint:gosec // at most tile.Width
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := a.tiles.Add(e, merkle.LeafHash(e), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// rooted holds the tree's root against those of the log and of the checkpoint. It is what says of the entries before the
// first record that is kept that they are the log's.
func (a *audited) rooted(log *wal.TenantReport) error {
	if a.tree.Size() == log.Size && a.tree.Root() != log.Root {
		return fmt.Errorf("%w: another root at size %d", tile.ErrDamaged, log.Size)
	}
	if a.note == nil || a.note.Size > a.tree.Size() {
		return nil
	}
	root, err := a.tree.RootAt(a.note.Size)
	if err == nil && root != a.note.Root {
		err = fmt.Errorf("%w: another root at size %d", tile.ErrDamaged, a.note.Size)
	}
	return err
}

// close ends what goes on beside the walk; what it would still find matters no more.
func (v *verifier) close() {
	for _, a := range v.tenants {
		if a.tiles != nil {
			_ = a.tiles.Close()
		}
	}
}

// end checks what can be judged only after the last record.
func (v *verifier) end(ctx context.Context, trees []wal.TenantReport) error {
	for i := range trees {
		a := v.tenant(trees[i].Name)
		if err := v.endTenant(ctx, a, &trees[i]); err != nil {
			return fmt.Errorf("%w: tiles of %s: %w", wal.ErrCorrupt, a.name, err)
		}
	}
	for name, a := range v.tenants {
		if !a.looked && len(a.said) > 0 {
			return fmt.Errorf("%w: the log of checkpoints has a tree of %s, the log no record", wal.ErrCorrupt, name)
		}
	}
	names, err := v.on.List(v.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if a := v.tenants[name]; ledger.ValidTenant(name) && (a == nil || !a.looked) {
			return fmt.Errorf("%w: %s has a folder and no record", wal.ErrCorrupt, name)
		}
	}
	return nil
}

func (v *verifier) endTenant(ctx context.Context, a *audited, tree *wal.TenantReport) error {
	if a.whole && len(a.said) > 0 {
		return fmt.Errorf("the log of checkpoints has a tree of %d records, the log ends at %d", a.said[0].Size, tree.Size)
	}
	if a.tiles != nil {
		if err := a.tiles.Close(); err != nil {
			return err
		}
		return a.rooted(tree)
	}
	if a.looked {
		return nil
	}
	a.looked = true // all its records were pruned: the tiles are held against themselves, and the root
	tiles, err := tile.Open(v.on, filepath.Join(v.dir, a.name))
	if err != nil || tiles.Size() == 0 {
		return err
	}
	if tiles.Size() != tree.Size || tiles.Root() != tree.Root {
		return fmt.Errorf("%w: another root at size %d", tile.ErrDamaged, tiles.Size())
	}
	return tiles.Verify(ctx, nil)
}
