package suite

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/gatewright/gatewright/policies"
)

// Compiled is a bundle with its tests, ready to be asked.
type Compiled struct {
	Engine *policies.Engine
	Tests  []Test // with what all of them share in the first, which has no cases
	Tools  []Tool // of all files
}

// Compile compiles a bundle against all the tools that its tests describe. A tool that two files describe in two ways is a
// problem. An error is Problems, or policies.Problems of the bundle itself.
func Compile(b *policies.Bundle) (*Compiled, error) {
	tests, err := Load(b)
	if err != nil {
		return nil, err
	}
	return compile(b, tests)
}

func compile(b *policies.Bundle, tests []Test) (c *Compiled, err error) {
	c = &Compiled{Tests: tests}
	if err := c.collect(); err != nil {
		return nil, err
	}
	defs := make([]policies.ToolDef, len(c.Tools))
	for i := range c.Tools {
		defs[i] = c.Tools[i].def()
	}
	if c.Engine, err = policies.Compile(b, defs); err != nil {
		return nil, describe(err)
	}
	if s := c.Engine.Skipped(); len(s) > 0 {
		return nil, Problems{{File: c.Tests[0].File, Msg: "tools that cannot be used: " + strings.Join(s, "; ")}}
	}
	return c, c.sought()
}

// collect takes the tools of all files together.
func (c *Compiled) collect() error {
	type place struct {
		file string
		tool Tool
	}
	var problems Problems
	known := map[[3]string]place{}
	for i := range c.Tests {
		for _, t := range c.Tests[i].Tools {
			key := [3]string{or(t.Op, "call_tool"), t.Server, t.Name}
			first, again := known[key]
			switch {
			case !again:
				known[key] = place{c.Tests[i].File, t}
				c.Tools = append(c.Tools, t)
			case first.file == c.Tests[i].File:
				problems = append(problems, Problem{first.file, 1, fmt.Sprintf("a second description of tool %q of server %q: it is ambiguous", t.Name, t.Server), "leave one"})
			case !reflect.DeepEqual(first.tool.def(), t.def()):
				problems = append(problems, Problem{c.Tests[i].File, 1, fmt.Sprintf("tool %q of server %q is described otherwise in %s", t.Name, t.Server, first.file), "describe it once, in " + sharedTools})
			}
		}
	}
	return problems.orNil()
}

// describe says of an action that nobody knows where its tool can be described.
func describe(err error) error {
	ps, ok := errors.AsType[policies.Problems](err)
	if !ok {
		return err
	}
	for i := range ps {
		if strings.HasPrefix(ps[i].Msg, "unrecognized action") && strings.Contains(ps[i].Msg, "___") && ps[i].Hint == "" {
			ps[i].Hint = "describe the tool in " + sharedTools
		}
	}
	return fmt.Errorf("compile policies: %w", ps)
}

// sought looks for what the cases are about.
func (c *Compiled) sought() error {
	var problems Problems
	known := wordsOf(c.Engine, c.Tools)
	for i := range c.Tests {
		for k := range c.Tests[i].Cases {
			if p := c.Tests[i].Cases[k].sought(known); p != nil {
				problems = append(problems, *p)
			}
		}
	}
	return problems.orNil()
}

// Explain asks one case, which is of no file: who is described in any file of the bundle, or in more.
func (c *Compiled) Explain(x *Case, more map[string]Principal) (*Result, error) {
	x.Principal = words(x.Principal)
	r := reader{Test: Test{File: or(x.File, "the call"), Principals: map[string]Principal{}}}
	for i := range c.Tests {
		maps.Copy(r.Principals, c.Tests[i].Principals)
	}
	for name, p := range more {
		r.Principals[name] = p
		r.checkPrincipal(name, 0)
	}
	asked := *x
	if asked.Want == "" {
		asked.Want = "deny"
	}
	r.check(&asked)
	if p := asked.sought(wordsOf(c.Engine, c.Tools)); p != nil {
		r.problems = append(r.problems, *p)
	}
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	out := r.run(c.Engine, x)
	if x.Want == "" {
		out.Why = nil // nothing was wanted
	}
	return &out, nil
}
