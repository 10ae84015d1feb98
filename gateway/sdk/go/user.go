package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// User is a person of the organisation.
type User struct {
	ID      string    `json:"id,omitempty"`
	Name    string    `json:"name"`
	Email   string    `json:"email,omitempty"`
	Role    string    `json:"role"` // Admin, Manager, Member or Viewer; when creating in any case
	Teams   []string  `json:"teams,omitempty"`
	Status  string    `json:"status,omitempty"` // active, suspended, removed
	Created time.Time `json:"created,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
}

// NewUser is what to make.
type NewUser struct {
	Name  string   `json:"name"`
	Email string   `json:"email,omitempty"`
	Role  string   `json:"role"`
	Teams []string `json:"teams,omitempty"`
}

// Users lists the organisation's people.
func (a *Admin) Users(ctx context.Context) ([]User, error) {
	return listAll[User](ctx, a.end, "/api/v1/users")
}

// CreateUser adds a person, who can do nothing until they have a management key or sign in with a login.
func (a *Admin) CreateUser(ctx context.Context, in NewUser) (*User, error) {
	out := &User{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/users", in, out)
}

// NewManagementKey is what to make for a person.
type NewManagementKey struct {
	Name    string     `json:"name"`
	Mode    string     `json:"mode,omitempty"` // live, test
	Expires *time.Time `json:"expires,omitempty"`
}

// CreateManagementKey makes a key with which a user acts on the control port. Its secret is in the answer and nowhere
// else, ever.
func (a *Admin) CreateManagementKey(ctx context.Context, user string, in NewManagementKey) (*ShownKey, error) {
	return a.makeKey(ctx, "/api/v1/users/"+url.PathEscape(user)+"/keys", in)
}
