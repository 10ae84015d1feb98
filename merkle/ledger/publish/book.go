package publish

import (
	"context"

	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Book is a whole ledger: the log, and what is published of it.
type Book struct {
	*wal.Log
	*Publisher
}

// OpenBook opens what was published and the log under it, in the folder and with the names and key that the log's options
// give. Its Log is closed by Close.
func OpenBook(ctx context.Context, o wal.Options) (Book, error) {
	p, err := Open(Options{FS: o.FS, Dir: o.Dir, Instance: o.Instance, Origin: o.Origin, Signer: o.Signer})
	if err != nil {
		return Book{}, err
	}
	o.Signed, o.Publish = p.Signed(), p.Publish
	log, err := wal.Open(ctx, o)
	if err != nil {
		return Book{}, err
	}
	return Book{log, p}, nil
}
