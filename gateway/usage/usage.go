// Package usage keeps what agents report of the tokens that models took: one row per hour of a session, with a count per
// model.
//
// The numbers are the agents' own word. They are kept and added up for people, and nothing decides by them. An agent
// replaces its own rows only. Nothing is kept in memory.
package usage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/store"
)

// Errors a caller branches on.
var (
	// ErrInvalid: a report that is not well-formed; nothing of it was kept.
	ErrInvalid = errors.New("invalid report")
	// ErrLimit: one of the bounds of Config is reached; nothing of the report was kept.
	ErrLimit = errors.New("limit reached")
	// ErrGeneration: the batch is not of the stream's generation; the stream is to be opened anew, or reset.
	ErrGeneration = errors.New("another generation of the stream")
	// ErrForbidden: who reports is no agent of an organisation.
	ErrForbidden = errors.New("forbidden")
)

// Config bounds the package.
type Config struct {
	// RowsPerAgent bounds an agent's rows, one per hour of a session. Default 50000; each takes about 300 bytes of disk.
	RowsPerAgent int `koanf:"rows_per_agent"`
	// Rows bounds a tenant's rows. Default 200000.
	Rows int `koanf:"rows"`
	// Keep is how long a row is kept after its day; reports about days before are refused. Default 9600h, 400 days.
	Keep time.Duration `koanf:"keep"`
	// Runs bounds the runs remembered per agent; the oldest go. Default 20, at most 100.
	Runs int `koanf:"runs"`
}

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{RowsPerAgent: 50_000, Rows: 200_000, Keep: 400 * 24 * time.Hour, Runs: 20}
}

// Validate refuses a configuration that cannot work or is without bounds.
func (c Config) Validate() error {
	switch {
	case c.RowsPerAgent < 1 || c.Rows < c.RowsPerAgent || c.Rows > 1<<22:
		return fmt.Errorf("rows_per_agent %d, rows %d: want at least 1, the first not above the second, at most %d", c.RowsPerAgent, c.Rows, 1<<22)
	case c.Keep < 24*time.Hour || c.Keep > 10*366*24*time.Hour:
		return fmt.Errorf("keep %v: want a day to ten years", c.Keep)
	case c.Runs < 1 || c.Runs > 100:
		return fmt.Errorf("runs %d: want 1 to 100", c.Runs)
	}
	return nil
}

// Register keeps all tenants' reports. It is safe for concurrent use and owns no goroutine.
type Register struct {
	cfg   Config
	store store.Store
	now   func() time.Time
	rand  io.Reader
}

// New makes a register over a store. rand must be safe for concurrent use.
func New(cfg Config, s store.Store, now func() time.Time, rand io.Reader) (*Register, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("usage: %w", err)
	}
	if s == nil || now == nil || rand == nil {
		return nil, errors.New("usage: a dependency is missing")
	}
	return &Register{cfg: cfg, store: s, now: now, rand: rand}, nil
}

// Who is the agent that reports, as its credential proved it.
type Who struct {
	Tenant, User, Agent, Key string
}

func (w Who) check() error {
	if w.Agent == "" || w.Key == "" || !ledger.ValidTenant(w.Tenant) || w.Tenant == ledger.InstanceTenant {
		return fmt.Errorf("%w: usage is reported by an agent of an organisation", ErrForbidden)
	}
	return nil
}

// Entry is the tokens of one model.
type Entry struct {
	Model                                string
	Input, Output, CacheRead, CacheWrite int64
}

// Row is the usage of one session in one hour on one device.
type Row struct {
	Product string
	Session string
	Date    string // UTC day, 2006-01-02; "" with Hour -1 is the session as a whole
	Hour    int    // UTC, 0 to 23
	Device  string
	Entries []Entry
}

// Bounds of one report. The clients send at most 100 snapshots with 500 entries in 256 KiB.
const (
	maxRows    = 100
	maxEntries = 500
	maxModels  = 100             // of one row
	maxText    = 256             // bytes of a name
	maxTokens  = 100_000_000_000 // of one count; sums stay far inside 63 bits
)

const dayForm = "2006-01-02"

// Put keeps rows. A model's counts replace those the row had for that model; other models of the row stay.
func (r *Register) Put(ctx context.Context, who Who, rows []Row) error {
	if err := who.check(); err != nil {
		return fmt.Errorf("report usage: %w", err)
	}
	if err := r.check(rows); err != nil {
		return fmt.Errorf("report usage: %w", err)
	}
	err := r.update(ctx, who, func(b *books) error {
		for i := range rows {
			if err := b.merge(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("report usage: %w", err)
	}
	return nil
}

// check refuses a report as a whole.
func (r *Register) check(rows []Row) error {
	if len(rows) == 0 || len(rows) > maxRows {
		return fmt.Errorf("%w: %d rows, want 1 to %d", ErrInvalid, len(rows), maxRows)
	}
	entries := 0
	for i := range rows {
		if err := r.checkRow(&rows[i]); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		entries += len(rows[i].Entries)
	}
	if entries > maxEntries {
		return fmt.Errorf("%w: %d entries, at most %d", ErrInvalid, entries, maxEntries)
	}
	return nil
}

func (r *Register) checkRow(row *Row) error {
	if err := checkTexts(row.Product, row.Session, row.Device); err != nil {
		return err
	}
	if row.Session == "" || len(row.Entries) == 0 || len(row.Entries) > maxModels {
		return fmt.Errorf("%w: want a session and 1 to %d models", ErrInvalid, maxModels)
	}
	if err := r.checkDate(row.Date, row.Hour); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, e := range row.Entries {
		if e.Model == "" || checkTexts(e.Model) != nil || seen[e.Model] {
			return fmt.Errorf("%w: a model has no name, a name of more than %d bytes, or comes twice", ErrInvalid, maxText)
		}
		seen[e.Model] = true
		for _, n := range []int64{e.Input, e.Output, e.CacheRead, e.CacheWrite} {
			if n < 0 || n > maxTokens {
				return fmt.Errorf("%w: a count is below 0 or above %d", ErrInvalid, int64(maxTokens))
			}
		}
	}
	return nil
}

// checkDate takes real days that are kept and have begun somewhere on Earth.
func (r *Register) checkDate(date string, hour int) error {
	if date == "" && hour == -1 {
		return nil
	}
	day, err := time.Parse(dayForm, date)
	if err != nil || hour < 0 || hour > 23 {
		return fmt.Errorf("%w: want a UTC day as YYYY-MM-DD and an hour from 0 to 23", ErrInvalid)
	}
	now := r.now()
	if day.After(now.Add(24*time.Hour)) || date < r.oldest(now) {
		return fmt.Errorf("%w: the day is to come, or longer ago than usage is kept", ErrInvalid)
	}
	return nil
}

// oldest is the first day that is kept.
func (r *Register) oldest(now time.Time) string { return now.UTC().Add(-r.cfg.Keep).Format(dayForm) }
