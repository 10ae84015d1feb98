package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/gatewright/gatewright/policies/suite"
)

// hypothetical is a call that nobody has made. Its flags are the members of a case.
type hypothetical struct {
	Who      string   `help:"Who calls: a principal that the tests describe, or one as JSON, as in '{\"teams\": [\"data\"]}'." placeholder:"NAME|JSON"`
	Action   string   `help:"Action (default: call_tool)." placeholder:"ACTION"`
	Server   string   `help:"Server." placeholder:"SERVER"`
	Tool     string   `help:"Tool, resource, prompt or model." placeholder:"TOOL"`
	Args     string   `help:"Arguments." placeholder:"JSON"`
	Plan     string   `help:"What is proved of the plan: '{}' is a planned call." placeholder:"JSON"`
	As       string   `help:"User on whose behalf." placeholder:"USER_ID"`
	IP       string   `help:"Address of the caller." name:"ip" placeholder:"ADDR"`
	Now      string   `help:"Time of the call." placeholder:"TIME"`
	Label    []string `help:"Label put on by a filter." placeholder:"LABEL"`
	Approved bool     `help:"People have approved it."`
	Case     string   `help:"File with the call as JSON, in the form of a test's case; - reads standard input. Flags come on top." placeholder:"FILE"`
}

func (h *hypothetical) given() bool {
	return h.Case != "" || h.Who != "" || h.Action != "" || h.Server != "" || h.Tool != ""
}

// call is the case that the flags describe, and its principal if a flag describes one.
func (h *hypothetical) call(in io.Reader) (*suite.Case, map[string]suite.Principal, error) {
	c := &suite.Case{Name: "the call", File: "the call"}
	if err := h.read(in, c); err != nil {
		return nil, nil, err
	}
	set := func(to *string, from string) {
		if from != "" {
			*to = from
		}
	}
	set(&c.Action, h.Action)
	set(&c.Server, h.Server)
	set(&c.Tool, h.Tool)
	set(&c.As, h.As)
	set(&c.IP, h.IP)
	c.Labels, c.Approved = append(c.Labels, h.Label...), c.Approved || h.Approved
	if h.Args != "" {
		c.Args = json.RawMessage(h.Args)
		if err := suite.Strict(c.Args, &json.RawMessage{}); err != nil {
			return nil, nil, usage("as in `--args '{\"table\": \"orders\"}'`", "--args: %v", err)
		}
	}
	if h.Plan != "" {
		if err := suite.Strict([]byte(h.Plan), &c.Plan); err != nil {
			return nil, nil, usage("as in `--plan '{\"step\": 0, \"steps\": 2}'`", "--plan: %v", err)
		}
	}
	if h.Now != "" {
		at, err := time.Parse(time.RFC3339, h.Now)
		if err != nil {
			return nil, nil, usage("as in `--now 2026-01-01T12:00:00Z`", "--now: %v", err)
		}
		c.Now = at
	}
	return h.who(c)
}

// read reads the call's file.
func (h *hypothetical) read(in io.Reader, c *suite.Case) error {
	if h.Case == "" {
		return nil
	}
	if h.Case != "-" {
		f, err := os.Open(h.Case)
		if err != nil {
			return usage("--case takes a file with a call as JSON, as the cases of tests have it", "%v", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err == nil {
		err = suite.Strict(text, c)
	}
	if err != nil {
		return usage(`as in {"principal": "ada", "server": "db", "tool": "query", "args": {"table": "orders"}}`, "%s: %v", h.Case, err)
	}
	return nil
}

func (h *hypothetical) who(c *suite.Case) (*suite.Case, map[string]suite.Principal, error) {
	if !strings.HasPrefix(strings.TrimSpace(h.Who), "{") {
		if h.Who != "" {
			c.Principal = h.Who
		}
		return c, nil, nil
	}
	var p suite.Principal
	if err := suite.Strict([]byte(h.Who), &p); err != nil {
		return nil, nil, usage("as in `--who '{\"teams\": [\"data\"], \"trust\": 700}'`", "--who: %v", err)
	}
	c.Principal = p.ID
	if c.Principal == "" {
		c.Principal = "agt_1"
	}
	return c, map[string]suite.Principal{c.Principal: p}, nil
}

type policyExplainCmd struct {
	bundleFolder
	whichCases
	hypothetical
	recordedCall
	JSON bool `help:"Print JSON." name:"json"`
}

// Run explains a call that the flags describe, or those of cases, whether or not they come out as wanted.
func (c *policyExplainCmd) Run(sh *shell) error {
	if recordName.MatchString(c.Bundle) {
		return c.explainRecord(sh, c.Bundle, c.JSON)
	}
	b, err := c.load()
	if err != nil {
		return err
	}
	if c.given() {
		if c.Only != "" {
			return usage("leave one of them", "--run is about the cases of the tests, and the other flags describe a call")
		}
		compiled, err := suite.Compile(b)
		if err != nil {
			return err
		}
		return c.suppose(sh, compiled)
	}
	o, err := c.options()
	if err != nil {
		return err
	}
	r, err := suite.Run(sh.ctx, b, o)
	switch {
	case err != nil:
		return casesHint(err)
	case len(r.Results) == 0:
		return usage("`gatewright policy test --verbose` lists the cases", "no case matches %q", c.Only)
	case c.JSON:
		return sh.json(r.JSON())
	}
	for i := range r.Results {
		x := &r.Results[i]
		tell(sh.out, fmt.Sprintf("%s: %s: ", x.Case.File, x.Case.Name), x)
	}
	fmt.Fprintln(sh.out, suite.Legend)
	return nil
}

// suppose explains the call that the flags describe.
func (c *policyExplainCmd) suppose(sh *shell, compiled *suite.Compiled) error {
	x, more, err := c.call(sh.in)
	if err != nil {
		return err
	}
	r, err := compiled.Explain(x, more)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(r.JSON())
	}
	tell(sh.out, "", r)
	fmt.Fprintln(sh.out, suite.Legend)
	return nil
}

// tell prints one explanation.
func tell(w io.Writer, name string, r *suite.Result) {
	fmt.Fprintf(w, "%s%s\n", plainLine(name), r.Got)
	indented(w, "  ", suite.Lines(&r.Explanation))
}
