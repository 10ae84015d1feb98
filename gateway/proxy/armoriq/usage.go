package armoriq

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/gateway/usage"
)

// Usage keeps the token counts that agents report.
type Usage interface {
	Put(ctx context.Context, who usage.Who, rows []usage.Row) error
	Stream(ctx context.Context, who usage.Who) (string, error)
	Reset(ctx context.Context, who usage.Who, generation, reset string) (string, error)
	Batch(ctx context.Context, who usage.Who, generation string, snapshots []usage.Snapshot) ([]usage.Status, error)
	Run(ctx context.Context, who usage.Who, id string, report []byte) (json.RawMessage, bool, error)
}

func (r *request) reporter() usage.Who {
	c := r.c.Caller
	return usage.Who{Tenant: c.Tenant(), User: c.User(), Agent: c.Agent(), Key: c.KeyID()}
}

// Bounds of one report, as its clients keep them.
const (
	maxSnapshots = 100
	maxEntries   = 100
)

// row reads the members that a usage row has in either form.
func row(dst *usage.Row, more fields) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		dst.Hour = -1
		f := fields{
			"product": text(&dst.Product, 128), "sessionId": text(&dst.Session, 256), "usageDate": text(&dst.Date, 16), "usageHour": whole(&dst.Hour),
			"deviceId": text(&dst.Device, 128), "entries": entriesOf(&dst.Entries),
		}
		maps.Copy(f, more)
		return readObject(raw, at, f)
	}
}

func entriesOf(dst *[]usage.Entry) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		return elements(raw, at, maxEntries, func(v []byte, at string) error {
			var e usage.Entry
			err := readObject(v, at, fields{
				"model": text(&e.Model, 128), "inputTokens": count(&e.Input), "outputTokens": count(&e.Output),
				"cacheReadTokens": count(&e.CacheRead), "cacheWriteTokens": count(&e.CacheWrite),
			})
			*dst = append(*dst, e)
			return err
		})
	}
}

// count reads a whole number that is not negative.
func count(dst *int64) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n < 0 {
			return malformed(at, "must be a whole number, at least 0")
		}
		*dst = n
		return nil
	}
}

func whole(dst *int) func(raw []byte, at string) error {
	return func(raw []byte, at string) error {
		var n int64
		if err := count(&n)(raw, at); err != nil || n > 1<<31 {
			return malformed(at, "must be a whole number, at least 0")
		}
		*dst = int(n)
		return nil
	}
}

// readUsage reads POST /dashboard/token-usage: one session's counts for one hour, or as a whole.
func readUsage(r *request) error {
	var one usage.Row
	if err := row(&one, nil)(r.body, ""); err != nil {
		return err
	}
	r.own("usage/report", "report", func(ctx context.Context) (any, error) {
		if err := r.Usage.Put(ctx, r.reporter(), []usage.Row{one}); err != nil {
			return nil, refusedUsage(err)
		}
		return map[string]any{"success": true, "recorded": len(one.Entries)}, nil
	})
	return nil
}

// readStream reads POST /dashboard/token-usage/stream.
func readStream(r *request) error {
	r.own("usage/report", "report", func(ctx context.Context) (any, error) {
		g, err := r.Usage.Stream(ctx, r.reporter())
		return map[string]any{"success": true, "generation": g}, refusedUsage(err)
	})
	return nil
}

// readStreamReset reads POST /dashboard/token-usage/stream/reset {generation, resetId}.
func readStreamReset(r *request) error {
	var generation, reset string
	if err := readObject(r.body, "", fields{"generation": text(&generation, 64), "resetId": text(&reset, 64)}); err != nil {
		return err
	}
	r.own("usage/report", "report", func(ctx context.Context) (any, error) {
		g, err := r.Usage.Reset(ctx, r.reporter(), generation, reset)
		return map[string]any{"success": true, "generation": g}, refusedUsage(err)
	})
	return nil
}

// readUsageBatch reads POST /dashboard/token-usage/batch {generation, snapshots}.
func readUsageBatch(r *request) error {
	var generation string
	var raw []byte
	if err := readObject(r.body, "", fields{"generation": text(&generation, 64), "snapshots": value(&raw)}); err != nil {
		return err
	}
	if raw == nil {
		return malformed("/snapshots", "is needed")
	}
	var list []usage.Snapshot
	err := elements(raw, "/snapshots", maxSnapshots, func(v []byte, at string) error {
		var s usage.Snapshot
		err := row(&s.Row, fields{"revision": count(&s.Revision)})(v, at)
		list = append(list, s)
		return err
	})
	if err != nil {
		return err
	}
	r.own("usage/report", "report", func(ctx context.Context) (any, error) {
		became, err := r.Usage.Batch(ctx, r.reporter(), generation, list)
		if err != nil {
			return nil, refusedUsage(err)
		}
		results := make([]any, len(became))
		for i, s := range became {
			results[i] = map[string]any{"sessionId": list[i].Session, "usageDate": list[i].Date, "usageHour": list[i].Hour, "status": s}
		}
		return map[string]any{"success": true, "results": results}, nil
	})
	return nil
}

// readUsageRun reads PUT /dashboard/token-usage/runs/{id}.
func readUsageRun(r *request) error {
	r.own("usage/report", "report", func(ctx context.Context) (any, error) {
		kept, applied, err := r.Usage.Run(ctx, r.reporter(), r.id, r.body)
		if err != nil {
			return nil, refusedUsage(err)
		}
		run := map[string]any{}
		if err := json.Unmarshal(kept, &run); err != nil {
			return nil, err
		}
		run["runId"] = r.id
		return map[string]any{"success": true, "applied": applied, "run": run}, nil
	})
	return nil
}

// refusedUsage gives the package's refusals their codes.
func refusedUsage(err error) error {
	switch {
	case errors.Is(err, usage.ErrInvalid):
		return malformed("", err.Error()).Because(err)
	case errors.Is(err, usage.ErrGeneration):
		d := pipeline.Deny(pipeline.RetryMismatch, "the stream is of another generation").Because(err)
		d.Hint = "open the stream anew with POST /dashboard/token-usage/stream"
		return d
	case errors.Is(err, usage.ErrLimit):
		return pipeline.Deny(pipeline.RateLimited, err.Error()).Because(err)
	case errors.Is(err, usage.ErrForbidden):
		return elsewhere(err.Error(), "agents report, with a runtime key").Because(err)
	}
	return err
}
