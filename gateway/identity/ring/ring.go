// Package ring keeps, for each organisation, the keys under which the gateway seals what it hands to clients and takes back: ids of
// sessions, cursors of lists, states of calls that go on. A sealed text is good for what it was bound to and nothing else, and says
// nothing to whoever holds it.
//
// A key is rotated while the gateway works: the new one seals at once, and the one before opens until its life ends. The keys are
// rows behind the organisation's fence, so a restart keeps them.
package ring

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/store"
)

// ErrTwo refuses a third key: what the oldest sealed is still out, and would end early.
var ErrTwo = errors.New("two keys are live")

// Key describes a key; its secret is never shown.
type Key struct {
	ID   uint32
	Made time.Time
	Ends time.Time // when it opens nothing any more; zero: it is the one that seals
}

// row is an organisation's keys as kept, the newest first.
type row struct{ Keys []secret }

type secret struct {
	Key
	Secret []byte
}

var table = store.Table[row]{Name: "seals", Version: 1}

const place = "ring"

// Ring is the open register of all organisations' keys. It is safe for concurrent use.
type Ring struct {
	store store.Store
	life  time.Duration
	now   func() time.Time
	rand  io.Reader

	writer sync.Mutex // held over a change
	mu     sync.RWMutex
	open   map[string][]live // by tenant, guarded by mu; the slices are immutable
}

// live is a key in use.
type live struct {
	Key
	secret []byte
	aead   cipher.AEAD
}

// New makes a register. life is how long what a key sealed is taken after another has replaced it.
func New(s store.Store, life time.Duration, now func() time.Time, rand io.Reader) *Ring {
	return &Ring{store: s, life: life, now: now, rand: rand, open: map[string][]live{}}
}

// maxText bounds a sealed text, in bytes: a cursor holds two names.
const maxText = 4096

// keys are the tenant's; the first of them is made when there is none.
func (r *Ring) keys(ctx context.Context, tenant string) ([]live, error) {
	r.mu.RLock()
	keys := r.open[tenant]
	r.mu.RUnlock()
	if keys != nil {
		return keys, nil
	}
	r.writer.Lock()
	defer r.writer.Unlock()
	return r.load(ctx, tenant, func(have []secret) ([]secret, error) {
		if len(have) > 0 {
			return have, nil
		}
		first, err := r.make(0)
		return []secret{first}, err
	})
}

// load reads the row, lets change replace it, and takes the result into use once it is durable. r.writer is held.
func (r *Ring) load(ctx context.Context, tenant string, change func(have []secret) ([]secret, error)) (keys []live, err error) {
	err = r.store.Update(ctx, tenant, func(tx store.Txn) error {
		have, version, err := table.Get(tx, place)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		next, err := change(have.Keys)
		if err != nil {
			return err
		}
		if keys, err = ready(next); err != nil {
			return err
		}
		if len(next) > 0 && len(have.Keys) == len(next) && next[0].ID == have.Keys[0].ID {
			return nil
		}
		_, err = table.Put(tx, place, row{next}, version)
		return err
	})
	if err != nil {
		r.mu.Lock() // what is on disk is not known: the next use reads it
		delete(r.open, tenant)
		r.mu.Unlock()
		return nil, fmt.Errorf("sealing keys: %w", err)
	}
	r.mu.Lock()
	r.open[tenant] = keys
	r.mu.Unlock()
	return keys, nil
}

func ready(list []secret) (keys []live, err error) {
	for _, k := range list {
		block, err := aes.NewCipher(k.Secret)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", k.ID, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", k.ID, err)
		}
		keys = append(keys, live{k.Key, k.Secret, aead})
	}
	return keys, nil
}

func (r *Ring) make(last uint32) (secret, error) {
	k := secret{Key: Key{ID: last + 1, Made: r.now().UTC()}, Secret: make([]byte, 32)}
	if _, err := io.ReadFull(r.rand, k.Secret); err != nil {
		return secret{}, fmt.Errorf("make a key: %w", err)
	}
	return k, nil
}

// Rotate makes a new key, which seals from now on. The one before opens until its life ends, and until then another rotation is
// ErrTwo. With atOnce nothing that was sealed before is taken any more, whatever its life.
func (r *Ring) Rotate(ctx context.Context, tenant string, atOnce bool) ([]Key, error) {
	r.writer.Lock()
	defer r.writer.Unlock()
	now := r.now()
	keys, err := r.load(ctx, tenant, func(have []secret) ([]secret, error) {
		var last uint32
		next := []secret{{}}
		for i, k := range have {
			last = max(last, k.ID)
			switch {
			case atOnce || !k.opens(now):
				continue
			case i > 0:
				return nil, ErrTwo
			}
			k.Ends = now.Add(r.life).UTC()
			next = append(next, k)
		}
		var err error
		next[0], err = r.make(last)
		return next, err
	})
	if err != nil {
		return nil, err
	}
	return describe(keys, now), nil
}

// Keys describes the tenant's keys that open, the one that seals first.
func (r *Ring) Keys(ctx context.Context, tenant string) ([]Key, error) {
	keys, err := r.keys(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return describe(keys, r.now()), nil
}

func describe(keys []live, now time.Time) (list []Key) {
	for _, k := range keys {
		if k.opens(now) {
			list = append(list, k.Key)
		}
	}
	return list
}

func (k Key) opens(now time.Time) bool { return k.Ends.IsZero() || now.Before(k.Ends) }

// Seal seals plain for a purpose and what it is good for.
func (r *Ring) Seal(ctx context.Context, tenant, purpose string, bound, plain []byte) (string, error) {
	keys, err := r.keys(ctx, tenant)
	if err != nil {
		return "", err
	}
	b := binary.BigEndian.AppendUint32(nil, keys[0].ID)
	return base64.RawURLEncoding.EncodeToString(keys[0].aead.Seal(b, nil, plain, about(purpose, bound))), nil
}

// Open gives what was sealed; false when it was not sealed here, for this, or under a key that has ended.
func (r *Ring) Open(ctx context.Context, tenant, purpose string, bound []byte, text string) ([]byte, bool) {
	if len(text) > maxText || strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < 4 {
		return nil, false
	}
	keys, err := r.keys(ctx, tenant)
	if err != nil {
		return nil, false
	}
	id, now := binary.BigEndian.Uint32(b), r.now()
	for _, k := range keys {
		if k.ID == id && k.opens(now) {
			plain, err := k.aead.Open(nil, nil, b[4:], about(purpose, bound))
			return plain, err == nil
		}
	}
	return nil, false
}

// Opens says whether the key that a text names still opens. It says nothing of the text itself, and so is enough only for one
// that is known to have been sealed here.
func (r *Ring) Opens(ctx context.Context, tenant, text string) bool {
	var b [6]byte
	if len(text) < 8 || len(text) > maxText {
		return false
	}
	if n, err := base64.RawURLEncoding.Decode(b[:], []byte(text[:8])); err != nil || n < 4 {
		return false
	}
	keys, err := r.keys(ctx, tenant)
	if err != nil {
		return false
	}
	id, now := binary.BigEndian.Uint32(b[:]), r.now()
	for i := range keys {
		if keys[i].ID == id {
			return keys[i].opens(now)
		}
	}
	return false
}

// about parts purpose and bound; no purpose has a NUL.
func about(purpose string, bound []byte) []byte {
	return append(append([]byte(purpose), 0), bound...)
}
