package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// mount registers every route with its handler and makes the OpenAPI document.
func (a *API) mount() error {
	schemas := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	api := humago.New(a.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info:    &huma.Info{Title: "Gatewright control", Version: "1", Description: "Management of a Gatewright gateway. A call's organisation is that of its key."},
			Components: &huma.Components{
				Schemas:         schemas,
				SecuritySchemes: map[string]*huma.SecurityScheme{"key": {Type: "http", Scheme: "bearer", Description: "a management API key"}},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{transform},
	})
	m := &mounting{api: a, huma: api, left: map[string]bool{}, problem: schemas.Schema(reflect.TypeFor[problem](), true, "Problem")}
	for i := range routes {
		a.byPat[routes[i].pattern()] = &routes[i]
		m.left[routes[i].Op] = true
	}
	m.probes()
	m.whoami()
	m.organisations()
	m.users()
	m.agents()
	m.keys()
	m.sessions()
	m.devices()
	m.servers()
	m.upstreamLogins()
	m.pins()
	m.connectors()
	m.secrets()
	m.plans()
	m.approvals()
	m.proposals()
	m.usage()
	m.tokens()
	m.revocations()
	m.bundles()
	m.policies()
	m.filters()
	m.records()
	m.proofs()
	m.retention()
	m.sinks()
	m.exports()
	m.audit()
	m.witnesses()
	m.logFiles()
	for op := range m.left {
		return fmt.Errorf("route %s has no handler", op)
	}
	if m.err != nil {
		return m.err
	}
	for _, code := range codes {
		shown := schemas.Map()["Problem"].Properties["code"]
		shown.Enum = append(shown.Enum, code)
	}
	for _, never := range []string{"ErrorModel", "ErrorDetail"} {
		delete(schemas.Map(), never) // huma's own error body, which transform replaces
	}
	spec, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("make the OpenAPI document: %w", err)
	}
	a.spec = spec
	return nil
}

// mounting is the state of mount: which rows of the table still have no handler, and the first row that is not there.
type mounting struct {
	api     *API
	huma    huma.API
	problem *huma.Schema
	left    map[string]bool
	err     error
}

// take claims a row for a handler.
func (m *mounting) take(op string) *Route {
	route, ok := routeOf(op)
	if !ok || !m.left[op] {
		m.err = fmt.Errorf("handler %s has no route of its own", op)
		return nil
	}
	delete(m.left, op)
	return route
}

// operation is what huma and the OpenAPI document learn from a row.
func (m *mounting) operation(route *Route) huma.Operation {
	tag, _, _ := strings.Cut(strings.TrimPrefix(route.Path, "/api/v1/"), "/")
	var params []*huma.Param
	if route.Method == http.MethodPost {
		most := maxReplayKey
		params = append(params, &huma.Param{Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: "string", MaxLength: &most},
			Description: "a retry with the same key and request gets the first answer again while it is kept, and has no second effect"})
	}
	responses := map[string]*huma.Response{"default": {
		Description: "refused, or failed",
		Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: m.problem}},
	}}
	if route.Media != "" {
		responses["200"] = &huma.Response{Description: "the file, as it is made", Content: map[string]*huma.MediaType{
			route.Media: {Schema: &huma.Schema{Type: "string", Format: "binary"}},
		}}
	}
	return huma.Operation{
		Parameters:  params,
		OperationID: route.Op, Method: route.Method, Path: route.Path, Summary: route.About, Tags: []string{tag},
		DefaultStatus:   route.success(),
		Security:        []map[string][]string{{"key": {}}},
		MaxBodyBytes:    int64(m.api.bodyLimits(route).Bytes),
		BodyReadTimeout: -1, // the body was read before huma runs
		Responses:       responses,
		Extensions:      map[string]any{"x-gatewright-roles": route.Roles, "x-gatewright-instance": route.Instance},
	}
}

// handle joins a row to the function that answers it. When the row writes, the function runs only after its intent is
// durable; whatever it returns that is not a problem reaches the caller as "internal" and the log in full.
func handle[I, O any](m *mounting, op string, fn func(ctx context.Context, c *call, in *I) (*O, error)) {
	route := m.take(op)
	if route == nil {
		return
	}
	huma.Register(m.huma, m.operation(route), func(ctx context.Context, in *I) (*O, error) {
		c := callOf(ctx)
		if c == nil || c.route != route {
			return nil, internal()
		}
		if route.Writes {
			if err := c.begin(ctx); err != nil {
				return nil, err
			}
		}
		out, err := fn(ctx, c, in)
		if err != nil {
			p, known := asProblem(fault(err))
			if !known {
				m.api.log.Error("control call failed", "record", c.id, "op", op, "error", err)
			}
			return nil, p
		}
		return out, nil
	})
}

// none is the input or output of an operation without one.
type none struct{}

// probes mounts the rows that are not part of the API document.
func (m *mounting) probes() {
	for _, op := range []string{"healthz", "readyz", "openapi", "metrics", "profile"} {
		if route := m.take(op); route != nil {
			m.api.mux.HandleFunc(route.pattern(), func(w http.ResponseWriter, _ *http.Request) {
				notFound().write(w) // probe answers these; the mux only tells them apart
			})
		}
	}
}
