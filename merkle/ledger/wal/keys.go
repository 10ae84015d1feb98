package wal

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// chainKey is the key of one epoch; an epoch is a segment. Keys ratchet forward: who reads k_e cannot
// compute an earlier one, so a break-in at epoch e cannot forge records of the epochs before.
type chainKey struct {
	epoch uint64
	key   [32]byte
}

func keyed(key, label, data []byte) (out [32]byte) {
	h := hmac.New(sha256.New, key)
	h.Write(label)
	h.Write(data)
	h.Sum(out[:0])
	return out
}

// next is k_{e+1} = HMAC(k_e, "ratchet" || e).
func (k chainKey) next() chainKey {
	return chainKey{
		epoch: k.epoch + 1,
		key:   keyed(k.key[:], []byte("ratchet"), binary.BigEndian.AppendUint64(nil, k.epoch)),
	}
}

// at ratchets forward to an epoch. There is no way back.
func (k chainKey) at(epoch uint64) (chainKey, bool) {
	if k.epoch > epoch {
		return chainKey{}, false
	}
	for k.epoch < epoch {
		k = k.next()
	}
	return k, true
}

// tenant returns the MAC state under k_tenant_epoch = HMAC(k_e, "tenant" || name).
func (k chainKey) tenant(name string) hash.Hash {
	kt := keyed(k.key[:], []byte("tenant"), []byte(name))
	return hmac.New(sha256.New, kt[:])
}

// header is the MAC of a segment's header.
func (k chainKey) header(b []byte) [32]byte { return keyed(k.key[:], []byte("segment"), b) }

// chainKeyForm is the one line of a key file: version, epoch, key, and a CRC against slips of the hand.
const chainKeyForm = "gatewright/chain-key/v1 %d %x"

func (k chainKey) text() []byte {
	s := fmt.Sprintf(chainKeyForm, k.epoch, k.key)
	return fmt.Appendf(nil, "%s %08x\n", s, crc32.Checksum([]byte(s), castagnoli))
}

// ParseChainKey reads a chain key file: the exported k_0 (epoch 0) or the running log's own.
func ParseChainKey(file []byte) (epoch uint64, key []byte, err error) {
	var version, hexKey string
	var sum uint32
	if _, err := fmt.Sscanf(string(file), "%s %d %s %x\n", &version, &epoch, &hexKey, &sum); err != nil {
		return 0, nil, fmt.Errorf("%w: not a chain key file", ErrKeys)
	}
	key, err = hex.DecodeString(hexKey)
	if err != nil || len(key) != 32 || string(chainKey{epoch, [32]byte(key)}.text()) != string(file) {
		return 0, nil, fmt.Errorf("%w: chain key file is damaged or of another version", ErrKeys)
	}
	return epoch, key, nil
}

// keyFile bounds a key file in bytes, wrapped or not.
const keyFile = 4096

func (o *Options) loadKey(name string) (chainKey, error) {
	b, err := disk.ReadSmall(o.FS, name, keyFile)
	if err != nil {
		return chainKey{}, err
	}
	if o.UnwrapKey != nil {
		if b, err = o.UnwrapKey(b); err != nil {
			return chainKey{}, fmt.Errorf("%w: %w", ErrKeys, err)
		}
	}
	epoch, key, err := ParseChainKey(b)
	if err != nil {
		return chainKey{}, err
	}
	return chainKey{epoch, [32]byte(key)}, nil
}

func (o *Options) storeKey(name string, k chainKey) error {
	b := k.text()
	if o.WrapKey != nil {
		var err error
		if b, err = o.WrapKey(b); err != nil {
			return fmt.Errorf("wrap chain key: %w", err)
		}
	}
	return disk.ReplaceFile(o.FS, name, b)
}

// openKey loads the running key. Only a log without any segment may make one: then k_0 is exported
// first, so that no record is ever chained under a key the auditor cannot have.
func (o *Options) openKey(fresh bool) (chainKey, error) {
	k, err := o.loadKey(o.ChainKeyFile)
	if err == nil {
		return k, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return k, fmt.Errorf("read chain key: %w", err)
	}
	if !fresh {
		return k, fmt.Errorf("%w: %s is missing", ErrKeys, o.ChainKeyFile)
	}
	if k, err = o.rootKey(); err != nil {
		return k, err
	}
	if err := o.storeKey(o.ChainKeyFile, k); err != nil {
		return k, fmt.Errorf("write chain key: %w", err)
	}
	return k, nil
}

// rootKey makes and exports k_0, or takes one that an interrupted first start left.
func (o *Options) rootKey() (chainKey, error) {
	k, err := o.loadKey(o.RootKeyFile)
	switch {
	case err == nil && k.epoch == 0:
		return k, nil
	case err == nil:
		return k, fmt.Errorf("%w: root key file is of epoch %d", ErrKeys, k.epoch)
	case !errors.Is(err, fs.ErrNotExist):
		return k, fmt.Errorf("read root key: %w", err)
	}
	k = chainKey{}
	if _, err := io.ReadFull(o.Rand, k.key[:]); err != nil {
		return k, fmt.Errorf("make chain key: %w", err)
	}
	if err := o.storeKey(o.RootKeyFile, k); err != nil {
		return k, fmt.Errorf("export root key: %w", err)
	}
	return k, nil
}
