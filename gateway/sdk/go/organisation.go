package gatewright

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// Organisation is a tenant of the gateway.
type Organisation struct {
	ID      string    `json:"id"` // its name for good
	Name    string    `json:"name"`
	Status  string    `json:"status"` // active, suspended
	Created time.Time `json:"created"`
}

// NewOrganisation is what to make: a tenant and its first admin.
type NewOrganisation struct {
	ID         string // 1 to 63 of a-z, 0-9 and -
	Name       string
	AdminName  string
	AdminEmail string
}

// Organisations lists the key's own organisation; with a key of the gateway's own, all of them.
func (a *Admin) Organisations(ctx context.Context) ([]Organisation, error) {
	return listAll[Organisation](ctx, a.end, "/api/v1/organisations")
}

// CreateOrganisation makes an organisation, which takes a key of the gateway's own. The answer has the key of its first admin, whose
// secret is there and nowhere else, ever.
func (a *Admin) CreateOrganisation(ctx context.Context, in NewOrganisation) (*Organisation, *ShownKey, error) {
	type person struct {
		Name  string `json:"name"`
		Email string `json:"email,omitempty"`
	}
	body := struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Admin person `json:"admin"`
	}{in.ID, in.Name, person{in.AdminName, in.AdminEmail}}
	var out struct {
		Organisation Organisation
		Key          ShownKey
	}
	if err := a.change(ctx, http.MethodPost, "/api/v1/organisations", body, &out); err != nil {
		return nil, nil, err
	}
	if out.Key.Secret == "" || !headerSafe(out.Key.Secret) {
		return nil, nil, fmt.Errorf("%w: no key in it", ErrAnswer)
	}
	return &out.Organisation, &out.Key, nil
}
