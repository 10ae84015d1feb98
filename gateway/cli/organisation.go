package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type organisationCmd struct {
	List   organisationListCmd   `cmd:"" help:"List the key's own organisation; with a key of the gateway's own, all of them."`
	Create organisationCreateCmd `cmd:"" help:"Make an organisation with its first admin, and print that admin's key, once."`
}

type organisationListCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists organisations.
func (c *organisationListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	list, err := a.Organisations(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(list)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tNAME\tSTATUS\tMADE")
	for _, o := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", clean(o.ID), clean(o.Name), clean(o.Status), o.Created.UTC().Format(time.RFC3339))
	}
	return w.Flush()
}

type organisationCreateCmd struct {
	controlPort
	ID    string `arg:"" help:"What it is called for good, in gateway.hcl as tenant: a-z, 0-9 and -." placeholder:"ORGANISATION"`
	Name  string `help:"What people call it (default: the id)." placeholder:"TEXT"`
	Admin string `help:"Name of its first admin." default:"First admin" placeholder:"NAME"`
	Email string `help:"The admin's address, by which a login may know them." placeholder:"ADDRESS"`
}

// Run makes the organisation and prints its admin's key, and nothing else, on standard output.
func (c *organisationCreateCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	name := c.Name
	if name == "" {
		name = c.ID
	}
	o, k, err := a.CreateOrganisation(sh.ctx, gatewright.NewOrganisation{ID: c.ID, Name: name, AdminName: c.Admin, AdminEmail: c.Email})
	if err != nil {
		return err
	}
	fmt.Fprintln(sh.out, k.Secret)
	fmt.Fprintf(sh.err, "organisation %s is made; its admin's key is not shown again\nhint: export GATEWRIGHT_ADMIN_KEY with it, then gatewright agent create NAME\n", clean(o.ID))
	return nil
}
