package usage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/store"
)

// hourRow is one session's hour as kept.
type hourRow struct {
	Agent      string            `json:"agent"`
	User       string            `json:"user"`
	Product    string            `json:"product"`
	Day        string            `json:"day"`
	Generation string            `json:"generation,omitempty"` // of the snapshot that the row is
	Revision   int64             `json:"revision,omitempty"`
	Models     map[string]counts `json:"models"`
}

// counts are one model's tokens: input, output, cache read, cache write.
type counts [4]int64

// bookRow counts rows, so that bounds need no scan: a tenant's under tenantBook, an agent's under its id.
type bookRow struct {
	Rows   int    `json:"rows"`
	Pruned string `json:"pruned,omitempty"` // in the tenant's book: the day old rows were last removed
}

var (
	hourTable = store.Table[hourRow]{Name: "usage_hours", Version: 1}
	bookTable = store.Table[bookRow]{Name: "usage_books", Version: 1}
)

const (
	tenantBook = "~" // no agent's id
	undated    = "~" // stands where the day does; sorts after all days
)

// key puts rows in the order of their days, and gives each its place by everything that tells it from others.
func (w Who) key(row *Row) string {
	text, _ := json.Marshal([]any{w.Agent, row.Product, row.Session, row.Date, row.Hour, row.Device}) // strings and an int always encode
	sum := sha256.Sum256(text)
	day := row.Date
	if day == "" {
		day = undated
	}
	return day + "/" + hex.EncodeToString(sum[:])
}

// books is one transaction's view of what an agent may still add.
type books struct {
	r             *Register
	tx            store.Txn
	who           Who
	today         string
	tenant, agent bookRow
}

// update runs fn in one transaction and keeps the books. The first report of a day removes what is too old before.
func (r *Register) update(ctx context.Context, who Who, fn func(*books) error) error {
	if err := r.prune(ctx, who.Tenant); err != nil {
		return err
	}
	return r.store.Update(ctx, who.Tenant, func(tx store.Txn) (err error) {
		b := &books{r: r, tx: tx, who: who, today: r.now().UTC().Format(dayForm)}
		if b.tenant, err = readBook(tx, tenantBook); err != nil {
			return err
		}
		if b.agent, err = readBook(tx, who.Agent); err != nil {
			return err
		}
		before := b.agent.Rows
		if err := fn(b); err != nil || b.agent.Rows == before {
			return err
		}
		_, err = bookTable.Put(tx, tenantBook, b.tenant, store.AnyVersion)
		if err == nil {
			_, err = bookTable.Put(tx, who.Agent, b.agent, store.AnyVersion)
		}
		return err
	})
}

func readBook(tx store.Txn, key string) (bookRow, error) {
	b, _, err := bookTable.Get(tx, key)
	if errors.Is(err, store.ErrNotFound) {
		return bookRow{}, nil
	}
	return b, err
}

// get finds the kept row of a report, or opens one.
func (b *books) get(row *Row) (key string, have hourRow, err error) {
	key = b.who.key(row)
	have, _, err = hourTable.Get(b.tx, key)
	if !errors.Is(err, store.ErrNotFound) {
		return key, have, err
	}
	if b.agent.Rows >= b.r.cfg.RowsPerAgent || b.tenant.Rows >= b.r.cfg.Rows {
		return key, have, fmt.Errorf("%w: there are %d rows of the agent and %d of the organisation", ErrLimit, b.agent.Rows, b.tenant.Rows)
	}
	b.agent.Rows++
	b.tenant.Rows++
	have = hourRow{Agent: b.who.Agent, Product: row.Product, Day: row.Date, Models: map[string]counts{}}
	if have.Day == "" {
		have.Day = b.today
	}
	return key, have, nil
}

// merge replaces the models that the report names.
func (b *books) merge(row *Row) error {
	key, have, err := b.get(row)
	if err != nil {
		return err
	}
	set(&have, row)
	if len(have.Models) > maxModels {
		return fmt.Errorf("%w: a row of more than %d models", ErrLimit, maxModels)
	}
	return b.put(key, have)
}

func (b *books) put(key string, have hourRow) error {
	have.User = b.who.User
	_, err := hourTable.Put(b.tx, key, have, store.AnyVersion)
	return err
}

func set(have *hourRow, row *Row) {
	for _, e := range row.Entries {
		have.Models[e.Model] = counts{e.Input, e.Output, e.CacheRead, e.CacheWrite}
	}
}

// removeBatch bounds the rows one transaction removes; with a book for each they stay below what a store allows.
const removeBatch = 400

// prune removes rows whose day is no longer kept, once a day.
func (r *Register) prune(ctx context.Context, tenant string) error {
	now := r.now()
	today := now.UTC().Format(dayForm)
	for again := true; again; {
		err := r.store.Update(ctx, tenant, func(tx store.Txn) error {
			again = false
			book, err := readBook(tx, tenantBook)
			if err != nil || book.Pruned == today {
				return err
			}
			gone, err := old(tx, r.oldest(now))
			if err != nil {
				return err
			}
			if again = len(gone) >= removeBatch; !again {
				book.Pruned = today
			}
			return drop(tx, gone, book)
		})
		if err != nil {
			return fmt.Errorf("remove old rows: %w", err)
		}
	}
	return nil
}

// old lists some rows of days before then, with their agents.
func old(tx store.Txn, then string) (map[string]string, error) {
	gone := map[string]string{}
	err := hourTable.Scan(tx, "", func(key string, row hourRow, _ uint64) error {
		if key >= then || len(gone) >= removeBatch {
			return store.ErrDone
		}
		gone[key] = row.Agent
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = hourTable.Scan(tx, undated+"/", func(key string, row hourRow, _ uint64) error {
		if len(gone) >= removeBatch {
			return store.ErrDone
		}
		if row.Day < then {
			gone[key] = row.Agent
		}
		return nil
	})
	return gone, err
}

func drop(tx store.Txn, gone map[string]string, book bookRow) error {
	agents := map[string]int{}
	for key, agent := range gone {
		if err := tx.Delete(hourTable.Name, key, store.AnyVersion); err != nil {
			return err
		}
		agents[agent]++
	}
	for agent, n := range agents {
		b, err := readBook(tx, agent)
		if err != nil {
			return err
		}
		b.Rows -= n
		if _, err := bookTable.Put(tx, agent, b, store.AnyVersion); err != nil {
			return err
		}
	}
	book.Rows -= len(gone)
	_, err := bookTable.Put(tx, tenantBook, book, store.AnyVersion)
	return err
}

// checkTexts takes what can be shown and kept.
func checkTexts(texts ...string) error {
	for _, s := range texts {
		if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
			return fmt.Errorf("%w: a name is longer than %d bytes or holds control characters", ErrInvalid, maxText)
		}
	}
	return nil
}
