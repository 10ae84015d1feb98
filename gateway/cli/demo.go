package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/gateway/cli/tour"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

type demoCmd struct {
	Fast    bool `help:"Do not pause between the acts."`
	Verbose bool `help:"Show the gateway's own messages on standard error."`
}

// Run gives the guided tour. It ends with 0 when everything went as it should, and with 1 otherwise.
func (c *demoCmd) Run(sh *shell) error {
	if sh.runner.Serve == nil {
		return errors.New("demo: this build has no gateway in it")
	}
	o := tour.Options{
		Serve: sh.serveTour, Verify: sh.verifyTour, Out: sh.out, Log: io.Discard, Style: sh.style(), Now: time.Now, Rand: rand.Reader,
	}
	if c.Verbose {
		o.Log = sh.err
	}
	if !c.Fast && terminal(sh.out) {
		o.Pause = pause
	}
	gone := make(chan os.Signal, 1) // a reader that has gone is an error of the next line, and not the end before all is tidy
	signal.Notify(gone, syscall.SIGPIPE)
	defer signal.Stop(gone)
	err := tour.Run(sh.ctx, o)
	switch {
	case err == nil:
		return nil
	case sh.ctx.Err() != nil:
		return tourFailed{errors.New("interrupted")}
	}
	return tourEnd(err)
}

// tourEnd says what can be done about a tour that did not come to its end; the gateway's own messages help when it is the
// cause. A reader who has gone knows already, and hears nothing.
func tourEnd(err error) error {
	folder, printing := errors.Is(err, tour.ErrFolder), errors.Is(err, tour.ErrPrint)
	switch {
	case printing && !folder && errors.Is(err, syscall.EPIPE):
		return exitStatus(exitRefused)
	case folder:
		return &hinted{tourFailed{err}, "the tour writes to a temporary folder: TMPDIR names where it is made"}
	case printing:
		return &hinted{tourFailed{err}, "standard output does not take what the tour prints"}
	}
	return &hinted{tourFailed{err}, "gatewright demo --verbose shows the gateway's own messages"}
}

// tourFailed is whatever a tour did not expect: the exit code does not depend on what that was.
type tourFailed struct{ err error }

func (t tourFailed) Error() string { return "demo: " + t.err.Error() }

// ExitCode is that of something that did not go as it should.
func (tourFailed) ExitCode() int { return exitRefused }

func (sh *shell) serveTour(ctx context.Context, g tour.Gateway) error {
	return sh.runner.Serve(ctx, ServeOptions{
		Alone: true, Config: g.Config, Data: g.Data, Listen: "127.0.0.1:0", Control: "127.0.0.1:0", Stdout: g.Stdout, Stderr: g.Stderr,
	})
}

// verifyTour does what ledger verify does.
func (sh *shell) verifyTour(_ context.Context, data string) (wal.Report, error) {
	return (&ledgerVerifyCmd{pinned: pinned{Data: data}}).verify(sh)
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// style is what standard output can show: colours on a terminal unless NO_COLOR (no-color.org) or TERM says otherwise,
// and marks beyond ASCII where the locale is UTF-8.
func (sh *shell) style() tour.Style {
	if !terminal(sh.out) || sh.getenv("TERM") == "dumb" {
		return tour.Style{}
	}
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} { // the first that is set counts (POSIX, 8.2)
		if locale = sh.getenv(name); locale != "" {
			break
		}
	}
	locale = strings.ToLower(locale)
	return tour.Style{Colour: sh.getenv("NO_COLOR") == "", Unicode: strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8")}
}

// terminal says whether somebody reads along.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}
