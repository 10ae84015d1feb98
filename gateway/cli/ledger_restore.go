package cli

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

type ledgerRestoreCmd struct {
	Data       string   `help:"Data folder." default:"data" placeholder:"DIR"`
	Reason     string   `help:"Why, for the record: it is written into every ledger concerned." required:"" placeholder:"TEXT"`
	By         string   `help:"Who, for the record." placeholder:"NAME"`
	Checkpoint []string `help:"A checkpoint that was signed later than the backup was made, as a witness, an auditor or a tenant kept it. May be given more than once." type:"path" placeholder:"FILE"`
	RolledBack bool     `help:"The gateway, or a witness, refuses this folder as put back to an earlier state, and nothing in it shows that."`
	KeyFile    string   `help:"The operator's wrapping key, when the keys in the data folder are wrapped." placeholder:"FILE"`
	K0         string   `help:"The chain's first key, when the backup lacks the running one or has one that is ahead; default: keys/ledger.k0 in the data folder while it lies there." name:"k0" placeholder:"FILE"`
	Yes        bool     `help:"Do it. Without this, what would be lost is shown and nothing is changed."`
}

// checkpointsLog is the name, in place of a tenant's, of the log of all checkpoints.
const checkpointsLog = "_checkpoints"

// maxNoteFile bounds a checkpoint file in bytes.
const maxNoteFile = 64 << 10

// Run lets a ledger that was put back from a backup go on. No gateway may have the folder open.
func (c *ledgerRestoreCmd) Run(sh *shell) error {
	if _, err := os.Stat(filepath.Join(c.Data, "VERSION")); err != nil {
		return usage("--data is the folder that was put back from a backup", "no data folder: %v", err)
	}
	wrap, err := c.wrapKey(sh)
	if err != nil {
		return err
	}
	dir, err := datadir.Open(c.Data, wrap, rand.Reader)
	if err != nil {
		return &hinted{err, "no gateway may run on the folder; --key-file unwraps its keys"}
	}
	err = c.restore(sh, dir)
	return errors.Join(err, dir.Close())
}

func (c *ledgerRestoreCmd) wrapKey(sh *shell) ([]byte, error) {
	if c.KeyFile == "" {
		return nil, nil
	}
	b, err := sh.read(c.KeyFile)
	if err != nil {
		return nil, err
	}
	return datadir.ReadWrapKey(string(b))
}

func (c *ledgerRestoreCmd) restore(sh *shell, dir *datadir.Dir) error {
	o, key, err := c.options(dir)
	if err != nil {
		return err
	}
	ro := wal.RestoreOptions{Reason: c.Reason, By: c.By, Dry: true}
	if err := c.signed(sh, dir, &o, &ro, key); err != nil {
		return err
	}
	if ro.K0, err = c.firstKey(sh); err != nil {
		return err
	}
	g, err := wal.Restore(sh.ctx, o, ro)
	if err != nil {
		return c.explain(err)
	}
	c.show(sh, &g, &o)
	if !c.Yes {
		fmt.Fprintln(sh.err, "nothing was changed: say --yes to let the ledger go on like this")
		return nil
	}
	ro.Dry = false
	if g, err = wal.Restore(sh.ctx, o, ro); err != nil {
		return c.explain(err)
	}
	origin := ledger.Origin(o.Origin, checkpointsLog, wal.InstanceName(o.Instance, g.Number))
	fmt.Fprintf(sh.out, "restored: the ledger goes on as generation %d; start the gateway\n", g.Number)
	fmt.Fprintf(sh.out, "its checkpoints are now of %s: tell every witness, which answers 404 until it knows that log; it pastes\n", clean(origin))
	printLogBlock(sh.out, origin, []string{key.String()})
	return nil
}

func (c *ledgerRestoreCmd) explain(err error) error {
	switch {
	case errors.Is(err, wal.ErrNothingLost):
		return &hinted{err, "start the gateway; if it or a witness refuses the folder, give the signed checkpoint with --checkpoint, or say --rolled-back"}
	case errors.Is(err, wal.ErrKeys):
		return &hinted{err, "--k0 is the key exported when this very ledger was made"}
	case errors.Is(err, wal.ErrCorrupt):
		return &hinted{err, "a backup must be whole: take another one"}
	}
	return err
}

// options names the log by the public key that lies beside it, and signs with the key that belongs to that.
func (c *ledgerRestoreCmd) options(dir *datadir.Dir) (wal.Options, ledger.VerifierKey, error) {
	b, err := os.ReadFile(dir.Join("keys", "ledger.pub"))
	if err != nil {
		return wal.Options{}, ledger.VerifierKey{}, usage("put the folder back whole, keys included", "no public key of the ledger: %v", err)
	}
	keys, err := ledger.ParseVerifierKeys(b)
	if err != nil {
		return wal.Options{}, ledger.VerifierKey{}, fmt.Errorf("keys/ledger.pub: %w", err)
	}
	seed, err := dir.Key("ledger", ed25519.SeedSize)
	if err != nil {
		return wal.Options{}, ledger.VerifierKey{}, err
	}
	signer := ed25519.NewKeyFromSeed(seed)
	for _, key := range keys {
		origin, instance, ok := strings.Cut(key.Name, "/ledger/"+ledger.InstanceTenant+"/")
		if !ok || !key.Key.Equal(signer.Public()) {
			continue
		}
		o := wal.Options{
			Dir: dir.Join("ledger"), Instance: instance, Origin: origin, Signer: signer,
			ChainKeyFile: dir.Join("keys", "ledger.chain"), RootKeyFile: dir.Join("keys", "ledger.k0"),
			Now: time.Now, Rand: rand.Reader, Signed: map[string]ledger.Checkpoint{},
		}
		if dir.Wraps() {
			o.WrapKey, o.UnwrapKey = dir.Wrap, dir.Unwrap
		}
		return o, key, nil
	}
	return wal.Options{}, ledger.VerifierKey{}, errors.New("keys/ledger.pub is not the public half of keys/ledger")
}

// signed gathers what is known to have been signed: the checkpoints in the folder, and those that were given.
func (c *ledgerRestoreCmd) signed(sh *shell, dir *datadir.Dir, o *wal.Options, ro *wal.RestoreOptions, key ledger.VerifierKey) error {
	entries, err := os.ReadDir(dir.Join("ledger"))
	if err != nil {
		return fmt.Errorf("read the ledger's folder: %w", err)
	}
	here := ledger.Checkpoint{}
	for _, e := range entries {
		text, err := os.ReadFile(dir.Join("ledger", e.Name(), "checkpoint"))
		if err != nil || len(text) > maxNoteFile {
			continue // nothing was published of it
		}
		cp, err := ledger.OpenCheckpoint(text, ledger.VerifierKeys{key})
		switch {
		case err != nil:
			fmt.Fprintf(sh.err, "passed over: the checkpoint of %s: %v\n", clean(e.Name()), err)
		case e.Name() == checkpointsLog:
			here = cp
		case ledger.ValidTenant(e.Name()):
			o.Signed[e.Name()] = cp
		}
	}
	for _, file := range c.Checkpoint {
		if err := c.given(sh, file, o, ro, here, key); err != nil {
			return err
		}
	}
	if c.RolledBack {
		ro.Known = append(ro.Known, wal.Restored{Tenant: checkpointsLog, Size: here.Size, Root: here.Root.String()})
	}
	return nil
}

// given takes up a checkpoint that somebody kept.
func (c *ledgerRestoreCmd) given(sh *shell, file string, o *wal.Options, ro *wal.RestoreOptions, here ledger.Checkpoint, key ledger.VerifierKey) error {
	text, err := sh.read(file)
	if err != nil {
		return err
	}
	cp, err := ledger.OpenCheckpoint(text, ledger.VerifierKeys{key})
	if err != nil {
		return usage("it must be a checkpoint of this very ledger, with its signature", "%s: %v", name(file), err)
	}
	tenant, instance, ok := strings.Cut(strings.TrimPrefix(cp.Origin, o.Origin+"/ledger/"), "/")
	plain, generation, _ := strings.Cut(instance, ".")
	if n, err := strconv.ParseUint(generation, 10, 32); err == nil {
		ro.Generation = max(ro.Generation, n)
	}
	switch {
	case !ok || plain != o.Instance:
		return usage("it must be a checkpoint of this very ledger", "%s is of %s", name(file), clean(cp.Origin))
	case tenant == checkpointsLog && cp.Size > here.Size:
		ro.Known = append(ro.Known, wal.Restored{
			Tenant: checkpointsLog, Size: here.Size, Root: here.Root.String(), Signed: cp.Size, Lost: cp.Root.String(),
		})
	case tenant != checkpointsLog && cp.Size > o.Signed[tenant].Size:
		o.Signed[tenant] = cp
	}
	return nil
}

// firstKey is k_0, nil when it is not there.
func (c *ledgerRestoreCmd) firstKey(sh *shell) ([]byte, error) {
	v := ledgerVerifyCmd{pinned: pinned{Data: c.Data}, K0: c.K0}
	if v.K0 == "" {
		v.K0 = v.lyingKey()
	}
	if v.K0 == "" {
		return nil, nil
	}
	key, err := v.firstKey(sh)
	if c.K0 == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return key, err
}

func (c *ledgerRestoreCmd) show(sh *shell, g *wal.Generation, o *wal.Options) {
	fmt.Fprintf(sh.out, "the ledger of %s is whole, and behind what was signed of it\n", clean(o.Instance))
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "LEDGER\tRECORDS HERE\tSIGNED\tLOST")
	for _, t := range g.Tenants {
		signed, lost := "unknown", "unknown"
		if t.Signed > 0 {
			signed, lost = fmt.Sprint(t.Signed), fmt.Sprint(int64(t.Signed)-int64(t.Size)) //nolint:gosec // below 2^63
		}
		if t.Signed == t.Size {
			lost = "another history"
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", clean(t.Tenant), t.Size, signed, lost)
	}
	_ = w.Flush() // the writer is sh.out; a broken one shows at the next print
	fmt.Fprintf(sh.out, "it goes on under new names, %s; receipts of what is lost stay valid and lead nowhere\n",
		clean(ledger.Origin(o.Origin, "TENANT", wal.InstanceName(o.Instance, g.Number))))
}
