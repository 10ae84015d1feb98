// Package datadir is the gateway's data folder: who may use it, which version of the layout it has, and the keys in it.
//
//	DIR/UNFINISHED  stands while the first start has not come to its end
//	DIR/VERSION     layout version; a newer one is refused, an older one migrated after a backup
//	DIR/LOCK        held with flock while a gateway runs
//	DIR/keys/       0600 files, wrapped by the operator's key when one is set
//	DIR/store/      Badger, encrypted
//	DIR/ledger/     segments and checkpoints
//
// Keys are made only in a new folder. In a folder that was used before, a missing key is a fault and not a reason to
// make another: what it had sealed or signed would be lost silently.
package datadir

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Version is the layout this build writes.
const Version = 1

// Errors that the operator can mend; each message ends with what to do.
var (
	ErrLocked  = errors.New("the data folder is in use by another gateway: stop it, or give this one another --data")
	ErrNewer   = errors.New("the data folder was written by a newer version: run that version, or restore a backup")
	ErrKey     = errors.New("a key file cannot be used: check data.key_file or data.key_env, or restore the key from a backup")
	ErrForeign = errors.New("the folder is not empty and not a data folder: name a new or empty one with --data")
	ErrVersion = errors.New("the data folder's VERSION cannot be read: restore it from a backup")
)

// Dir is an open data folder. It is held by one process until Close.
type Dir struct {
	Path  string
	fresh bool
	wrap  cipher.AEAD // nil: key files are plain
	rand  io.Reader
	lock  *os.File
}

// Open takes the folder, making it when it is not there. wrapKey is the operator's key of 32 bytes, or nil.
func Open(path string, wrapKey []byte, rand io.Reader) (*Dir, error) {
	d := &Dir{Path: path, rand: rand}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	var err error
	if d.lock, err = lockFile(filepath.Join(path, "LOCK")); err != nil {
		return nil, err
	}
	if err := d.open(wrapKey); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Dir) open(wrapKey []byte) error {
	if err := d.version(); err != nil {
		return err
	}
	if wrapKey != nil {
		block, err := aes.NewCipher(wrapKey)
		if err != nil || len(wrapKey) != 32 {
			return fmt.Errorf("%w: the wrapping key must have 32 bytes", ErrKey)
		}
		if d.wrap, err = cipher.NewGCM(block); err != nil {
			return fmt.Errorf("prepare the wrapping key: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(d.Path, "keys"), 0o700); err != nil {
		return fmt.Errorf("make the key folder: %w", err)
	}
	return nil
}

// version reads VERSION. A folder without one is new when nothing of ours is in it, or when a first start was cut short:
// that start is done again, with the keys it made.
func (d *Dir) version() error {
	b, err := os.ReadFile(filepath.Join(d.Path, "VERSION"))
	if errors.Is(err, fs.ErrNotExist) {
		d.fresh = true
		return d.begin()
	}
	if err != nil {
		return fmt.Errorf("read VERSION: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	switch {
	case err != nil || n < 1:
		return ErrVersion
	case n > Version:
		return fmt.Errorf("%w (it has layout %d, this build reads up to %d)", ErrNewer, n, Version)
	}
	return nil
}

// begin marks a folder as being made. One that holds a ledger or keys without that mark has lost its VERSION.
func (d *Dir) begin() error {
	if _, err := os.Stat(d.Join(unfinished)); err == nil {
		return nil
	}
	entries, err := os.ReadDir(d.Path)
	if err != nil {
		return fmt.Errorf("read the data folder: %w", err)
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "ledger", name == "store", name == "keys":
			return fmt.Errorf("%w: it holds %s and no VERSION", ErrVersion, name)
		case name != "LOCK" && name != "lost+found" && name[0] != '.':
			return fmt.Errorf("%w: it holds %s", ErrForeign, name)
		}
	}
	return d.write(unfinished, []byte("the first start has not come to its end\n"), 0o600)
}

// unfinished stands in a folder from the beginning of its first start to its end.
const unfinished = "UNFINISHED"

// Fresh says whether the folder is new.
func (d *Dir) Fresh() bool { return d.fresh }

// Wraps says whether key files are sealed under the operator's key.
func (d *Dir) Wraps() bool { return d.wrap != nil }

// Ready marks a new folder as complete, once every key is made. From then on keys are only loaded.
func (d *Dir) Ready() error {
	if !d.fresh {
		return nil
	}
	if err := d.write("VERSION", []byte(strconv.Itoa(Version)+"\n"), 0o600); err != nil {
		return err
	}
	d.fresh = false
	if err := os.Remove(d.Join(unfinished)); err != nil {
		return fmt.Errorf("mark the data folder as made: %w", err)
	}
	return nil
}

// Close lets the folder go.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	err := d.lock.Close()
	d.lock = nil
	if err != nil {
		return fmt.Errorf("release the data folder: %w", err)
	}
	return nil
}

// Join names a path in the folder.
func (d *Dir) Join(parts ...string) string {
	return filepath.Join(append([]string{d.Path}, parts...)...)
}

// keyForm begins a key file; what follows is "raw" or "sealed" and base64.
const keyForm = "gatewright/key/v1"

// Key loads keys/NAME, or in a new folder makes it with n random bytes.
func (d *Dir) Key(name string, n int) ([]byte, error) {
	file := filepath.Join("keys", name)
	b, err := os.ReadFile(d.Join(file))
	if err == nil {
		key, err := d.Unwrap(b)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", name, err)
		}
		if len(key) != n {
			return nil, fmt.Errorf("key %s: %w", name, ErrKey)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read key %s: %w", name, err)
	}
	if !d.fresh {
		return nil, fmt.Errorf("key %s is missing: %w", name, ErrKey)
	}
	key := make([]byte, n)
	if _, err := io.ReadFull(d.rand, key); err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	text, err := d.Wrap(key)
	if err != nil {
		return nil, err
	}
	if err := d.write(file, text, 0o600); err != nil {
		return nil, err
	}
	return key, nil
}

// Wrap gives the text of a key file: sealed under the operator's key when there is one.
func (d *Dir) Wrap(key []byte) ([]byte, error) {
	if d.wrap == nil {
		return []byte(keyForm + " raw " + base64.StdEncoding.EncodeToString(key) + "\n"), nil
	}
	nonce := make([]byte, d.wrap.NonceSize())
	if _, err := io.ReadFull(d.rand, nonce); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	sealed := d.wrap.Seal(nonce, nonce, key, []byte(keyForm))
	return []byte(keyForm + " sealed " + base64.StdEncoding.EncodeToString(sealed) + "\n"), nil
}

// Unwrap reads the text of a key file. A plain key in a folder with a wrapping key is refused: it was put there.
func (d *Dir) Unwrap(text []byte) ([]byte, error) {
	f := strings.Fields(string(text))
	if len(f) != 3 || f[0] != keyForm {
		return nil, ErrKey
	}
	b, err := base64.StdEncoding.Strict().DecodeString(f[2])
	if err != nil {
		return nil, ErrKey
	}
	switch {
	case f[1] == "raw" && d.wrap == nil:
		return b, nil
	case f[1] == "sealed" && d.wrap != nil && len(b) > d.wrap.NonceSize():
		n := d.wrap.NonceSize()
		key, err := d.wrap.Open(nil, b[:n], b[n:], []byte(keyForm))
		if err != nil {
			return nil, ErrKey
		}
		return key, nil
	}
	return nil, ErrKey
}

// WriteFile puts a file in place whole or not at all, and durably: temporary file, sync, rename, sync of the folder.
func (d *Dir) WriteFile(name string, b []byte, mode fs.FileMode) error { return d.write(name, b, mode) }

func (d *Dir) write(name string, b []byte, mode fs.FileMode) error {
	path := d.Join(name)
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func syncDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	return errors.Join(f.Sync(), f.Close())
}

// ReadWrapKey reads the operator's key of 32 bytes from a file's or an environment variable's text: 64 hex digits or
// base64, or the bytes themselves. Empty text means no key.
func ReadWrapKey(text string) ([]byte, error) {
	if len(text) == 32 {
		return []byte(text), nil
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if b, err := hex.DecodeString(text); err == nil && len(b) == 32 {
		return b, nil
	}
	if b, err := base64.StdEncoding.DecodeString(text); err == nil && len(b) == 32 {
		return b, nil
	}
	return nil, fmt.Errorf("%w: the wrapping key must be 32 bytes as 64 hex digits or base64", ErrKey)
}
