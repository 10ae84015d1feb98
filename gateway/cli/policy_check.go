package cli

import (
	"errors"
	"fmt"
	"io"

	"github.com/gatewright/gatewright/policies/lint"
	"github.com/gatewright/gatewright/policies/suite"
)

type policyCheckCmd struct {
	bundleFolder
	Strict bool   `help:"Fail on warnings, too."`
	SARIF  string `help:"Write what is wrong as SARIF, too." name:"sarif" placeholder:"FILE"`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run compiles the bundle against the tools that its tests describe, as the gateway does against those there are, and looks
// at what compiles for what was hardly meant.
func (c *policyCheckCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	compiled, err := suite.Compile(b)
	found := suite.Findings(err)
	if err == nil {
		for _, f := range lint.Check(b, compiled.Engine) {
			found = append(found, suite.Finding{Rule: f.Rule, Level: f.Level, File: f.File, Line: f.Line, Column: f.Column, Msg: f.Msg, Hint: f.Hint})
		}
	}
	if fault := toFile(c.SARIF, func(w io.Writer) error { return suite.SARIF(w, c.prefix(), found, lint.Rules()) }); fault != nil {
		return errors.Join(err, fault)
	}
	if c.JSON {
		out := map[string]any{"name": b.Name(), "digest": b.Digest().String(), "findings": findingsJSON(found)}
		if err == nil {
			out["policies"], out["tools"], out["permits"] = compiled.Engine.Len(), len(compiled.Tools), compiled.Engine.Permits()
		}
		err = errors.Join(err, sh.json(out))
	}
	if err != nil {
		return err
	}
	return c.tell(sh, compiled, found)
}

// tell prints what was found of a bundle that compiles.
func (c *policyCheckCmd) tell(sh *shell, compiled *suite.Compiled, found []suite.Finding) error {
	warnings := 0
	for _, f := range found {
		if f.Level == "warning" {
			warnings++
		}
		if f.File = c.prefix() + f.File; !c.JSON {
			fmt.Fprintln(sh.out, plainLine(f.String()))
		}
	}
	if !c.JSON {
		e := compiled.Engine
		fmt.Fprintf(sh.out, "%d policies, %d tools, %d warnings: ready to come into force, digest %s\n", e.Len(), len(compiled.Tools), warnings, e.Digest())
		if !e.Permits() {
			fmt.Fprintln(sh.out, "no policy permits anything: everything would be refused")
		}
	}
	if c.Strict && warnings > 0 {
		return &hinted{fmt.Errorf("%d warnings", warnings), "each line above names its rule; // lint:allow RULE before a policy lets one pass"}
	}
	return nil
}
