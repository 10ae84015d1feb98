package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// writeLog writes entries with Tessera, whose own client asks the witness: NAME is the log's origin and key name. It
// prints the log's key and the published checkpoint.
func writeLog(ctx context.Context, args []string, out io.Writer) error {
	n, err := strconv.Atoi(args[2])
	if err != nil || n < 1 {
		return errUsage
	}
	skey, vkey, err := keyFile(args[0]+".key", args[1])
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	driver, err := posix.New(ctx, posix.Config{Path: args[0]})
	if err != nil {
		return err
	}
	opts := tessera.NewAppendOptions().WithCheckpointSigner(signer).WithCheckpointInterval(200*time.Millisecond).WithBatching(16, 50*time.Millisecond)
	if len(args) == 5 {
		u, err := url.Parse(args[3])
		if err != nil {
			return err
		}
		w, err := tessera.NewWitness(args[4], u)
		if err != nil {
			return err
		}
		opts = opts.WithWitnesses(tessera.NewWitnessGroup(1, w), &tessera.WitnessOptions{Timeout: 10 * time.Second})
	}
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, opts)
	if err != nil {
		return err
	}
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 100*time.Millisecond)
	futures := make([]tessera.IndexFuture, n)
	for i := range n {
		futures[i] = appender.Add(ctx, tessera.NewEntry(fmt.Appendf(nil, "%s entry %d", time.Now(), i)))
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, f := range futures {
		if _, _, err := await.Await(ctx, f); err != nil {
			return err
		}
	}
	cp, err := reader.ReadCheckpoint(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n%s", vkey, cp)
	return shutdown(ctx)
}

// keyFile reads the log's key pair, or makes one.
func keyFile(name, origin string) (skey, vkey string, err error) {
	b, err := os.ReadFile(name)
	if err == nil {
		var skey, vkey string
		_, err := fmt.Sscan(string(b), &skey, &vkey)
		return skey, vkey, err
	}
	if skey, vkey, err = note.GenerateKey(rand.Reader, origin); err != nil {
		return "", "", err
	}
	return skey, vkey, os.WriteFile(name, []byte(skey+"\n"+vkey+"\n"), 0o600)
}

// writeByHand writes a C2SP tlog-tiles log with sumdb/tlog alone, entries of some hundred bytes.
func writeByHand(dir, origin, count string, out io.Writer) error {
	n, err := strconv.ParseInt(count, 10, 32)
	if err != nil || n < 1 {
		return errUsage
	}
	skey, vkey, err := keyFile(dir+".key", origin)
	if err != nil {
		return err
	}
	h := hashes{}
	var bundle []byte
	for i := range n {
		entry := fmt.Appendf(nil, "entry %d of a log that was written by hand", i)
		more, err := tlog.StoredHashes(i, entry, h)
		if err != nil {
			return err
		}
		h = append(h, more...)
		bundle = append(append(bundle, byte(len(entry)>>8), byte(len(entry))), entry...)
		if width := i%256 + 1; width == 256 || i == n-1 {
			t := tlog.Tile{H: 8, L: -1, N: i / 256, W: int(width)}
			if err := put(dir, entriesPath(t), bundle); err != nil {
				return err
			}
			bundle = nil
		}
	}
	for _, t := range tlog.NewTiles(8, 0, n) {
		data, err := tlog.ReadTileData(t, h)
		if err != nil {
			return err
		}
		if err := put(dir, tilePath(t), data); err != nil {
			return err
		}
	}
	root, err := tlog.TreeHash(n, h)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	cp, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)}, signer)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\n", vkey)
	return put(dir, "checkpoint", cp)
}

// tilePath is C2SP's name of a tile: that of the checksum database without its height, and its data named entries.
func tilePath(t tlog.Tile) string {
	p := t.Path() // tile/8/LEVEL/...
	return "tile/" + p[len("tile/8/"):]
}

func entriesPath(t tlog.Tile) string {
	p := t.Path() // tile/8/data/...
	return "tile/entries/" + p[len("tile/8/data/"):]
}

func put(dir, name string, b []byte) error {
	name = filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

// hashes is a store of tlog's hashes in memory.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = h[x]
	}
	return out, nil
}
