package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// flow is an answer that is too large to be held back. Its call's intent is durable before its first byte, and its
// outcome, with the digest of what is sent, before its last: whoever makes a flow sends what makes it whole only after
// commit has returned nil.
type flow struct {
	media, name string // content type, and the file it is for
	key         string // what the caller alone is told, in a header; "" is nothing
	write       func(ctx context.Context, w io.Writer, commit func(digest [32]byte) error) error
	release     func()
}

func sum(b []byte) [32]byte { return sha256.Sum256(b) }

// flows counts the flows that are under way.
type flows struct {
	mu      sync.Mutex
	tenants map[string]bool
}

// take takes a tenant's place; false says that it is taken, or all are.
func (f *flows) take(tenant string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tenants[tenant] || len(f.tenants) >= maxFlows {
		return false
	}
	if f.tenants == nil {
		f.tenants = map[string]bool{}
	}
	f.tenants[tenant] = true
	return true
}

func (f *flows) give(tenant string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.tenants, tenant)
}

// flow makes the call's answer a flow. An organisation has one at a time, and all together have maxFlows.
func (c *call) flow(ready func() (*flow, error)) error {
	tenant := c.caller.Tenant()
	if !c.api.flows.take(tenant) {
		return refuse(http.StatusServiceUnavailable, "busy", "another export, proof or upload of this organisation is under way, or as many as this gateway makes at a time", "try again when it is done").later(roomSoon)
	}
	release := func() { c.api.flows.give(tenant) }
	f, err := ready()
	if err != nil {
		release()
		return err
	}
	f.release = release
	c.stream = f
	return nil
}

// serveFlow answers a call whose handler made a flow, unless it was refused all the same.
func (a *API) serveFlow(w http.ResponseWriter, r *http.Request, c *call, out *answer, start time.Time) {
	defer c.stream.release()
	defer func() { a.metrics.served(c.route, out.status, a.deps.Now().Sub(start)) }()
	if out.status >= http.StatusBadRequest {
		c.finish(r.Context(), out)
		a.release(c, out)
		out.send(w)
		return
	}
	defer a.release(c, out)
	a.sendFlow(w, r, c, out)
}

// sendFlow sends the flow of a call that was let through. A flow that breaks off ends the connection, so that nobody takes a
// part for the whole.
func (a *API) sendFlow(w http.ResponseWriter, r *http.Request, c *call, out *answer) {
	err := a.runFlow(w, r, c, out)
	if err == nil {
		return
	}
	if !c.done {
		out.status, c.code = http.StatusInternalServerError, "internal"
		c.note("ended", ended(r, err))
		c.finish(r.Context(), out)
	}
	a.log.Warn("flow broke off", "record", c.id, "op", c.route.Op, "error", err)
	panic(http.ErrAbortHandler)
}

// ended says for the record why a flow broke off.
func ended(r *http.Request, err error) string {
	switch {
	case r.Context().Err() != nil, errors.Is(err, errReader):
		return "the reader left"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long"
	}
	return "it failed"
}

func (a *API) runFlow(w http.ResponseWriter, r *http.Request, c *call, out *answer) (err error) {
	defer func() {
		if v := recover(); v != nil {
			a.log.Error("control call panicked", "record", c.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	ctx, cancel := context.WithTimeout(r.Context(), flowTime)
	defer cancel()
	h := w.Header()
	h.Set("Content-Type", c.stream.media)
	h.Set("Content-Disposition", `attachment; filename="`+c.stream.name+`"`)
	h.Set("Gatewright-Record", c.id)
	if c.stream.key != "" {
		h.Set(exportKey, c.stream.key)
	}
	return c.stream.write(ctx, &paced{w: w, control: http.NewResponseController(w)}, func(digest [32]byte) error {
		c.note("sha256", hexed(digest))
		out.status = http.StatusOK
		c.finish(ctx, out)
		if c.broken {
			return errUnrecorded
		}
		c.done = true
		return nil
	})
}

var (
	errPanicked   = errors.New("panicked")
	errReader     = errors.New("the reader takes too long or is gone")
	errUnrecorded = errors.New("the ledger did not take the record of this call")
)

// paced writes to a client that must take each piece in chunkTime, and leastRate on the whole.
type paced struct {
	w       io.Writer
	control *http.ResponseController
	taken   int64         // bytes
	spent   time.Duration // in writes: the reader's time
}

// Flush sends what was written, where that can be asked for.
func (p *paced) Flush() error {
	if err := p.control.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("%w: %w", errReader, err)
	}
	return nil
}

// left is how long the next write may take.
func (p *paced) left() time.Duration {
	earned := time.Duration(p.taken) * time.Second / leastRate
	return max(min(chunkTime, chunkTime+earned-p.spent), 0)
}

// Write implements io.Writer.
func (p *paced) Write(b []byte) (int, error) {
	// A server that knows no deadlines, as in a test, has none to miss.
	start := time.Now()
	if err := p.control.SetWriteDeadline(start.Add(p.left())); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, fmt.Errorf("%w: %w", errReader, err)
	}
	n, err := p.w.Write(b)
	p.taken, p.spent = p.taken+int64(n), p.spent+time.Since(start)
	if err != nil {
		return n, fmt.Errorf("%w: %w", errReader, err)
	}
	return n, nil
}
