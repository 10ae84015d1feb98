package badger

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

const (
	// collectEvery is how often the value log is looked at for files that are mostly dead.
	collectEvery = 10 * time.Minute
	// collectRatio is the dead share of a file that makes rewriting it worth while (the engine's own advice).
	collectRatio = 0.5
)

// collect gives dead value log files back to the disk until ctx ends.
func (s *Store) collect(ctx context.Context) {
	defer s.running.Done()
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for ctx.Err() == nil && s.db.RunValueLogGC(collectRatio) == nil {
			continue // each success freed one file; the first error means there is nothing more to free now
		}
	}
}

// quiet lets the engine's warnings and errors through and drops its chatter.
type quiet struct{ log *slog.Logger }

func (q quiet) Errorf(format string, args ...any) {
	if q.log != nil {
		q.log.Error("store engine", slog.String("detail", line(format, args)))
	}
}

func (q quiet) Warningf(format string, args ...any) {
	if q.log != nil {
		q.log.Warn("store engine", slog.String("detail", line(format, args)))
	}
}

func (q quiet) Infof(string, ...any)  {}
func (q quiet) Debugf(string, ...any) {}

func line(format string, args []any) string { return strings.TrimSpace(fmt.Sprintf(format, args...)) }
