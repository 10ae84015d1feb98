package build

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	keySize = sha256.Size
	// sealMagic begins an entry of code and what its seal covers, meterMagic one of a metered module. Both have the same
	// length; their numbers are the formats' versions.
	sealMagic  = "gwcode1\n"
	meterMagic = "gwmetr1\n"
	sealSize   = sha256.Size
	slotSize   = 32
	headSize   = len(sealMagic) + sealSize

	// recent is how old the mark of an entry's last use may grow before it is set anew.
	recent = time.Minute

	entrySuffix = ".sealed"
	tempSuffix  = ".part"
)

// cache keeps native code and metered modules in a folder. An entry is
//
//	magic | HMAC-SHA-256(key, magic | name | body) | body
//
// where name is the file's. The body of code is slot | code, where slot is what the engine calls the code; that of a metered
// module is told by Metered. Whoever can write into the folder can remove entries, but cannot make one that is loaded.
type cache struct {
	dir    string
	key    []byte
	most   int64 // bytes
	counts *counts

	mu sync.Mutex // held while room is made
}

// openCache makes the folder when it is missing, and removes what was being written when an earlier process died.
func openCache(dir string, key []byte, most int64, n *counts) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of compiled filters: %w", err)
	}
	info, err := os.Lstat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%q is no folder", dir)
	}
	if err == nil && info.Mode().Perm() != 0o700 {
		err = os.Chmod(dir, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("open the folder of compiled filters: %w", err)
	}
	stale, err := filepath.Glob(filepath.Join(dir, "*"+tempSuffix))
	for _, p := range stale {
		err = errors.Join(err, os.Remove(p))
	}
	if err != nil {
		return nil, fmt.Errorf("clean the folder of compiled filters: %w", err)
	}
	return &cache{dir: dir, key: slices.Clone(key), most: most, counts: n}, nil
}

func (c *cache) path(n name) string {
	return filepath.Join(c.dir, hex.EncodeToString(n[:])+entrySuffix)
}

func (c *cache) seal(magic string, n name, body ...[]byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(magic))
	h.Write(n[:])
	for _, b := range body {
		h.Write(b)
	}
	return h.Sum(nil)
}

// get returns the code of an entry that bears our seal.
func (c *cache) get(n name) (Artifact, bool) {
	b, ok := c.open(sealMagic, n, slotSize)
	if !ok {
		return Artifact{}, false
	}
	c.counts.hits.Add(1)
	return Artifact{Cached: true, slot: [slotSize]byte(b[:slotSize]), code: b[slotSize:]}, true
}

// open returns the body, of at least least bytes, of an entry that bears our seal. Another one is removed, as if it had not been
// there.
func (c *cache) open(magic string, n name, least int) ([]byte, bool) {
	b, used, err := c.read(n)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil || len(b) < headSize+least || string(b[:len(magic)]) != magic ||
		!hmac.Equal(b[len(magic):headSize], c.seal(magic, n, b[headSize:])) {
		c.refuse(n)
		return nil, false
	}
	if now := time.Now(); now.Sub(used) > recent {
		_ = os.Chtimes(c.path(n), now, now) // says only what to evict
	}
	return b[headSize:], true
}

// refuse removes an entry that is not ours.
func (c *cache) refuse(n name) {
	c.counts.refused.Add(1)
	_ = os.Remove(c.path(n)) // if it stays it is refused again
}

// read returns a regular file's bytes, and none of what could not be ours by its size, and when it was used.
func (c *cache) read(n name) (b []byte, used time.Time, err error) {
	info, err := os.Lstat(c.path(n))
	if err != nil {
		return nil, used, err
	}
	if !info.Mode().IsRegular() || info.Size() > c.most {
		return nil, used, fs.ErrInvalid
	}
	f, err := os.Open(c.path(n))
	if err != nil {
		return nil, used, err
	}
	defer f.Close()
	b = make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	return b, info.ModTime(), err
}

// put keeps code.
func (c *cache) put(n name, a Artifact) error { return c.keep(sealMagic, n, a.slot[:], a.code) }

// keep writes an entry. It need not reach the disk: half an entry bears no seal.
func (c *cache) keep(magic string, n name, body ...[]byte) error {
	size := int64(headSize)
	for _, b := range body {
		size += int64(len(b))
	}
	if size > c.most {
		return fmt.Errorf("keep compiled code: %d bytes, the cache has room for %d", size, c.most)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.makeRoom(size); err != nil {
		return fmt.Errorf("keep compiled code: %w", err)
	}
	temp := c.path(n) + tempSuffix
	err := c.write(temp, slices.Insert(body, 0, []byte(magic), c.seal(magic, n, body...)))
	if err == nil {
		err = os.Rename(temp, c.path(n))
	}
	if err != nil {
		_ = os.Remove(temp) // what is left is removed at the next start
		return fmt.Errorf("keep compiled code: %w", err)
	}
	return nil
}

func (c *cache) write(path string, parts [][]byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	for _, b := range parts {
		if _, err = f.Write(b); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}

// makeRoom removes what was used least recently until size more bytes fit.
func (c *cache) makeRoom(size int64) error {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	var entries []fs.FileInfo
	for _, e := range list {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), entrySuffix) {
			entries = append(entries, info)
			size += info.Size()
		}
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, e := range entries {
		if size <= c.most {
			break
		}
		if err := os.Remove(filepath.Join(c.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		size -= e.Size()
		c.counts.evicted.Add(1)
	}
	return nil
}
