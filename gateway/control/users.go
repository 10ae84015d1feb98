package control

import (
	"context"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/identity"
)

// user is a person as answered; removed ones stay listed with their end.
type user struct {
	ID      string     `json:"id"`
	Name    string     `json:"name"`
	Email   string     `json:"email,omitempty"`
	Role    string     `json:"role" enum:"Admin,Manager,Member,Viewer"`
	Teams   []string   `json:"teams" nullable:"false"`
	Status  string     `json:"status"`
	Created time.Time  `json:"created"`
	Ended   *time.Time `json:"ended,omitempty"`
}

type userOut struct{ Body user }

type userPath struct {
	ID string `path:"id" pattern:"^usr_[0-9a-z]{1,32}$" maxLength:"36"`
}

type createUserIn struct {
	Body struct {
		Name  string   `json:"name" minLength:"1" maxLength:"128"`
		Email string   `json:"email,omitempty" maxLength:"254"`
		Role  string   `json:"role" pattern:"^([Aa][Dd][Mm][Ii][Nn]|[Mm][Aa][Nn][Aa][Gg][Ee][Rr]|[Mm][Ee][Mm][Bb][Ee][Rr]|[Vv][Ii][Ee][Ww][Ee][Rr])$" patternDescription:"Admin, Manager, Member or Viewer" doc:"Admin, Manager, Member or Viewer, in any case of letters"`
		Teams []string `json:"teams,omitempty" maxItems:"32" nullable:"false"`
	}
}

type setRoleIn struct {
	ID   string `path:"id" pattern:"^usr_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Role string `json:"role" pattern:"^([Aa][Dd][Mm][Ii][Nn]|[Mm][Aa][Nn][Aa][Gg][Ee][Rr]|[Mm][Ee][Mm][Bb][Ee][Rr]|[Vv][Ii][Ee][Ww][Ee][Rr])$" patternDescription:"Admin, Manager, Member or Viewer" doc:"Admin, Manager, Member or Viewer, in any case of letters"`
	}
}

type setUserStatusIn struct {
	ID   string `path:"id" pattern:"^usr_[0-9a-z]{1,32}$" maxLength:"36"`
	Body struct {
		Status string `json:"status" enum:"active,suspended"`
	}
}

func (m *mounting) users() {
	users := m.api.deps.Directory
	read := func(ctx context.Context, c *call, id string) (*userOut, error) {
		u, err := users.User(ctx, c.caller.Tenant(), id)
		if err != nil {
			return nil, err
		}
		return &userOut{Body: shapeUser(&u)}, nil
	}
	handle(m, "list-users", func(ctx context.Context, c *call, in *listing) (*paged[user], error) {
		all, err := users.Users(ctx, c.caller.Tenant())
		if err != nil {
			return nil, err
		}
		return paginate(c, *in, all, func(u *identity.User) string { return u.ID }, shapeUser)
	})
	handle(m, "create-user", func(ctx context.Context, c *call, in *createUserIn) (*userOut, error) {
		role := roleOf(in.Body.Role)
		c.note("role", string(role))
		u, err := users.CreateUser(ctx, c.caller.Tenant(), identity.NewUser{Name: in.Body.Name, Email: in.Body.Email, Role: role, Teams: in.Body.Teams})
		if err != nil {
			return nil, err
		}
		c.target = u.ID
		return &userOut{Body: shapeUser(&u)}, nil
	})
	handle(m, "get-user", func(ctx context.Context, c *call, in *userPath) (*userOut, error) { return read(ctx, c, in.ID) })
	handle(m, "set-user-role", func(ctx context.Context, c *call, in *setRoleIn) (*userOut, error) {
		role := roleOf(in.Body.Role)
		c.note("role", string(role))
		if err := users.SetRole(ctx, c.caller.Tenant(), in.ID, role); err != nil {
			return nil, err
		}
		return read(ctx, c, in.ID)
	})
	handle(m, "set-user-status", func(ctx context.Context, c *call, in *setUserStatusIn) (*userOut, error) {
		c.note("status", in.Body.Status)
		if err := users.SetUserStatus(ctx, c.caller.Tenant(), in.ID, identity.Status(in.Body.Status)); err != nil {
			return nil, err
		}
		return read(ctx, c, in.ID)
	})
	handle(m, "remove-user", func(ctx context.Context, c *call, in *userPath) (*none, error) {
		return nil, users.RemoveUser(ctx, c.caller.Tenant(), in.ID)
	})
}

// roleOf is a role as sent, in any case of letters, which the body's schema has checked.
func roleOf(text string) identity.Role {
	for _, r := range anyRole {
		if strings.EqualFold(string(r), text) {
			return r
		}
	}
	return identity.Role(text)
}

func shapeUser(u *identity.User) user {
	return user{
		ID: u.ID, Name: u.Name, Email: u.Email, Role: string(u.Role), Teams: strs(u.Teams), Status: string(u.Status),
		Created: u.Created, Ended: moment(u.Ended),
	}
}

// strs is s as JSON shows it: never null.
func strs(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// moment is t as JSON shows it: absent when it has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
