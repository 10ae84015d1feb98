package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

// LogFiles are the published logs, each a folder as C2SP tlog-tiles has it. publish.Publisher reads one.
type LogFiles struct {
	// Read reads a file of an organisation's log: checkpoint, tile/LEVEL/INDEX or tile/entries/INDEX, each tile also in
	// its partial forms. What the log has not is fs.ErrNotExist.
	Read     func(tenant, path string) ([]byte, error)
	Instance string // with its generation, as in origins
}

// logFiles mounts the files of the organisation's log, entries and all: what list-records shows, as other people's
// programs read it. Of the log of checkpoints everybody may see checkpoint and hashes. It is no part of the OpenAPI
// document: the specification is tlog-tiles.
func (m *mounting) logFiles() {
	route := m.take("get-log-file")
	if route == nil {
		return
	}
	m.api.mux.HandleFunc(route.pattern(), func(w http.ResponseWriter, r *http.Request) {
		c := callOf(r.Context())
		if c == nil || c.route != route {
			internal().write(w)
			return
		}
		path := r.PathValue("path")
		c.note("file", path)
		b, err := m.api.logFile(c, r.PathValue("tenant"), r.PathValue("instance"), path)
		if err != nil {
			p, known := asProblem(fault(err))
			if !known {
				m.api.log.Error("control call failed", "record", c.id, "op", route.Op, "error", err)
			}
			p.Record, c.code = c.id, p.Code
			p.write(w)
			return
		}
		kind, keep := "application/octet-stream", "private, max-age=31536000, immutable"
		if path == "checkpoint" {
			kind, keep = "text/plain; charset=utf-8", "no-store"
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", keep)
		_, _ = w.Write(b) // held back, and bounded by what a bundle of records may be
	})
}

// logFile reads a file for a caller. Another organisation's log is one that there is not.
func (a *API) logFile(c *call, tenant, instance, path string) ([]byte, error) {
	files := a.deps.LogFiles
	if files.Read == nil || instance != files.Instance || tenant != c.caller.Tenant() && tenant != ledger.CheckpointsLog {
		return nil, notFound()
	}
	b, err := files.Read(tenant, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, wal.ErrTenant), errors.Is(err, publish.ErrNotYet):
		return nil, notFound()
	case err != nil:
		return nil, fmt.Errorf("read log file: %w", err)
	}
	return b, nil
}
