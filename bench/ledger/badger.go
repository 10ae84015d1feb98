package ledger

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// database is Badger, every transaction of it synced.
type database struct {
	db *badger.DB
}

func openDatabase(dir string) (database, error) {
	db, err := badger.Open(badger.DefaultOptions(dir).WithSyncWrites(true).WithLogger(nil).WithMetricsEnabled(false))
	return database{db}, err
}

// openEach opens a database that gets a transaction for each record; Badger itself gathers what comes at once.
func openEach(dir string) (subject, error) { return openDatabase(dir) }

func (d database) keep(_ context.Context, w *writer) error {
	b, err := encode(w.record, nil) // Badger keeps the slice until the transaction is done, and maybe longer
	if err != nil {
		return err
	}
	return d.db.Update(func(t *badger.Txn) error { return t.Set([]byte(w.record.ID), b) })
}

func (d database) batches() uint64 { return 0 }

func (d database) Close() error { return d.db.Close() }

// gathered is Badger with batches made by hand: one goroutine puts all records that wait into one transaction.
type gathered struct {
	database
	commits atomic.Uint64
	mu      sync.Mutex // guards queue
	queue   []pending
	wake    chan struct{}
	stop    chan struct{}
	ended   chan struct{}
}

type pending struct {
	id   string
	data []byte
	w    *writer
}

func openBatched(dir string) (subject, error) {
	d, err := openDatabase(dir)
	if err != nil {
		return nil, err
	}
	g := &gathered{database: d, wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{})}
	go g.run()
	return g, nil
}

func (g *gathered) keep(_ context.Context, w *writer) error {
	b, err := encode(w.record, nil)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.queue = append(g.queue, pending{w.record.ID, b, w})
	first := len(g.queue) == 1
	g.mu.Unlock()
	if first {
		select {
		case g.wake <- struct{}{}:
		default:
		}
	}
	return <-w.done
}

func (g *gathered) run() {
	defer close(g.ended)
	for {
		q := g.take()
		if len(q) > 0 {
			err := g.commit(q)
			for i := range q {
				q[i].w.done <- err
			}
			continue
		}
		select {
		case <-g.wake:
		case <-g.stop:
			return
		}
	}
}

// take gathers as the ledger does.
func (g *gathered) take() []pending {
	grown(&g.mu, func() int { return len(g.queue) })
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.queue
	g.queue = nil
	return q
}

func (g *gathered) commit(q []pending) error {
	t := g.db.NewTransaction(true)
	defer func() { t.Discard() }()
	for i := range q {
		err := t.Set([]byte(q[i].id), q[i].data)
		if errors.Is(err, badger.ErrTxnTooBig) {
			if err = t.Commit(); err != nil {
				return err
			}
			t = g.db.NewTransaction(true)
			err = t.Set([]byte(q[i].id), q[i].data)
		}
		if err != nil {
			return err
		}
	}
	g.commits.Add(1)
	return t.Commit()
}

func (g *gathered) batches() uint64 { return g.commits.Load() }

func (g *gathered) Close() error {
	close(g.stop)
	<-g.ended
	return g.database.Close()
}
