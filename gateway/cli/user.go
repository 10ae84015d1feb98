package cli

import (
	"fmt"
	"text/tabwriter"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type userCmd struct {
	List   userListCmd   `cmd:"" help:"List the organisation's people."`
	Create userCreateCmd `cmd:"" help:"Add a person."`
	Key    userKeyCmd    `cmd:"" help:"Make a management key for a person and print it, once."`
}

type userListCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists people.
func (c *userListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	users, err := a.Users(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(users)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tROLE\tSTATUS\tEMAIL")
	for i := range users {
		u := &users[i]
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", clean(u.ID), clean(u.Name), clean(u.Role), clean(u.Status), orDash(u.Email))
	}
	return w.Flush()
}

type userCreateCmd struct {
	controlPort
	Name  string   `arg:"" help:"Name of the person."`
	Role  string   `help:"What they may do: admin, manager, member or viewer." required:"" placeholder:"ROLE"`
	Email string   `help:"Their address, by which a login may know them." placeholder:"ADDRESS"`
	Team  []string `help:"A team they belong to." sep:"none"`
	JSON  bool     `help:"Print JSON." name:"json"`
}

// Run adds the person and prints their id.
func (c *userCreateCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	u, err := a.CreateUser(sh.ctx, gatewright.NewUser{Name: c.Name, Role: c.Role, Email: c.Email, Teams: c.Team})
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(u)
	}
	fmt.Fprintln(sh.out, clean(u.ID))
	fmt.Fprintf(sh.err, "%s is %s\nhint: gatewright user key %s\n", clean(u.Name), clean(u.Role), clean(u.ID))
	return nil
}

type userKeyCmd struct {
	controlPort
	ID string `arg:"" help:"Id of the person." placeholder:"USER_ID"`
	keyWish
}

// Run makes a management key and prints its secret, and nothing else, on standard output.
func (c *userKeyCmd) Run(sh *shell) error {
	if err := c.check(); err != nil {
		return err
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	k, err := a.CreateManagementKey(sh.ctx, c.ID, gatewright.NewManagementKey{Name: c.Name, Mode: c.mode(), Expires: c.end()})
	if err != nil {
		return err
	}
	fmt.Fprintln(sh.out, k.Secret)
	fmt.Fprintf(sh.err, "management key %s; it is not shown again\nhint: export GATEWRIGHT_ADMIN_KEY with it\n", clean(k.Key.ID))
	return nil
}
