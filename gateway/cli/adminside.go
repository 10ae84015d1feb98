package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// controlPort are the flags of commands that act as an admin.
type controlPort struct {
	URL            string `help:"Address of the control port (default: $$GATEWRIGHT_CONTROL_URL)." placeholder:"URL"`
	AllowPlaintext bool   `help:"Allow http beyond this machine. Danger: the key travels readable."`
	authority
}

func (c *controlPort) admin(sh *shell) (*gatewright.Admin, error) {
	url := c.URL
	if url == "" {
		url = sh.getenv("GATEWRIGHT_CONTROL_URL")
	}
	if url == "" {
		return nil, usage("export GATEWRIGHT_CONTROL_URL, or source demo.env in the data folder", "no address of a control port")
	}
	key := sh.getenv("GATEWRIGHT_ADMIN_KEY")
	if key == "" {
		return nil, usage("export GATEWRIGHT_ADMIN_KEY=ak_..., or source demo.env in the data folder", "no management key")
	}
	roots, err := c.roots(sh)
	if err != nil {
		return nil, err
	}
	a, err := gatewright.NewAdmin(gatewright.Config{URL: url, Key: key, AllowPlaintext: c.AllowPlaintext, Roots: roots})
	if err != nil {
		return nil, usage("GATEWRIGHT_CONTROL_URL is scheme://host:port, GATEWRIGHT_ADMIN_KEY a management key; --allow-plaintext permits http beyond this machine", "%v", err)
	}
	return a, nil
}

type agentCmd struct {
	List      agentListCmd      `cmd:"" help:"List agents."`
	Show      agentShowCmd      `cmd:"" help:"Show one agent."`
	Create    agentCreateCmd    `cmd:"" help:"Register an agent."`
	Suspend   agentSuspendCmd   `cmd:"" help:"Stop an agent until it is activated again."`
	Activate  agentActivateCmd  `cmd:"" help:"Let a pending or suspended agent work."`
	Revoke    agentRevokeCmd    `cmd:"" help:"End an agent for good."`
	Key       agentKeyCmd       `cmd:"" help:"Make an API key for an agent and print it, once."`
	Keys      agentKeysCmd      `cmd:"" help:"List API keys, without their secrets."`
	RevokeKey agentRevokeKeyCmd `cmd:"" help:"End an API key."`
	Sessions  agentSessionsCmd  `cmd:"" help:"List the sessions that older clients of an agent have open."`
	End       agentEndCmd       `cmd:"" help:"End an agent's sessions at once."`
	Approve   agentApproveCmd   `cmd:"" help:"Sign in a program that shows a code."`
	Deny      agentDenyCmd      `cmd:"" help:"Refuse a program that shows a code."`
}

type agentListCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists the agents.
func (c *agentListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	agents, err := a.Agents(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(agents)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTATUS\tOWNER\tTALKS TO")
	for i := range agents {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", clean(agents[i].ID), clean(agents[i].Name), clean(agents[i].Status), clean(agents[i].Owner), orAny(agents[i].TalksTo))
	}
	return w.Flush()
}

func orAny(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return clean(strings.Join(list, ","))
}

type agentShowCmd struct {
	controlPort
	ID agentID `arg:"" help:"Id of the agent." placeholder:"AGENT_ID"`
}

// Run shows an agent as JSON.
func (c *agentShowCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	agent, err := a.Agent(sh.ctx, string(c.ID))
	if err != nil {
		return err
	}
	return sh.json(agent)
}

type agentCreateCmd struct {
	controlPort
	Name      string   `arg:"" help:"Name of the agent."`
	Owner     string   `help:"The user who answers for it (default: you)." placeholder:"USER_ID"`
	Team      []string `help:"A team it belongs to." sep:"none"`
	TalksTo   []string `help:"A server it is confined to; none given: no confinement." sep:"none" placeholder:"SERVER"`
	Label     []string `help:"A label." sep:"none"`
	PublicKey string   `help:"Its Ed25519 public key, in base64url or hex." placeholder:"KEY"`
	JSON      bool     `help:"Print JSON." name:"json"`
}

// Run registers the agent and prints its id.
func (c *agentCreateCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	agent, err := a.CreateAgent(sh.ctx, gatewright.Agent{Name: c.Name, Owner: c.Owner, Teams: c.Team, TalksTo: c.TalksTo, Labels: c.Label, PublicKey: c.PublicKey})
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(agent)
	}
	fmt.Fprintln(sh.out, clean(agent.ID))
	fmt.Fprintf(sh.err, "agent %s is %s\nhint: gatewright agent key %s\n", clean(agent.Name), clean(agent.Status), clean(agent.ID))
	return nil
}

type agentStatus struct {
	controlPort
	ID agentID `arg:"" help:"Id of the agent." placeholder:"AGENT_ID"`
}

func (c *agentStatus) set(sh *shell, status string) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	agent, err := a.SetAgentStatus(sh.ctx, string(c.ID), status)
	if err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(agent.ID), clean(agent.Status))
	return nil
}

type agentSuspendCmd struct{ agentStatus }

// Run suspends the agent.
func (c *agentSuspendCmd) Run(sh *shell) error { return c.set(sh, "suspended") }

type agentActivateCmd struct{ agentStatus }

// Run activates the agent.
func (c *agentActivateCmd) Run(sh *shell) error { return c.set(sh, "active") }

type agentRevokeCmd struct{ agentStatus }

// Run revokes the agent.
func (c *agentRevokeCmd) Run(sh *shell) error { return c.set(sh, "revoked") }

// keyWish is what a new key is to be.
type keyWish struct {
	Name string        `help:"What the key is for." default:"made on the command line"`
	TTL  time.Duration `help:"Lifetime (default: as configured)." name:"ttl" placeholder:"DURATION"`
	Test bool          `help:"Make an ak_test_ key: it works alike and is told apart at a glance."`
}

func (w *keyWish) check() error {
	if w.TTL < 0 {
		return usage("write it as 720h", "--ttl %s is below zero", w.TTL)
	}
	return nil
}

func (w *keyWish) mode() string {
	if w.Test {
		return "test"
	}
	return "live"
}

// end is when the key expires; nil is as configured.
func (w *keyWish) end() *time.Time {
	if w.TTL == 0 {
		return nil
	}
	end := time.Now().Add(w.TTL).UTC().Truncate(time.Second)
	return &end
}

type agentKeyCmd struct {
	controlPort
	ID agentID `arg:"" help:"Id of the agent." placeholder:"AGENT_ID"`
	keyWish
}

// Run makes a key and prints its secret, and nothing else, on standard output.
func (c *agentKeyCmd) Run(sh *shell) error {
	if err := c.check(); err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	k, err := a.CreateKey(sh.ctx, gatewright.NewKey{Agent: string(c.ID), Name: c.Name, Mode: c.mode(), Expires: c.end()})
	if err != nil {
		return err
	}
	fmt.Fprintln(sh.out, k.Secret)
	fmt.Fprintf(sh.err, "key %s; it is not shown again\nhint: export GATEWRIGHT_API_KEY with it\n", clean(k.Key.ID))
	return nil
}

type agentKeysCmd struct {
	controlPort
	ID   agentID `arg:"" optional:"" help:"Only keys of this agent." placeholder:"AGENT_ID"`
	JSON bool    `help:"Print JSON." name:"json"`
}

// Run lists keys.
func (c *agentKeysCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	all, err := a.Keys(sh.ctx)
	if err != nil {
		return err
	}
	keys := []gatewright.Key{}
	for i := range all {
		if c.ID == "" || all[i].Agent == string(c.ID) {
			keys = append(keys, all[i])
		}
	}
	if c.JSON {
		return sh.json(keys)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tKIND\tHOLDER\tNAME\tSTATE")
	for i := range keys {
		k := &keys[i]
		fmt.Fprintf(w, "%s\t%s %s\t%s\t%s\t%s\n", clean(k.ID), clean(k.Mode), kindOf(k), clean(k.Agent+k.User), clean(k.Name), keyState(k, time.Now()))
	}
	return w.Flush()
}

// kindOf is what people call a kind of key.
func kindOf(k *gatewright.Key) string {
	if k.Kind == "admin" {
		return "management"
	}
	return clean(k.Kind)
}

func keyState(k *gatewright.Key, now time.Time) string {
	switch {
	case !k.Ended.IsZero():
		return "revoked " + k.Ended.Format(time.RFC3339)
	case k.Expires.IsZero():
		return "no end"
	case k.Expires.Before(now):
		return "expired " + k.Expires.Format(time.RFC3339)
	}
	return "until " + k.Expires.Format(time.RFC3339)
}

type agentRevokeKeyCmd struct {
	controlPort
	ID string `arg:"" help:"Id of the key." placeholder:"KEY_ID"`
}

// Run revokes the key.
func (c *agentRevokeKeyCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if err := a.RevokeKey(sh.ctx, c.ID); err != nil {
		return err
	}
	fmt.Fprintf(sh.out, "%s revoked\n", clean(c.ID))
	return nil
}
