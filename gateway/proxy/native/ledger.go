package native

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/proxy"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/tile"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// Book is what is published of the ledger; publish.Book is one.
type Book interface {
	File(tenant, path string) ([]byte, error)
	Prove(ctx context.Context, tenant string, index uint64) ([]byte, error)
	Find(ctx context.Context, tenant, id string) (wal.Entry, bool, error)
}

// Ledger shows callers checkpoint and hashes of their organisation's log as C2SP tlog-tiles has it, and agents the proofs
// of their own records:
//
//	GET /ledger/{tenant}/{instance}/checkpoint
//	GET /ledger/{tenant}/{instance}/tile/{level}/{index}[.p/{width}]
//	GET /api/v1/ledger/records/{id}/proof
//
// Entries are the records of all agents and admins, and no agent's to read, who may be told by anybody what to do: the
// control port has them, for management keys. Of the log of checkpoints, _checkpoints, everybody with a credential may
// see checkpoint and hashes. Whatever else is not the caller's own is answered as what does not exist. Reading leaves no record.
type Ledger struct {
	Line     *pipeline.Line
	Book     Book
	Instance string        // with its generation, as in origins
	Retry    time.Duration // when a record that no checkpoint covers yet is likely to be covered
}

// Content types and caching of C2SP tlog-tiles. What a log has under a tile's name never changes.
const (
	typeText   = "text/plain; charset=utf-8"
	typeBytes  = "application/octet-stream"
	neverStore = "no-store"
	keepLong   = "private, max-age=31536000, immutable"
)

// entries begins the path of a bundle of records.
const entries = "tile/entries"

// Serve answers one request under /ledger.
func (d *Ledger) Serve(x *proxy.Exchange) {
	seg := strings.SplitN(strings.TrimPrefix(x.Path, "/"), "/", 4)
	d.look(x, "/ledger/{tenant}/{instance}/{path}", "ledger/get", x.Path, func(_ context.Context, c *pipeline.Call) (answer, error) {
		if len(seg) != 4 || seg[2] != d.Instance || seg[1] != c.Caller.Tenant() && seg[1] != ledger.CheckpointsLog {
			return answer{}, fs.ErrNotExist
		}
		if strings.HasPrefix(seg[3], entries) {
			return answer{}, fs.ErrNotExist
		}
		b, err := d.Book.File(seg[1], seg[3])
		if seg[3] == "checkpoint" {
			return answer{b, typeText, neverStore}, err
		}
		return answer{b, typeBytes, keepLong}, err
	})
}

// proofOf returns the id in the path of a record's proof.
func proofOf(path string) (id string, ok bool) {
	rest, ok1 := strings.CutPrefix(path, "/api/v1/ledger/records/")
	id, ok2 := strings.CutSuffix(rest, "/proof")
	return id, ok1 && ok2 && !strings.Contains(id, "/")
}

// serveProof answers with the tlog-proof of one of the agent's own records.
func (d *Ledger) serveProof(x *proxy.Exchange, id string) {
	d.look(x, "/api/v1/ledger/records/{id}/proof", "ledger/prove", id, func(ctx context.Context, c *pipeline.Call) (answer, error) {
		e, ok, err := d.Book.Find(ctx, c.Caller.Tenant(), id)
		if err != nil || !ok {
			return answer{}, errors.Join(err, pipeline.Deny(pipeline.NotFound, ""))
		}
		r, err := e.Record()
		if err != nil {
			return answer{}, err
		}
		if r.Agent != c.Caller.Agent() || r.User != c.Caller.User() {
			return answer{}, fs.ErrNotExist
		}
		text, err := d.Book.Prove(ctx, c.Caller.Tenant(), e.Index)
		return answer{text, typeText, neverStore}, err
	})
}

// answer is what is sent when a request is let through.
type answer struct {
	body        []byte
	kind, cache string
}

// look judges a request and answers it.
func (d *Ledger) look(x *proxy.Exchange, route, op, name string, read func(context.Context, *pipeline.Call) (answer, error)) {
	var a answer
	c := &pipeline.Call{Remote: x.Remote, TLS: x.IsTLS(), Credential: x.Head.Credential(), Certificate: x.Certificate(), Route: route}
	c.Read = func(_ context.Context, c *pipeline.Call) error {
		c.Op, c.Action, c.Name = op, "read_account", name
		if !x.IsGet() && !x.IsHead() {
			x.Response.Header.Set("Allow", "GET, HEAD")
			return pipeline.Deny(pipeline.MethodNotAllowed, "")
		}
		if o := x.Head.Organization; o != nil && string(o) != c.Caller.Tenant() {
			return pipeline.Deny(pipeline.NotFound, "X-Organization-Id is not an organisation of this credential").WithReason("other_tenant")
		}
		c.Answer = func(ctx context.Context, c *pipeline.Call) (err error) {
			a, err = read(ctx, c)
			return d.denial(err)
		}
		return nil
	}
	d.Line.Look(x.Context(), c)
	if c.Denial != nil {
		x.Refuse(c.Denial, c.Record)
		return
	}
	x.SetStatusCode(http.StatusOK)
	x.Response.Header.SetContentType(a.kind)
	x.Response.Header.Set("X-Content-Type-Options", "nosniff")
	x.Response.Header.Set("Cache-Control", a.cache)
	x.SetBody(a.body)
}

// denial gives what the ledger says its codes. What is not one of them is a fault.
func (d *Ledger) denial(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, wal.ErrPruned), errors.Is(err, tile.ErrPruned):
		return pipeline.Deny(pipeline.NotFound, "").Because(err)
	case errors.Is(err, publish.ErrNotYet), errors.Is(err, wal.ErrTenant):
		no := pipeline.Deny(pipeline.NotYet, "").Because(err)
		no.RetryAfter = d.Retry
		return no
	}
	if no := (*pipeline.Denial)(nil); errors.As(err, &no) {
		return no
	}
	return err
}
