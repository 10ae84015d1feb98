package wal

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Resign signs again, with another key, what the log keeps beside its segments under the instance's signature: the stored
// state, the base of a pruned log, and the generation. It is for a rotation of the key, on a log that nobody has open. What
// neither the old nor the new key signed is an error and stays. It can be done again.
func Resign(on disk.FS, dir string, old ed25519.PublicKey, key ed25519.PrivateKey) error {
	if on == nil {
		on = disk.OS{}
	}
	public, _ := key.Public().(ed25519.PublicKey)
	for _, f := range []struct {
		name, context string
		limit         int64
	}{{snapshotName(dir), stateMagic, maxState}, {baseName(dir), stateMagic, maxState}, {generationName(dir), generationMagic, maxGeneration}} {
		b, err := disk.ReadSmall(on, f.name, f.limit)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("sign again: %w", err)
		}
		body, err := opened(b, f.context, []ed25519.PublicKey{old, public})
		if err != nil {
			return fmt.Errorf("%w: sign %s again: %w", ErrCorrupt, f.name, err)
		}
		again := append([]byte(f.context), body...)
		again = append(again, ed25519.Sign(key, stateMessage(f.context, body))...)
		if err := disk.ReplaceFile(on, f.name, again); err != nil {
			return fmt.Errorf("sign again: %w", err)
		}
	}
	return nil
}
