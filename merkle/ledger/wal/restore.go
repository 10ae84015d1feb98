package wal

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// ErrNothingLost refuses to restore a log that lacks nothing: it opens as it is.
var ErrNothingLost = errors.New("nothing that was signed is missing: this ledger opens as it is")

// bootLeap is how far the count of starts jumps when a log is put back: what was lost may have started the log again, as
// often as that, and no two starts may have one number.
const bootLeap = 1 << 20

// RestoreOptions say why a log is put back from a backup.
type RestoreOptions struct {
	Reason, By string
	// Known are roots that were signed, of trees the log itself does not keep, and that what is here is behind of.
	Known []Restored
	// Generation is the highest generation that is known to have been used, 0 when nothing is known but what the folder,
	// and what was signed, say.
	Generation uint64
	// K0 is the exported first chain key, 32 bytes. It is needed when the running key, which a backup of the ledger alone
	// does not put back, is ahead of the log: keys do not go backwards.
	K0  []byte
	Dry bool // only say what would be done
}

// Restore lets a log go on that was put back from a backup and is behind what was signed of it, which Open refuses. The
// log must be whole in itself. It begins a new generation: from now on its trees have other names, since a name must not
// tell two stories, and starts are counted from far beyond those that were lost. The next Open writes into the log of
// every tenant concerned, and of the instance, what was lost and why. Of the options it reads Dir, Instance, Signer,
// Origin, the key files and their wrapping, Now, FS and Signed.
//
// A log that lacks nothing is ErrNothingLost; one that is damaged is ErrCorrupt; ErrKeys asks for k_0. Nobody else may have the folder open.
func Restore(ctx context.Context, o Options, ro RestoreOptions) (Generation, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	signer, err := ledger.NewSigner(ledger.Origin(o.Origin, ledger.InstanceTenant, o.Instance), o.Signer)
	if err != nil {
		return Generation{}, fmt.Errorf("restore ledger: %w", err)
	}
	if ro.Reason == "" || len(ro.Reason) > maxReason || len(ro.By) > maxReason {
		return Generation{}, fmt.Errorf("restore ledger: want a reason of 1 to %d bytes", maxReason)
	}
	a := assessment{o: &o, known: ro.Known}
	if err := a.keys(ro.K0); err != nil {
		return Generation{}, fmt.Errorf("restore ledger: %w", err)
	}
	if err := a.read(ctx, signer.Public); err != nil {
		return Generation{}, fmt.Errorf("restore ledger: %w", err)
	}
	g := Generation{
		Number: max(a.generation, ro.Generation) + 1, Instance: o.Instance, Boot: a.boot + bootLeap, At: o.Now().Unix(),
		By: ro.By, Reason: ro.Reason, Tenants: a.lost,
	}
	if ro.Dry {
		return g, nil
	}
	if a.rewind {
		if err := o.storeKey(o.ChainKeyFile, a.key); err != nil {
			return g, fmt.Errorf("restore ledger: write chain key: %w", err)
		}
	}
	if err := writeGeneration(o.FS, o.Dir, &g, o.Signer); err != nil {
		return g, fmt.Errorf("restore ledger: %w", err)
	}
	// A stored state of the generation before is not believed any more: that it stays would do no harm.
	if err := o.FS.Remove(snapshotName(o.Dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return g, fmt.Errorf("restore ledger: %w", err)
	}
	return g, nil
}

// maxReason bounds the words of an operator in bytes.
const maxReason = 1024

// assessment compares a log to what was signed of it.
type assessment struct {
	o          *Options
	known      []Restored
	key        chainKey // earliest that is known
	running    uint64   // epoch of the running key
	rewind     bool     // the running key is ahead of the log; key is the one to go on with
	boot       uint64   // highest that is known
	generation uint64
	lost       []Restored
}

// keys loads the running key, and takes k_0 in its place when it is given.
func (a *assessment) keys(k0 []byte) error {
	var err error
	a.key, err = a.o.loadKey(a.o.ChainKeyFile)
	switch {
	case err == nil:
		a.running = a.key.epoch
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("read chain key: %w", err)
	case k0 == nil:
		return fmt.Errorf("%w: %s is missing; the exported first key makes it again", ErrKeys, a.o.ChainKeyFile)
	default:
		a.running = math.MaxUint64
	}
	if k0 == nil {
		return nil
	}
	if len(k0) != 32 {
		return fmt.Errorf("%w: k_0 has %d bytes", ErrKeys, len(k0))
	}
	a.key = chainKey{key: [32]byte(k0)}
	return nil
}

// goBack finds the key of the segment that the log ends in, when the running one is of a later epoch.
func (a *assessment) goBack(end uint64) error {
	if a.running <= end || a.running == end+1 { // Open goes on in the next segment
		return nil
	}
	k, ok := a.key.at(end)
	if !ok {
		return fmt.Errorf("%w: the running key is of epoch %d, the log ends in %d; the exported first key leads back", ErrKeys, a.running, end)
	}
	a.key, a.rewind = k, true
	return nil
}

// trusted are the keys that states of the log may be signed with.
func (a *assessment) trusted(key ledger.VerifierKey) []ed25519.PublicKey {
	return []ed25519.PublicKey{key.Key}
}

func (a *assessment) read(ctx context.Context, key ledger.VerifierKey) error {
	o := a.o
	boot, err := readBoot(o.FS, o.Dir)
	if err != nil {
		return err
	}
	if a.generation, err = ReadGeneration(o.FS, o.Dir, a.trusted(key)...); err != nil {
		return err
	}
	base, err := readBase(o.FS, o.Dir, o.Instance, a.trusted(key)...)
	if err != nil {
		return err
	}
	pins, snap := a.pins(key)
	r := &replay{
		fs: o.FS, dir: o.Dir, key: a.key, keys: true, instance: o.Instance, first: base.first(), pins: pins, cutLast: o.CutLastBatch,
	}
	differs := map[string]bool{}
	r.differs = func(c *chain) { differs[c.name] = true }
	if err := r.begin(base); err != nil {
		return err
	}
	if err := r.run(ctx); err != nil && !errors.Is(err, ErrTruncated) {
		return fmt.Errorf("the backup is not whole in itself: %w", err)
	}
	if len(r.chains) == 0 {
		return fmt.Errorf("%w: the backup holds no records", ErrTruncated)
	}
	if err := a.goBack(r.tail.at.segment); err != nil {
		return err
	}
	a.boot = max(boot, r.boot)
	if snap != nil {
		a.boot, a.generation = max(a.boot, snap.boot), max(a.generation, snap.generation)
	}
	a.weigh(r, pins, differs)
	if len(a.lost) == 0 && r.boot <= boot && !a.rewind {
		return ErrNothingLost
	}
	return nil
}

// pins are what was signed of each tenant's tree: checkpoints, and the state that was stored last.
func (a *assessment) pins(key ledger.VerifierKey) (map[string]ledger.Checkpoint, *state) {
	pins := map[string]ledger.Checkpoint{}
	for tenant, cp := range a.o.Signed {
		pins[tenant] = cp
		a.generation = max(a.generation, generationOf(cp.Origin, a.o.Instance))
	}
	snap, err := readState(a.o.FS, snapshotName(a.o.Dir), stateSnapshot, a.trusted(key)...)
	if err != nil || snap.instance != a.o.Instance {
		return pins, nil
	}
	for i := range snap.chains {
		c := &snap.chains[i]
		if p, ok := pins[c.name]; !ok || c.tree.Size() > p.Size {
			pins[c.name] = ledger.Checkpoint{Size: c.tree.Size(), Root: c.tree.Root()}
		}
	}
	return pins, snap
}

// generationOf reads the generation out of the name of a log, 1 when it says none.
func generationOf(origin, instance string) uint64 {
	_, last, _ := strings.Cut(origin[strings.LastIndexByte(origin, '/')+1:], instance+".")
	n, err := strconv.ParseUint(last, 10, 64)
	if err != nil {
		return 1
	}
	return n
}

// weigh lists what is missing, or another.
func (a *assessment) weigh(r *replay, pins map[string]ledger.Checkpoint, differs map[string]bool) {
	a.lost = append(a.lost, a.known...)
	for tenant, p := range pins {
		l := Restored{Tenant: tenant, Signed: p.Size, Lost: p.Root.String(), Root: merkle.EmptyRoot().String()}
		if c := r.byName[tenant]; c != nil {
			l.Size, l.Root = c.front.Size(), c.front.Root().String()
		}
		if l.Size < l.Signed || differs[tenant] {
			a.lost = append(a.lost, l)
		}
	}
	slices.SortFunc(a.lost, func(x, y Restored) int { return strings.Compare(x.Tenant, y.Tenant) })
}

// codeRestored is the code of a recovery record that says that a log was put back from a backup.
const codeRestored = "restored"

// restoredGeneration is the generation that a record of the instance's own chain announces, 0 for any other record.
func restoredGeneration(r *ledger.Record) uint64 {
	if r.Kind != ledger.Recovery || r.Code != codeRestored || r.Tenant != ledger.InstanceTenant {
		return 0
	}
	var body struct {
		Generation uint64 `json:"generation"`
	}
	if json.Unmarshal(r.Body, &body) != nil {
		return 0
	}
	return body.Generation
}

// announcement are the records that say what was lost, the instance's last: once that stands, all do.
func (l *Log) announcement() ([]ledger.Record, error) {
	g := &l.gen
	if g.Number <= max(1, l.told) {
		return nil, nil
	}
	var out []ledger.Record
	say := func(tenant string, body map[string]any) error {
		body["generation"], body["reason"] = g.Number, g.Reason
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("announce the restored ledger: %w", err)
		}
		out = append(out, ledger.Record{
			Tenant: tenant, Kind: ledger.Recovery, Step: -1, Code: codeRestored, Body: text,
			Detail: "the ledger was put back from a backup; later records that were signed are lost",
		})
		return nil
	}
	for _, t := range g.Tenants {
		if !ledger.ValidTenant(t.Tenant) || t.Tenant == ledger.InstanceTenant {
			continue // not a tenant's tree: the instance's record has it
		}
		err := say(t.Tenant, map[string]any{"size": t.Size, "root": t.Root, "signed": t.Signed, "signed_root": t.Lost})
		if err != nil {
			return nil, err
		}
	}
	const most = 100 // all are in the generation file; a record holds 64 KiB
	err := say(ledger.InstanceTenant, map[string]any{
		"at": g.At, "boot": g.Boot, "by": g.By, "concerned": len(g.Tenants), "tenants": g.Tenants[:min(len(g.Tenants), most)],
	})
	return out, err
}
