package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
)

type policyCmd struct {
	Check   policyCheckCmd   `cmd:"" help:"Check that a bundle of policies can come into force. Needs no gateway."`
	Test    policyTestCmd    `cmd:"" help:"Run the tests beside the policies. Needs no gateway."`
	Explain policyExplainCmd `cmd:"" help:"Say why the call of a test is allowed or denied, condition by condition."`
}

// bundleFolder is the folder that the commands work on.
type bundleFolder struct {
	Bundle string `arg:"" optional:"" default:"." help:"Folder of the bundle (default: the working directory)." placeholder:"DIR"`
}

func (f *bundleFolder) load() (*policies.Bundle, error) {
	if info, err := os.Stat(f.Bundle); err != nil || !info.IsDir() {
		return nil, usage("a bundle is a folder with *.cedar files; `cp -r policies/default my-policies` begins one", "%s is not a folder that can be read", f.Bundle)
	}
	b, err := policies.LoadBundle(os.DirFS(f.Bundle))
	if err != nil {
		return nil, usage("a bundle is a folder with *.cedar files; `cp -r policies/default my-policies` begins one", "%v", err)
	}
	return b, nil
}

// prefix is what names a file of the bundle from the working directory, with slashes.
func (f *bundleFolder) prefix() string {
	p := path.Clean(filepath.ToSlash(f.Bundle))
	if p == "." {
		return ""
	}
	return strings.TrimSuffix(p, "/") + "/"
}

type policyCheckCmd struct {
	bundleFolder
	SARIF string `help:"Write what is wrong as SARIF, too." name:"sarif" placeholder:"FILE"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run compiles the bundle against the tools that its tests describe, as the gateway does against those there are.
func (c *policyCheckCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	e, tools, err := suite.Compile(b)
	var problems policies.Problems
	if errors.As(err, &problems) || err == nil {
		err = errors.Join(err, toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), suite.ProblemFindings(problems)) }))
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{"name": b.Name(), "digest": b.Digest().String(), "policies": e.Len(), "tools": tools, "permits": e.Permits()})
	}
	fmt.Fprintf(sh.out, "%d policies, %d tools: ready to come into force, digest %s\n", e.Len(), tools, b.Digest())
	if !e.Permits() {
		fmt.Fprintln(sh.out, "no policy permits anything: everything would be refused")
	}
	return nil
}

// toFile writes a file if it is named.
func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return usage("name a file in a folder that is there", "%v", err)
	}
	return errors.Join(write(f), f.Close())
}

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

type policyTestCmd struct {
	bundleFolder
	whichCases
	Cover   float64 `help:"Fail when less than this share of the conditions is covered, in percent." placeholder:"PERCENT"`
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
	if !c.Watch {
		b, err := c.load()
		if err != nil {
			return err
		}
		return c.once(sh, b)
	}
	last := ""
	for ; sh.ctx.Err() == nil; pause(sh.ctx, watchEvery) {
		b, err := c.load()
		state := ""
		if err != nil {
			state = err.Error()
		} else {
			state = b.Digest().String()
		}
		if state == last {
			continue
		}
		if last = state; err == nil {
			err = c.once(sh, b)
		}
		if err != nil {
			sh.report(err)
		}
		fmt.Fprintln(sh.out, "waiting for changes")
	}
	return nil
}

func (c *policyTestCmd) once(sh *shell, b *policies.Bundle) error {
	o, err := c.options()
	if err != nil {
		return err
	}
	r, err := suite.Run(sh.ctx, b, o)
	var problems policies.Problems
	switch {
	case errors.Is(err, suite.ErrNone):
		return &hinted{err, "a file begins with `-- principal ada --`, `{}`, `-- case NAME --` and {\"principal\": \"ada\", \"server\": ..., \"tool\": ..., \"want\": \"deny\"}"}
	case errors.As(err, &problems):
		return errors.Join(err, toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), suite.ProblemFindings(problems)) }))
	case err != nil:
		return err
	case len(r.Results) == 0:
		return usage("`gatewright policy test --verbose` lists the cases", "no case matches %q", c.Only)
	}
	if err := errors.Join(toFile(c.JUnit, r.JUnit), toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), r.Findings()) })); err != nil {
		return err
	}
	if c.JSON {
		err = sh.json(r.JSON())
	} else {
		c.print(sh.out, r)
	}
	return errors.Join(err, c.verdict(r))
}

func (c *policyTestCmd) print(w io.Writer, r *suite.Report) {
	for i := range r.Results {
		switch x := &r.Results[i]; {
		case x.Why != nil:
			fmt.Fprintf(w, "FAIL %s%s:%d: %s\n     %s\n", c.prefix(), x.Case.File, x.Case.Line, plainly(x.Case.Name), plainly(x.Why.Error()))
			for line := range strings.Lines(suite.Lines(&x.Explanation)) {
				fmt.Fprintf(w, "     %s\n", plainly(strings.TrimRight(line, "\n")))
			}
		case c.Verbose:
			fmt.Fprintf(w, "ok   %s: %s\n", x.Case.File, plainly(x.Case.Name))
		}
	}
	missing := r.Coverage.Missing()
	if c.Missing {
		for _, m := range missing {
			fmt.Fprintf(w, "%s%s:%d:%d: policy %s: %s\n", c.prefix(), m.File, m.Line, m.Column, plainly(m.Policy), plainly(oneLine(m.What)))
		}
	}
	more := ""
	if len(missing) > 0 && !c.Missing {
		more = fmt.Sprintf(", %d things are met by no case (--missing lists them)", len(missing))
	}
	fmt.Fprintf(w, "%d cases, %d failed, in %s; %.1f %% of the conditions covered%s\n", len(r.Results), r.Failed(), r.Took.Round(time.Microsecond), r.Coverage.Percent(), more)
}

func (c *policyTestCmd) verdict(r *suite.Report) error {
	if n := r.Failed(); n > 0 {
		return &hinted{fmt.Errorf("%d of %d cases failed", n, len(r.Results)), "\"+\" holds, \"-\" fails, \"!\" could not be evaluated, brackets: not reached"}
	}
	if got := r.Coverage.Percent(); got < c.Cover {
		return &hinted{fmt.Errorf("%.1f %% of the conditions are covered, and %g are wanted", got, c.Cover), "--missing lists what no case meets"}
	}
	return nil
}

type policyExplainCmd struct {
	bundleFolder
	whichCases
	JSON bool `help:"Print JSON." name:"json"`
}

// Run explains the calls of cases, whether or not they come out as wanted.
func (c *policyExplainCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	r, err := suite.Run(sh.ctx, b, o)
	switch {
	case err != nil:
		return err
	case len(r.Results) == 0:
		return usage("`gatewright policy test --verbose` lists the cases", "no case matches %q", c.Only)
	case c.JSON:
		return sh.json(r.JSON())
	}
	for i := range r.Results {
		x := &r.Results[i]
		fmt.Fprintf(sh.out, "%s: %s: %s\n", x.Case.File, plainly(x.Case.Name), x.Got)
		for line := range strings.Lines(suite.Lines(&x.Explanation)) {
			fmt.Fprintf(sh.out, "  %s\n", plainly(strings.TrimRight(line, "\n")))
		}
	}
	return nil
}
