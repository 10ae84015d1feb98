package cli

import (
	"fmt"
	"strings"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// signIn is a program that waits, by the code it shows.
type signIn struct {
	controlPort
	Code string `arg:"" help:"The code that the program shows." placeholder:"CODE"`
}

// spelled writes a code as it was given out: people leave out the dash and the capitals.
func (c *signIn) spelled() (string, error) {
	code := strings.ToUpper(strings.ReplaceAll(c.Code, "-", ""))
	for i := range len(code) {
		if code[i] < 'A' || code[i] > 'Z' {
			code = ""
			break
		}
	}
	if len(code) != 8 {
		return "", usage("it is eight letters, as BCDF-GHJK", "%q is no code", c.Code)
	}
	return code[:4] + "-" + code[4:], nil
}

// look shows who is about to be decided on.
func (c *signIn) look(sh *shell) (*gatewright.Admin, string, error) {
	code, err := c.spelled()
	if err != nil {
		return nil, "", err
	}
	a, err := c.admin(sh)
	if err != nil {
		return nil, "", err
	}
	d, err := a.DeviceCode(sh.ctx, code)
	if err != nil {
		return nil, "", err
	}
	fmt.Fprintf(sh.err, "%s: a program at %s asked at %s\n", clean(d.Code), orDash(d.Source), moment(d.Created))
	return a, code, nil
}

type agentApproveCmd struct {
	signIn
	Agent string `help:"Sign it in as this agent." placeholder:"AGENT_ID" xor:"agent"`
	Name  string `help:"Sign it in as a new agent of this name (default: named for the code)." placeholder:"NAME" xor:"agent"`
}

// Run lets a program in. The key goes to the program and is not shown.
func (c *agentApproveCmd) Run(sh *shell) error {
	a, code, err := c.look(sh)
	if err != nil {
		return err
	}
	d, err := a.ApproveDevice(sh.ctx, code, gatewright.DeviceApproval{Agent: c.Agent, Name: c.Name})
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s %s %s %s\n", clean(d.Code), clean(d.State), clean(d.Agent), clean(d.Key))
	fmt.Fprintf(sh.err, "hint: gatewright agent revoke-key %s takes it back\n", clean(d.Key))
	return nil
}

type agentDenyCmd struct{ signIn }

// Run refuses a program.
func (c *agentDenyCmd) Run(sh *shell) error {
	a, code, err := c.look(sh)
	if err != nil {
		return err
	}
	d, err := a.DenyDevice(sh.ctx, code)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(d.Code), clean(d.State))
	return nil
}
