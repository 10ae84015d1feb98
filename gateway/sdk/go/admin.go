package gatewright

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Admin is a client of the control port, under a person's management key.
type Admin struct{ end *endpoint }

// NewAdmin makes a client of the control port. It sends nothing yet.
func NewAdmin(c Config) (*Admin, error) {
	e, err := newEndpoint(c)
	if err != nil {
		return nil, err
	}
	return &Admin{end: e}, nil
}

// Who is the key's holder and what the key may do.
type Who struct {
	Organisation string   `json:"organisation"`
	User         string   `json:"user"`
	Key          string   `json:"key"`
	Role         string   `json:"role"`
	May          []string `json:"may"` // operation ids
}

// Agent is an agent of the organisation.
type Agent struct {
	ID        string    `json:"id,omitempty"`
	Name      string    `json:"name"`
	Owner     string    `json:"owner,omitempty"` // usr_...; empty when creating: the caller
	Teams     []string  `json:"teams,omitempty"`
	TalksTo   []string  `json:"talks_to,omitempty"` // servers it is confined to; empty is no confinement
	Labels    []string  `json:"labels,omitempty"`
	PublicKey string    `json:"public_key,omitempty"` // Ed25519, base64url; hex is taken too
	Trust     int64     `json:"trust,omitempty"`
	Status    string    `json:"status,omitempty"` // active, pending, suspended, revoked
	Created   time.Time `json:"created,omitzero"`
}

// Key describes an API key without its secret.
type Key struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind"` // runtime, or admin: a person's management key
	Mode    string    `json:"mode"` // live or test
	Agent   string    `json:"agent,omitempty"`
	User    string    `json:"user,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // zero is no end
	Ended   time.Time `json:"ended,omitzero"`   // when it was revoked
}

// NewKey is what to make.
type NewKey struct {
	Agent   string     `json:"agent"`
	Name    string     `json:"name"`
	Mode    string     `json:"mode,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

// ShownKey is a new key with its secret, which the gateway shows once and does not keep.
type ShownKey struct {
	Key    Key    `json:"key"`
	Secret string `json:"secret"`
}

// Format keeps the secret out of logs: every verb prints the key's id.
func (k ShownKey) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "key %s", k.Key.ID) }

// Server is an MCP server that calls are forwarded to.
type Server struct {
	Name         string `json:"name"`
	URL          string `json:"url"`
	Era          string `json:"era,omitempty"`
	AllowPrivate bool   `json:"allow_private,omitempty"`
	Credential   string `json:"credential,omitempty"` // name of the secret in the vault
	Header       string `json:"header,omitempty"`
	// PublicKeys are public keys, sha256/BASE64 of their SubjectPublicKeyInfo, one of which its TLS chain must hold.
	PublicKeys []string `json:"public_keys,omitempty"`
	Prefix     string   `json:"prefix,omitempty"` // what stands before the secret in it
	// Auth says how the gateway gets tokens for it, instead of a credential.
	Auth *ServerAuth `json:"auth,omitempty"`
}

// ServerTool is a tool as the gateway's catalogue holds it. Its description is the server's and not to be trusted.
type ServerTool struct {
	Server      string          `json:"server"`
	Name        string          `json:"name"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description,omitempty"`
	State       string          `json:"state"` // usable, unusable or quarantined
	Why         string          `json:"why,omitempty"`
	Schema      string          `json:"schema_hash"` // SHA-256 of the input schema's canonical form, hex
	InputSchema json.RawMessage `json:"input_schema,omitempty"`
}

// Record is an entry of the organisation's ledger.
type Record struct {
	Index  uint64          `json:"index"`
	Leaf   string          `json:"leaf"`
	Sealed bool            `json:"sealed"`
	Record json.RawMessage `json:"record"`
}

// WhoAmI tells who the key is and what it may do.
func (a *Admin) WhoAmI(ctx context.Context) (*Who, error) {
	w := &Who{}
	return w, a.get(ctx, "/api/v1/whoami", w)
}

// Agents lists the organisation's agents.
func (a *Admin) Agents(ctx context.Context) ([]Agent, error) {
	return listAll[Agent](ctx, a.end, "/api/v1/agents")
}

// Agent returns one agent.
func (a *Admin) Agent(ctx context.Context, id string) (*Agent, error) {
	out := &Agent{}
	return out, a.get(ctx, "/api/v1/agents/"+url.PathEscape(id), out)
}

// CreateAgent registers an agent; of in, Name is required and the fields the gateway sets are passed over.
func (a *Admin) CreateAgent(ctx context.Context, in Agent) (*Agent, error) {
	in.ID, in.Trust, in.Status, in.Created = "", 0, "", time.Time{}
	out := &Agent{}
	return out, a.change(ctx, http.MethodPost, "/api/v1/agents", in, out)
}

// SetAgentStatus makes an agent active, suspended, or for good revoked.
func (a *Admin) SetAgentStatus(ctx context.Context, id, status string) (*Agent, error) {
	out := &Agent{}
	return out, a.change(ctx, http.MethodPut, "/api/v1/agents/"+url.PathEscape(id)+"/status", map[string]string{"status": status}, out)
}

// RotateAgentKey replaces an agent's Ed25519 public key, given in base64url.
func (a *Admin) RotateAgentKey(ctx context.Context, id, publicKey string) (*Agent, error) {
	out := &Agent{}
	return out, a.change(ctx, http.MethodPut, "/api/v1/agents/"+url.PathEscape(id)+"/public-key", map[string]string{"public_key": publicKey}, out)
}

// Keys lists API keys without their secrets.
func (a *Admin) Keys(ctx context.Context) ([]Key, error) {
	return listAll[Key](ctx, a.end, "/api/v1/keys")
}

// CreateKey makes a runtime key for an agent. Its secret is in the answer and nowhere else, ever.
func (a *Admin) CreateKey(ctx context.Context, in NewKey) (*ShownKey, error) {
	return a.makeKey(ctx, "/api/v1/keys", in)
}

func (a *Admin) makeKey(ctx context.Context, path string, in any) (*ShownKey, error) {
	out := &ShownKey{}
	if err := a.change(ctx, http.MethodPost, path, in, out); err != nil {
		return nil, err
	}
	if out.Secret == "" || !headerSafe(out.Secret) {
		return nil, fmt.Errorf("%w: no key in it", ErrAnswer)
	}
	return out, nil
}

// RevokeKey ends a key. From then on it opens nothing.
func (a *Admin) RevokeKey(ctx context.Context, id string) error {
	return a.change(ctx, http.MethodDelete, "/api/v1/keys/"+url.PathEscape(id), nil, nil)
}

// Servers lists the organisation's MCP servers.
func (a *Admin) Servers(ctx context.Context) ([]Server, error) {
	return listAll[Server](ctx, a.end, "/api/v1/servers")
}

// AddServer adds an MCP server.
func (a *Admin) AddServer(ctx context.Context, s Server) error {
	return a.change(ctx, http.MethodPost, "/api/v1/servers", s, nil)
}

// RefreshServer has the gateway look at a server's tools now.
func (a *Admin) RefreshServer(ctx context.Context, name string) error {
	return a.change(ctx, http.MethodPost, "/api/v1/servers/"+url.PathEscape(name)+"/refresh", nil, nil)
}

// ServerTools lists all tools of a server, those that cannot be used included.
func (a *Admin) ServerTools(ctx context.Context, server string) ([]ServerTool, error) {
	return listAll[ServerTool](ctx, a.end, "/api/v1/servers/"+url.PathEscape(server)+"/tools")
}

// RemoveServer removes a server and its tools.
func (a *Admin) RemoveServer(ctx context.Context, name string) error {
	return a.change(ctx, http.MethodDelete, "/api/v1/servers/"+url.PathEscape(name), nil, nil)
}

// RevokeToken ends an intent token by its id (tok_...).
func (a *Admin) RevokeToken(ctx context.Context, id string) error {
	return a.change(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(id), nil, nil)
}

// PutSecret stores or replaces an upstream's secret. No route gives it back.
func (a *Admin) PutSecret(ctx context.Context, name, value string) error {
	return a.change(ctx, http.MethodPut, "/api/v1/secrets/"+url.PathEscape(name), map[string]string{"value": value}, nil)
}

// Secrets lists the names of the upstreams' secrets in the vault.
func (a *Admin) Secrets(ctx context.Context) ([]string, error) {
	rows, err := listAll[struct {
		Name string `json:"name"`
	}](ctx, a.end, "/api/v1/secrets")
	names := make([]string, len(rows))
	for i := range rows {
		names[i] = rows[i].Name
	}
	return names, err
}

// EndPlan ends a plan: state is completed, failed or revoked; the reason stands in the ledger.
func (a *Admin) EndPlan(ctx context.Context, id, state, reason string) error {
	in := map[string]string{"state": state}
	if reason != "" {
		in["reason"] = reason
	}
	return a.change(ctx, http.MethodPut, "/api/v1/plans/"+url.PathEscape(id)+"/state", in, nil)
}

// Records returns up to limit records from an index on, and the number of records there are.
func (a *Admin) Records(ctx context.Context, from uint64, limit int) ([]Record, uint64, error) {
	var out struct {
		Size  uint64   `json:"size"`
		Items []Record `json:"items"`
	}
	q := url.Values{"from": {strconv.FormatUint(from, 10)}}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	err := a.get(ctx, "/api/v1/ledger/records?"+q.Encode(), &out)
	return out.Items, out.Size, err
}

func (a *Admin) get(ctx context.Context, path string, out any) error {
	_, err := a.end.do(ctx, http.MethodGet, path, nil, out)
	return err
}

func (a *Admin) change(ctx context.Context, method, path string, in, out any) error {
	_, err := a.end.do(ctx, method, path, in, out)
	return err
}

// maxPages bounds a list, which has at most 20,000 rows by default and 1,000 a page.
const maxPages = 1000

// listAll reads every page of a list: {"items":[...],"next":cursor}. The path may have a query.
func listAll[T any](ctx context.Context, e *endpoint, path string) ([]T, error) {
	all, cursor, next := []T{}, "", "?"
	if strings.Contains(path, "?") {
		next = "&"
	}
	for range maxPages {
		q := ""
		if cursor != "" {
			q = next + url.Values{"cursor": {cursor}}.Encode()
		}
		var page struct {
			Items []T    `json:"items"`
			Next  string `json:"next"`
		}
		if _, err := e.do(ctx, http.MethodGet, path+q, nil, &page); err != nil {
			return nil, err
		}
		if all, cursor = append(all, page.Items...), page.Next; cursor == "" {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w: the list does not end", ErrAnswer)
}
