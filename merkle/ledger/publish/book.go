package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Book is a whole ledger: the log, and what is published of it.
type Book struct {
	*wal.Log
	*Publisher
}

// OpenBook opens what was published and the log under it, in the folder and with the names, clock and key that the log's
// options give. More, when given, changes the publisher's options first.
func OpenBook(ctx context.Context, o wal.Options, more ...func(*Options)) (Book, error) {
	if o.FS == nil {
		o.FS = disk.OS{}
	}
	signer, err := ledger.NewSigner(ledger.Origin(o.Origin, ledger.InstanceTenant, o.Instance), o.Signer)
	if err != nil {
		return Book{}, fmt.Errorf("open ledger: %w", err)
	}
	if err := disk.MakeApart(o.FS, o.Dir); err != nil {
		return Book{}, fmt.Errorf("open ledger: %w", err)
	}
	generation, err := wal.ReadGeneration(o.FS, o.Dir, signer.Public.Key)
	if err != nil {
		return Book{}, err
	}
	po := Options{
		FS: o.FS, Dir: o.Dir, Instance: wal.InstanceName(o.Instance, generation), Origin: o.Origin, Signer: o.Signer, Now: o.Now,
	}
	for _, change := range more {
		change(&po)
	}
	p, err := Open(po)
	if err != nil {
		return Book{}, err
	}
	if po.Check != nil {
		if err := po.Check(ctx, p); err != nil {
			return Book{}, errors.Join(err, p.Close(ctx))
		}
	}
	o.Signed, o.Publish = p.Signed(), p.Publish
	log, err := wal.Open(ctx, o)
	if err != nil {
		return Book{}, errors.Join(err, p.Close(ctx))
	}
	p.Attach(log)
	return Book{log, p}, nil
}

// Close closes the log and then the publisher.
func (b Book) Close(ctx context.Context) error {
	return errors.Join(b.Log.Close(ctx), b.Publisher.Close(ctx))
}
