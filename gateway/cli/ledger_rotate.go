package cli

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

type ledgerRotateCmd struct {
	Data    string `help:"Data folder." default:"data" placeholder:"DIR"`
	KeyFile string `help:"The operator's wrapping key, when the keys in the data folder are wrapped." placeholder:"FILE"`
}

// nextKey is the new key while a rotation is under way. A gateway does not start beside it.
const nextKey = "ledger.next"

// rotateTime bounds a rotation: the ledger is opened, and its checkpoints are signed.
const rotateTime = 10 * time.Minute

// Run gives the ledger another signing key. No gateway may have the folder open. A rotation that was interrupted is
// finished by the next.
func (c *ledgerRotateCmd) Run(sh *shell) error {
	if _, err := os.Stat(filepath.Join(c.Data, "VERSION")); err != nil {
		return usage("--data is a gateway's data folder", "no data folder: %v", err)
	}
	restore := ledgerRestoreCmd{Data: c.Data, KeyFile: c.KeyFile}
	wrap, err := restore.wrapKey(sh)
	if err != nil {
		return err
	}
	dir, err := datadir.Open(c.Data, wrap, rand.Reader)
	if err != nil {
		return &hinted{err, "stop the gateway first; --key-file unwraps its keys"}
	}
	ctx, cancel := context.WithTimeout(sh.ctx, rotateTime)
	defer cancel()
	err = c.rotate(ctx, sh, dir, &restore)
	return errors.Join(err, dir.Close())
}

func (c *ledgerRotateCmd) rotate(ctx context.Context, sh *shell, dir *datadir.Dir, restore *ledgerRestoreCmd) error {
	o, public, err := restore.options(dir)
	if err != nil {
		return err
	}
	seed, err := c.next(dir)
	if err != nil {
		return err
	}
	next, err := ledger.NewSigner(public.Name, ed25519.NewKeyFromSeed(seed))
	if err != nil {
		return err
	}
	keys, err := keysSoFar(dir, public, next.Public)
	if err != nil {
		return err
	}
	if !next.Public.Key.Equal(public.Key) { // else it was interrupted after this
		if err := overlap(ctx, o, ledger.Signer{Public: public, Private: o.Signer}, next); err != nil {
			return err
		}
		if err := dir.WriteFile(filepath.Join("keys", "ledger.pub"), ledger.KeyList(next, keys), 0o644); err != nil {
			return err
		}
		text, err := dir.Wrap(seed)
		if err != nil {
			return err
		}
		if err := dir.WriteFile(filepath.Join("keys", "ledger"), text, 0o600); err != nil {
			return err
		}
	}
	for _, old := range keys {
		if !old.Key.Equal(next.Public.Key) {
			if err := wal.Resign(nil, o.Dir, old.Key, next.Private); err != nil {
				return err
			}
			break
		}
	}
	if err := os.Remove(dir.Join("keys", nextKey)); err != nil {
		return fmt.Errorf("end the rotation: %w", err)
	}
	fmt.Fprintf(sh.out, "rotated: receipts and checkpoints are signed by %s\n", next.Public)
	fmt.Fprintln(sh.err, "hint: hand out keys/ledger.pub again: it lists the keys before too, whose receipts stay valid; witnesses need the new key")
	return nil
}

// next is the key that follows: made once, and kept until the rotation has ended.
func (c *ledgerRotateCmd) next(dir *datadir.Dir) ([]byte, error) {
	_, err := os.Stat(dir.Join("keys", nextKey))
	if err == nil {
		return dir.Key(nextKey, ed25519.SeedSize)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	text, err := dir.Wrap(seed)
	if err != nil {
		return nil, err
	}
	return seed, dir.WriteFile(filepath.Join("keys", nextKey), text, 0o600)
}

// overlap puts the rotation on record, and has both keys sign every checkpoint.
func overlap(ctx context.Context, o wal.Options, old, next ledger.Signer) error {
	o.Config = wal.DefaultConfig()
	o.Checkpoint = time.Hour // once, when the log is closed
	o.Signed = nil
	r, err := publish.RotationRecord(old, next)
	if err != nil {
		return err
	}
	b, err := publish.OpenBook(ctx, o, func(po *publish.Options) { po.Signer, po.Retiring = next.Private, old.Private })
	if err != nil {
		return &hinted{err, "run: gatewright ledger verify"}
	}
	_, err = b.Append(ctx, r)
	if err == nil {
		err = b.Resign()
	}
	return errors.Join(err, b.Close(ctx))
}

func readPublic(dir *datadir.Dir) []byte {
	b, err := os.ReadFile(dir.Join("keys", "ledger.pub"))
	if err != nil {
		return nil // then it has no key, which is an error
	}
	return b
}

// keysSoFar are the keys that the list of the data folder vouches for, the one in force among them. Of a rotation that was
// interrupted the next one may have signed it.
func keysSoFar(dir *datadir.Dir, now, next ledger.VerifierKey) (ledger.VerifierKeys, error) {
	file := readPublic(dir)
	before, err := ledger.OpenKeyList(file, now)
	if err != nil {
		now = next
		before, err = ledger.OpenKeyList(file, next)
	}
	if err != nil {
		return nil, fmt.Errorf("keys/ledger.pub: %w", err)
	}
	return append(ledger.VerifierKeys{now}, before...), nil
}
