package wal

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Generation says how often a log's history was put back from a backup. The first has number 1 and no file. Each later
// one goes on under a name of its own, so that no name ever tells two stories.
type Generation struct {
	Number   uint64     `json:"number"`
	Instance string     `json:"instance"`
	Boot     uint64     `json:"boot"` // no boot up to this one is used again
	At       int64      `json:"at"`   // unix seconds
	By       string     `json:"by,omitempty"`
	Reason   string     `json:"reason,omitempty"`
	Tenants  []Restored `json:"tenants,omitempty"` // whose records were lost
}

// Restored is what became of one tenant.
type Restored struct {
	Tenant string `json:"tenant"`
	Size   uint64 `json:"size"` // records that are there
	Root   string `json:"root"` // of the tree over them
	Signed uint64 `json:"signed"`
	Lost   string `json:"signed_root,omitempty"` // root that was signed at that size
}

const (
	generationMagic = "gatewright/ledger-generation/v1\n"
	maxGeneration   = 64 << 20
)

func generationName(dir string) string { return filepath.Join(dir, walDir, "generation") }

// ReadGeneration returns the number of a ledger's generation, 1 for one that was never put back from a backup. With
// keys its signature is checked; a file that is damaged, or that none of them signed, is ErrCorrupt.
func ReadGeneration(on disk.FS, dir string, keys ...ed25519.PublicKey) (uint64, error) {
	g, err := readGeneration(on, dir, keys...)
	return g.Number, err
}

// InstanceName is the name that an instance's logs have in a generation: INSTANCE, INSTANCE.2, and so on. It is the last
// part of their origins.
func InstanceName(instance string, generation uint64) string {
	if generation <= 1 {
		return instance
	}
	return instance + "." + strconv.FormatUint(generation, 10)
}

func readGeneration(on disk.FS, dir string, keys ...ed25519.PublicKey) (Generation, error) {
	if on == nil {
		on = disk.OS{}
	}
	b, err := disk.ReadSmall(on, generationName(dir), maxGeneration)
	if errors.Is(err, fs.ErrNotExist) {
		return Generation{Number: 1}, nil
	}
	if err != nil {
		return Generation{}, fmt.Errorf("read generation: %w", err)
	}
	body, err := opened(b, generationMagic, keys)
	if err != nil {
		return Generation{}, fmt.Errorf("%w: generation file: %w", ErrCorrupt, err)
	}
	var g Generation
	if err := json.Unmarshal(body, &g); err != nil || g.Number < 2 {
		return Generation{}, fmt.Errorf("%w: generation file is damaged", ErrCorrupt)
	}
	return g, nil
}

func writeGeneration(on disk.FS, dir string, g *Generation, key ed25519.PrivateKey) error {
	body, err := json.Marshal(g)
	if err != nil {
		return fmt.Errorf("write generation: %w", err)
	}
	b := append([]byte(generationMagic), body...)
	b = append(b, ed25519.Sign(key, stateMessage(generationMagic, body))...)
	if err := disk.ReplaceFile(on, generationName(dir), b); err != nil {
		return fmt.Errorf("write generation: %w", err)
	}
	return nil
}

// Generation returns how often the log's history began: 1 until it was put back from a backup.
func (l *Log) Generation() uint64 { return l.gen.Number }
