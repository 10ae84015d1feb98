package identity

import (
	"context"
	"fmt"
	"time"
)

// NewKey is what a key is made of.
type NewKey struct {
	Kind    Kind
	Agent   string    // holder of a runtime key; empty for a management key
	User    string    // holder of an admin key; empty for a runtime key
	Name    string    // shown to people; 1 to 128 bytes
	Mode    Mode      // empty means Live
	Expires time.Time // zero means the configured lifetime, which may be none
}

// CreateKey makes a key and returns its text, which is kept nowhere: this is the only time it can be seen.
func (d *Directory) CreateKey(ctx context.Context, tenant string, n NewKey) (Key, string, error) {
	key, err := d.newKey(n)
	if err != nil {
		return Key{}, "", doing("create key", err)
	}
	text, err := writeKey(key.Mode, key.ID, d.rand)
	if err != nil {
		return Key{}, "", doing("create key", err)
	}
	defer clear(text)
	kept := keyRow{Key: key, MAC: d.macOf(text)}
	err = d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		now := d.now()
		drop, live := surplus(t.keys, func(k *keyRow) time.Time { return t.keyEnded(k, now) })
		if live >= d.config.MaxKeys {
			return nil, fmt.Errorf("%d keys: %w", live, ErrLimit)
		}
		if err := t.checkHolder(&key); err != nil {
			return nil, err
		}
		return d.saveKey(ctx, t, kept, 0, drop...)
	})
	if err != nil {
		return Key{}, "", doing("create key", err)
	}
	return key, string(text), nil
}

// newKey checks what can be checked without the tenant.
func (d *Directory) newKey(n NewKey) (key Key, err error) {
	now := d.now().UTC()
	key = Key{Name: n.Name, Kind: n.Kind, Mode: n.Mode, Agent: n.Agent, User: n.User, Created: now, Expires: n.Expires.UTC()}
	if n.Expires.IsZero() {
		key.Expires = time.Time{}
		if d.config.KeyTTL > 0 {
			key.Expires = now.Add(d.config.KeyTTL)
		}
	} else if !n.Expires.After(now) || n.Expires.After(now.Add(maxKeyLife)) {
		return key, fmt.Errorf("expiry must lie in the future, at most %s ahead: %w", maxKeyLife, ErrInvalid)
	}
	if key.Mode == "" {
		key.Mode = Live
	}
	switch {
	case key.Mode != Live && key.Mode != Test:
		return key, fmt.Errorf("mode must be live or test: %w", ErrInvalid)
	case n.Kind == Runtime && (n.Agent == "" || n.User != ""):
		return key, fmt.Errorf("a runtime key belongs to an agent: %w", ErrInvalid)
	case n.Kind == Admin && (n.User == "" || n.Agent != ""):
		return key, fmt.Errorf("a management key belongs to a user: %w", ErrInvalid)
	case n.Kind != Runtime && n.Kind != Admin:
		return key, fmt.Errorf("kind must be runtime or admin: %w", ErrInvalid)
	}
	if err := checkName("name", n.Name); err != nil {
		return key, err
	}
	key.ID, err = newID("key_", now, d.rand)
	return key, err
}

// Key returns one key's description, revoked ones too.
func (d *Directory) Key(ctx context.Context, tenant, id string) (key Key, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		k, err := found(t.keys, id)
		if err == nil {
			key = k.value.Key
		}
		return err
	})
	return key, doing("key", err)
}

// Keys lists key descriptions, revoked ones too, oldest first.
func (d *Directory) Keys(ctx context.Context, tenant string) (keys []Key, err error) {
	err = d.of(ctx, tenant, func(t *tenantRows) error {
		rows := list(t.keys)
		keys = make([]Key, len(rows))
		for i := range rows {
			keys[i] = rows[i].Key
		}
		return nil
	})
	return keys, doing("keys", err)
}

// RevokeKey ends a key: when it returns nil, every later Authenticate refuses it. Revoking twice is nil.
func (d *Directory) RevokeKey(ctx context.Context, tenant, id string) error {
	return doing("revoke key", d.change(ctx, tenant, func(t *tenantRows) (func() map[string]*entry, error) {
		k, err := found(t.keys, id)
		if err != nil || !k.value.Ended.IsZero() {
			return nil, err
		}
		next := k.value
		next.Ended = d.now().UTC()
		return d.saveKey(ctx, t, next, k.version)
	}))
}

// saveKey commits one key and returns how to apply it.
func (d *Directory) saveKey(ctx context.Context, t *tenantRows, key keyRow, at uint64, drop ...string) (func() map[string]*entry, error) {
	saved, err := save(ctx, d, t.org.Tenant, keyTable, key.ID, key, at, drop...)
	if err != nil {
		return nil, err
	}
	return func() map[string]*entry {
		t.keys[key.ID] = saved
		changes := map[string]*entry{textID(key.ID): t.entryOf(&key)}
		for _, old := range drop {
			delete(t.keys, old)
			changes[textID(old)] = nil
		}
		return changes
	}, nil
}

func (d *Directory) macOf(text []byte) []byte {
	m := d.macs.Get().(*mac)
	defer d.macs.Put(m)
	sum := m.of(text)
	return sum[:]
}

// checkHolder wants a holder that has not ended. One that is suspended may get keys; they work once it does.
func (t *tenantRows) checkHolder(k *Key) error {
	if k.Kind == Runtime {
		a, err := found(t.agents, k.Agent)
		if err == nil && !a.value.Ended.IsZero() {
			return ErrFinal
		}
		return err
	}
	u, err := found(t.users, k.User)
	if err == nil && !u.value.Ended.IsZero() {
		return ErrFinal
	}
	return err
}

// keyEnded is when a key stopped working for good: revoked, expired, or its holder ended. Zero while it has not.
func (t *tenantRows) keyEnded(k *keyRow, now time.Time) time.Time {
	switch {
	case !k.Ended.IsZero():
		return k.Ended
	case !k.Expires.IsZero() && !k.Expires.After(now):
		return k.Expires
	case t.checkHolder(&k.Key) == nil:
		return time.Time{}
	}
	return k.Created
}
