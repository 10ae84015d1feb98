package gatewright

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// DeviceCode is a program that asks to be signed in, by the code it shows.
type DeviceCode struct {
	Code    string    `json:"code"`
	State   string    `json:"state"`            // pending, approved, denied
	Source  string    `json:"source,omitempty"` // address the program asked from
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Agent   string    `json:"agent,omitempty"` // whose key the program gets
	Key     string    `json:"key,omitempty"`   // id of that key
}

// DeviceApproval says which agent's key a program gets: one there is, by id, or a new one with a name. Without either a
// new one is named for the code.
type DeviceApproval struct {
	Agent string `json:"agent,omitempty"`
	Name  string `json:"name,omitempty"`
}

// DeviceCode looks at a sign-in.
func (a *Admin) DeviceCode(ctx context.Context, code string) (*DeviceCode, error) {
	out := &DeviceCode{}
	return out, a.get(ctx, "/api/v1/device-codes/"+url.PathEscape(code), out)
}

// ApproveDevice signs a program in with a new key, which goes to the program alone.
func (a *Admin) ApproveDevice(ctx context.Context, code string, in DeviceApproval) (*DeviceCode, error) {
	out := &DeviceCode{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/device-codes/"+url.PathEscape(code)+"/approve", in, out)
}

// DenyDevice refuses to sign a program in.
func (a *Admin) DenyDevice(ctx context.Context, code string) (*DeviceCode, error) {
	out := &DeviceCode{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/device-codes/"+url.PathEscape(code)+"/deny", nil, out)
}
