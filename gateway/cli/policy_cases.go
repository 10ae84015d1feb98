package cli

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
)

// whichCases says which cases of a bundle's tests are meant.
type whichCases struct {
	Only string `help:"Only cases whose \"FILE: NAME\" matches the expression." name:"run" placeholder:"REGEXP"`
}

func (w *whichCases) options() (o suite.Options, err error) {
	if w.Only == "" {
		return o, nil
	}
	if o.Only, err = regexp.Compile(w.Only); err != nil {
		return o, usage("--run takes a regular expression of Go, as in `--run 'mail.txtar: .*payroll'`", "%v", err)
	}
	return o, nil
}

// casesHint says of an error in a bundle's tests what to do about it.
func casesHint(err error) error {
	if errors.Is(err, suite.ErrNone) {
		return &hinted{err, "a file begins with `-- principal ada --`, `{}`, `-- case NAME --` and {\"principal\": \"ada\", \"server\": ..., \"tool\": ..., \"want\": \"deny\"}"}
	}
	return err
}

type policyTestCmd struct {
	bundleFolder
	whichCases
	Cover   float64 `help:"Fail when less than this share of the conditions is covered, in percent." name:"min-coverage" aliases:"cover" placeholder:"PERCENT"`
	Missing bool    `help:"List what no case meets."`
	Verbose bool    `help:"Show the cases that pass, too." short:"v"`
	Watch   bool    `help:"Run again whenever a file of the bundle changes, until interrupted."`
	JUnit   string  `help:"Write the outcome as JUnit XML, too." name:"junit" placeholder:"FILE"`
	SARIF   string  `help:"Write failures and what is not covered as SARIF, too." name:"sarif" placeholder:"FILE"`
	JSON    bool    `help:"Print JSON." name:"json"`
}

// watchEvery is how often a bundle is looked at for changes.
const watchEvery = 300 * time.Millisecond

// Run runs the tests once, or whenever something changes.
func (c *policyTestCmd) Run(sh *shell) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	if !(c.Cover >= 0 && c.Cover <= 100) { // not a number is neither
		return usage("as in `--min-coverage 90`", "--min-coverage %v is no percentage from 0 to 100", c.Cover)
	}
	if c.Cover > 0 && c.Only != "" {
		return usage("leave one of them", "--min-coverage is about all cases, and --run leaves some out")
	}
	if c.Watch {
		return c.watch(sh, o)
	}
	b, err := c.load()
	if err != nil {
		return err
	}
	return c.once(sh, b, o)
}

func (c *policyTestCmd) watch(sh *shell, o suite.Options) error {
	last := ""
	for ; sh.ctx.Err() == nil; pause(sh.ctx, watchEvery) {
		b, err := c.load()
		state := c.state(b, err)
		if state == last {
			continue
		}
		if last = state; err == nil {
			err = c.once(sh, b, o)
		}
		if err != nil {
			sh.report(err)
		}
		fmt.Fprintln(sh.out, "waiting for changes")
	}
	return nil
}

// state names what the bundle holds, without the reports that this command itself writes into it.
func (c *policyTestCmd) state(b *policies.Bundle, err error) string {
	if err != nil {
		return err.Error()
	}
	var own []string
	for _, name := range []string{c.JUnit, c.SARIF} {
		if rel, err := within(c.Bundle, name); name != "" && err == nil {
			own = append(own, rel)
		}
	}
	h := sha256.New()
	for _, name := range b.Files() {
		if text, _ := b.File(name); !slices.Contains(own, name) {
			fmt.Fprintf(h, "%q %d\n%s", name, len(text), text)
		}
	}
	return string(h.Sum(nil))
}

// within names a file from a folder on, as a bundle does.
func within(folder, name string) (string, error) {
	a, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	b, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(a, b)
	return filepath.ToSlash(rel), err
}

func (c *policyTestCmd) once(sh *shell, b *policies.Bundle, o suite.Options) error {
	r, err := suite.Run(sh.ctx, b, o)
	switch {
	case err != nil:
		return c.failed(sh, err)
	case len(r.Results) == 0:
		return usage("`gatewright policy test --verbose` lists the cases", "no case matches %q", c.Only)
	}
	err = errors.Join(
		toFile(c.JUnit, func(w io.Writer) error { return r.JUnit(w, c.prefix()) }),
		toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), r.Findings(), nil) }))
	if err != nil {
		return err
	}
	if c.JSON {
		err = sh.json(r.JSON())
	} else {
		c.print(sh.out, r)
	}
	return errors.Join(err, c.verdict(r))
}

// failed writes the reports of a run that could not be: a machine that reads them must not take an old one, or none, for good.
func (c *policyTestCmd) failed(sh *shell, err error) error {
	found := suite.Findings(err)
	fault := errors.Join(
		toFile(c.JUnit, func(w io.Writer) error { return suite.JUnitErrors(w, c.prefix(), found) }),
		toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), found, nil) }))
	if c.JSON {
		fault = errors.Join(fault, sh.json(map[string]any{"findings": findingsJSON(found)}))
	}
	if fault != nil {
		return errors.Join(err, fault)
	}
	return casesHint(err)
}

func (c *policyTestCmd) print(w io.Writer, r *suite.Report) {
	prefix := plainLine(c.prefix())
	for i := range r.Results {
		switch x := &r.Results[i]; {
		case x.Why != nil:
			fmt.Fprintf(w, "FAIL %s%s:%d: %s\n     %s\n", prefix, plainLine(x.Case.File), x.Case.Line, plainLine(x.Case.Name), plainLine(x.Why.Error()))
			indented(w, "     ", suite.Lines(&x.Explanation))
		case c.Verbose:
			fmt.Fprintf(w, "ok   %s: %s\n", plainLine(x.Case.File), plainLine(x.Case.Name))
		}
	}
	missing := r.Coverage.Missing()
	if c.Missing {
		for _, m := range missing {
			fmt.Fprintf(w, "%s%s:%d:%d: policy %s: %s\n", prefix, plainLine(m.File), m.Line, m.Column, plainLine(m.Policy), plainLine(m.What))
		}
	}
	more := ""
	if len(missing) > 0 && !c.Missing {
		more = fmt.Sprintf(", %d things are met by no case (--missing lists them)", len(missing))
	}
	fmt.Fprintf(w, "%d cases, %d failed, in %s; %.1f %% of the conditions covered%s\n", len(r.Results), r.Failed(), r.Took.Round(time.Microsecond), r.Coverage.Percent(), more)
}

// indented prints lines behind a margin.
func indented(w io.Writer, margin, text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(w, "%s%s\n", margin, plainLine(strings.TrimRight(line, "\n")))
	}
}

func (c *policyTestCmd) verdict(r *suite.Report) error {
	if n := r.Failed(); n > 0 {
		return &hinted{fmt.Errorf("%d of %d cases failed", n, len(r.Results)), suite.Legend}
	}
	if got := r.Coverage.Percent(); got < c.Cover {
		return &hinted{fmt.Errorf("%.1f %% of the conditions are covered, and %g are wanted", got, c.Cover), "--missing lists what no case meets"}
	}
	return nil
}
