package identity

import (
	"fmt"
	"time"
)

// Config bounds what one gateway keeps in memory. All of it stands there, at roughly 1 KiB an entry.
type Config struct {
	// MaxOrganisations bounds tenants. Default 1000.
	MaxOrganisations int `koanf:"max_organisations"`
	// MaxUsers bounds users of one organisation who are not removed. Default 10000.
	MaxUsers int `koanf:"max_users"`
	// MaxAgents bounds agents of one organisation that are not revoked. Default 10000.
	MaxAgents int `koanf:"max_agents"`
	// MaxKeys bounds API keys of one organisation that are not revoked. Default 20000.
	MaxKeys int `koanf:"max_keys"`
	// KeyTTL is a key's lifetime when none is asked for; 0 means no end. Default 0. Danger: keys without an end are
	// found in old backups.
	KeyTTL time.Duration `koanf:"key_ttl"`
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{MaxOrganisations: 1000, MaxUsers: 10_000, MaxAgents: 10_000, MaxKeys: 20_000}
}

// Validate refuses bounds that are no bounds.
func (c Config) Validate() error {
	for name, n := range map[string]int{
		"max_organisations": c.MaxOrganisations, "max_users": c.MaxUsers, "max_agents": c.MaxAgents, "max_keys": c.MaxKeys,
	} {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("%s must be 1 to 1000000: %w", name, ErrInvalid)
		}
	}
	if c.KeyTTL < 0 || c.KeyTTL > maxKeyLife {
		return fmt.Errorf("key_ttl must be 0 to %s: %w", maxKeyLife, ErrInvalid)
	}
	return nil
}

const (
	// maxKeyLife is the longest a key with an end may live: ten years, beyond which an end is none.
	maxKeyLife = 87_600 * time.Hour
	// keepEnded is how many revoked or removed entries of each sort a tenant keeps for its lists; the ledger keeps the
	// history. A deleted key is unknown and refused as such.
	keepEnded = 1000
)
