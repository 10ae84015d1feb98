package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// agentID is an agent's id on the command line.
type agentID string

// Validate refuses a name: it is the id that all of the API takes.
func (id agentID) Validate() error {
	if id == "" || strings.HasPrefix(string(id), "agt_") {
		return nil
	}
	return usage("gatewright agent list shows the ids of agents", "%q is no id of an agent: those begin with agt_", clean(string(id)))
}

type agentSessionsCmd struct {
	controlPort
	ID   agentID `arg:"" help:"Id of the agent." placeholder:"AGENT_ID"`
	JSON bool    `help:"Print JSON." name:"json"`
}

// Run lists the sessions.
func (c *agentSessionsCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	list, err := a.Sessions(sh.ctx, string(c.ID))
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(list)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tKEY\tPATH\tBEGUN\tUSED")
	for _, s := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", clean(s.Name), clean(s.Key), clean(s.Path), s.Begun.Format(time.RFC3339), s.Used.Format(time.RFC3339))
	}
	return w.Flush()
}

type agentEndCmd struct {
	controlPort
	ID      agentID `arg:"" help:"Id of the agent." placeholder:"AGENT_ID"`
	Session string  `help:"Only this one, as 'agent sessions' names it." placeholder:"SESSION"`
}

// Run ends the sessions.
func (c *agentEndCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	n, err := a.EndSessions(sh.ctx, string(c.ID), c.Session)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%d ended\n", n)
	return nil
}

type sealCmd struct {
	List   sealListCmd   `cmd:"" help:"List the organisation's keys, without their secrets."`
	Rotate sealRotateCmd `cmd:"" help:"Seal with a new key; the one before opens until its life ends."`
}

type sealListCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists the keys.
func (c *sealListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	list, err := a.Seals(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(list)
	}
	return sh.seals(list)
}

type sealRotateCmd struct {
	controlPort
	AtOnce bool `help:"End every session, cursor and state of before now." name:"at-once"`
}

// Run rotates the key and lists those that are live.
func (c *sealRotateCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	list, err := a.RotateSeals(sh.ctx, c.AtOnce)
	if err != nil {
		return err
	}
	return sh.seals(list)
}

func (sh *shell) seals(list []gatewright.Seal) error {
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tMADE\tENDS")
	for _, k := range list {
		ends := "seals"
		if k.Ends != nil {
			ends = k.Ends.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\n", k.ID, k.Made.Format(time.RFC3339), ends)
	}
	return w.Flush()
}
