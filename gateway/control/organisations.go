package control

import (
	"context"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
	"github.com/gatewright/gatewright/gateway/pipeline"
)

// organisation is a tenant as answered. Shapes like this one are apart from identity's own types, so that what is kept
// may change without changing what clients read.
type organisation struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Status  string    `json:"status" enum:"active,suspended"`
	Created time.Time `json:"created"`
}

type organisationOut struct{ Body organisation }

type organisationPath struct {
	ID string `path:"id" pattern:"^(_instance|[a-z0-9][a-z0-9-]{0,62})$" maxLength:"63"`
}

type createOrganisationIn struct {
	Body struct {
		ID    string `json:"id" pattern:"^[a-z0-9][a-z0-9-]{0,62}$" maxLength:"63" doc:"name of the tenant, for good"`
		Name  string `json:"name" minLength:"1" maxLength:"128"`
		Admin struct {
			Name  string `json:"name" minLength:"1" maxLength:"128"`
			Email string `json:"email,omitempty" maxLength:"254"`
		} `json:"admin" doc:"its first admin"`
	}
}

// createOrganisationOut holds a secret: the only way into the new organisation.
type createOrganisationOut struct {
	Body struct {
		Organisation organisation `json:"organisation"`
		Admin        user         `json:"admin"`
		Key          keyShown     `json:"key"`
	}
}

type setOrganisationStatusIn struct {
	ID   string `path:"id" pattern:"^(_instance|[a-z0-9][a-z0-9-]{0,62})$" maxLength:"63"`
	Body struct {
		Status string `json:"status" enum:"active,suspended"`
	}
}

func (m *mounting) organisations() {
	handle(m, "list-organisations", m.api.listOrganisations)
	handle(m, "create-organisation", m.api.createOrganisation)
	handle(m, "get-organisation", m.api.getOrganisation)
	handle(m, "set-organisation-status", m.api.setOrganisationStatus)
}

// listOrganisations shows a caller its own organisation, and the gateway's operators all of them.
func (a *API) listOrganisations(ctx context.Context, c *call, in *listing) (*paged[organisation], error) {
	orgs, err := a.deps.Directory.Orgs(ctx, c.caller.Tenant())
	if err != nil {
		return nil, err
	}
	return paginate(c, *in, orgs, func(o *identity.Org) string { return o.Tenant }, shapeOrganisation)
}

func (a *API) getOrganisation(ctx context.Context, c *call, in *organisationPath) (*organisationOut, error) {
	if in.ID != c.caller.Tenant() && c.caller.Tenant() != pipeline.InstanceTenant {
		return nil, notFound()
	}
	org, err := a.deps.Directory.Org(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &organisationOut{Body: shapeOrganisation(&org)}, nil
}

// createOrganisation makes an organisation that can be used: nobody else may act in it, so its first admin and that
// admin's key are made with it. When a later part fails, what was made stays and can be seen and suspended.
func (a *API) createOrganisation(ctx context.Context, c *call, in *createOrganisationIn) (*createOrganisationOut, error) {
	c.target = in.Body.ID
	org, err := a.deps.Directory.CreateOrg(ctx, in.Body.ID, in.Body.Name)
	if err != nil {
		return nil, err
	}
	admin, err := a.deps.Directory.CreateUser(ctx, org.Tenant, identity.NewUser{Name: in.Body.Admin.Name, Email: in.Body.Admin.Email, Role: identity.RoleAdmin})
	if err != nil {
		return nil, err
	}
	c.note("user", admin.ID)
	key, secret, err := a.deps.Directory.CreateKey(ctx, org.Tenant, identity.NewKey{Name: "first admin", Kind: identity.Admin, User: admin.ID})
	if err != nil {
		return nil, err
	}
	c.note("key", key.ID)
	out := &createOrganisationOut{}
	out.Body.Organisation, out.Body.Admin, out.Body.Key = shapeOrganisation(&org), shapeUser(&admin), keyShown{shapeKey(&key), secret}
	return out, nil
}

// setOrganisationStatus never touches the gateway's own tenant: an operator cannot lock all operators out.
func (a *API) setOrganisationStatus(ctx context.Context, c *call, in *setOrganisationStatusIn) (*organisationOut, error) {
	c.note("status", in.Body.Status)
	if in.ID == pipeline.InstanceTenant {
		return nil, refuse(409, "instance_tenant", "the gateway's own tenant is always active", "")
	}
	if err := a.deps.Directory.SetOrgStatus(ctx, in.ID, identity.Status(in.Body.Status)); err != nil {
		return nil, err
	}
	return a.getOrganisation(ctx, c, &organisationPath{ID: in.ID})
}

func shapeOrganisation(o *identity.Org) organisation {
	return organisation{ID: o.Tenant, Name: o.Name, Status: string(o.Status), Created: o.Created}
}
