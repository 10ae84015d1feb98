package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/gatewright/gatewright/policies/aiidentity"
	"github.com/gatewright/gatewright/policies/armoriq"
	"github.com/gatewright/gatewright/policies/layout"
)

// rulesNames are the flags that say what rules about an API mean here.
type rulesNames struct {
	Tool     string `help:"With aiidentity: the tool here with which requests to the API are made." default:"api/request" placeholder:"SERVER/TOOL"`
	Endpoint string `help:"With aiidentity: the tool's argument for the path." default:"endpoint" placeholder:"NAME"`
	Method   string `help:"With aiidentity: the tool's argument for the method." default:"method" placeholder:"NAME"`
	Agent    string `help:"With aiidentity: the agent here whose policy it is (default: every agent's)." placeholder:"ID"`
}

// rules prints policies that were JSON, with comments that say where each comes from and what is left out. What is left out
// makes it fail, after everything is printed.
func (c *policyTranslateCmd) rules(sh *shell, text []byte) error {
	cedar, left, err := c.translated(text)
	if err != nil {
		return usage("nothing is translated in parts: mend the policy, or leave out what this gateway is not to enforce", "%s: %v", c.File, err)
	}
	laid, err := layout.Format(string(cedar))
	if err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	if c.JSON {
		err = sh.json(map[string]any{"cedar": laid, "left": append([]string{}, left...)})
	} else {
		_, err = fmt.Fprintf(sh.out, "%s\n", strings.TrimRight(laid, "\n"))
	}
	if err == nil && len(left) > 0 {
		err = &hinted{fmt.Errorf("left out, because Cedar cannot say it: %s", plainLine(strings.Join(left, "; "))), "see to it by other means before the policy comes into force"}
	}
	return err
}

func (c *policyTranslateCmd) translated(text []byte) (cedar []byte, left []string, err error) {
	if c.From == "armoriq" {
		return fromArmorIQ(text)
	}
	server, tool, ok := strings.Cut(c.Tool, "/")
	if !ok || server == "" || tool == "" {
		return nil, nil, fmt.Errorf("--tool %q is not SERVER/TOOL", c.Tool)
	}
	terms, err := aiidentity.Translate(text, aiidentity.Options{Server: server, Tool: tool, Endpoint: c.Endpoint, Method: c.Method, Agent: c.Agent})
	for _, p := range terms.Left {
		left = append(left, p.Error())
	}
	return terms.Cedar, left, err
}

// fromArmorIQ reads what a client gives with a plan, or else a profile. A text that is both says the same twice, or is refused.
func fromArmorIQ(text []byte) (cedar []byte, left []string, err error) {
	plan, notPlan := armoriq.Policy(text)
	profile, notProfile := armoriq.Profile(text)
	terms := plan
	switch {
	case notPlan != nil && notProfile != nil:
		return nil, nil, fmt.Errorf("as a policy of a plan: %w; as a profile: %w", notPlan, notProfile)
	case notPlan != nil:
		terms = profile
	case notProfile == nil && string(plan.Cedar) != string(profile.Cedar):
		return nil, nil, errors.New("it can be read as a policy of a plan and as a profile, and they differ")
	}
	var b strings.Builder
	b.WriteString("// Translated from ArmorIQ, as terms of a plan: each argument is shown with its kind, as input.x.string, and the terms only\n// narrow what the bundle allows. An @id names the member or statement that a policy comes from.\n")
	for _, line := range terms.Lines {
		fmt.Fprintf(&b, "// %s\n", plainLine(line))
	}
	for _, r := range terms.Rates {
		left = append(left, fmt.Sprintf("at most %d calls in %s: set it in the settings of quota, or with @rate", r.Max, r.Per))
	}
	for _, line := range left {
		fmt.Fprintf(&b, "// LEFT OUT: %s\n", line)
	}
	if len(terms.Cedar) == 0 {
		b.WriteString("// Nothing is forbidden.\n")
	}
	return append([]byte(b.String()+"\n"), terms.Cedar...), left, nil
}
