package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// tools waits until the gateway has read the server's tools, and returns their names.
func (j *job) tools(ctx context.Context) ([]string, error) {
	var err error
	for range 40 {
		var all []gatewright.ServerTool
		if all, err = j.admin.ServerTools(ctx, server); err == nil && len(all) > 0 {
			names := make([]string, 0, len(all))
			for i := range all {
				if all[i].State == "usable" {
					names = append(names, all[i].Name)
				}
			}
			return names, nil
		}
		if err = j.admin.RefreshServer(ctx, server); err != nil {
			return nil, err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return nil, errors.Join(err, errors.New("the server lists no tools"))
}

// token captures a plan of everything that the server offers and returns a token for it.
func (j *job) token(ctx context.Context) (string, error) {
	type step struct {
		Op         string `json:"op"`
		Server     string `json:"server"`
		Tool       string `json:"tool"`
		Additional bool   `json:"additional,omitempty"`
		Uses       int    `json:"uses"`
	}
	names, err := j.tools(ctx)
	if err != nil {
		return "", err
	}
	var steps []step
	for _, name := range names {
		steps = append(steps, step{Op: "tools/call", Server: server, Tool: name, Additional: true})
	}
	s, err := j.connect(ctx, "")
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	if l, err := s.ListResources(ctx, nil); err == nil {
		for _, r := range l.Resources {
			steps = append(steps, step{Op: "resources/read", Server: server, Tool: r.URI})
		}
	}
	if l, err := s.ListPrompts(ctx, nil); err == nil {
		for _, p := range l.Prompts {
			steps = append(steps, step{Op: "prompts/get", Server: server, Tool: p.Name, Additional: true})
		}
	}
	draft, err := json.Marshal(map[string]any{"goal": "pass the suite", "steps": steps})
	if err != nil {
		return "", err
	}
	plan, err := j.agent.Plan(ctx, draft)
	if err != nil {
		return "", err
	}
	t, err := j.agent.Token(ctx, plan.ID, 0)
	if err != nil {
		return "", err
	}
	return t.Token, nil
}

// shown adds what an agent shows.
type shown struct{ key, token string }

// RoundTrip sends the request with the agent's key and its intent token.
func (s shown) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+s.key)
	if s.token != "" {
		r.Header.Set("Gatewright-Intent", s.token)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// connect is a stock client at the gateway. It answers what it is asked with what each question proposes.
func (j *job) connect(ctx context.Context, token string) (*mcp.ClientSession, error) {
	o := &mcp.ClientOptions{
		Capabilities: &mcp.ClientCapabilities{Elicitation: &mcp.ElicitationCapabilities{}},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			content := map[string]any{}
			if j.scenario == "sep-2322-client-request-state" {
				content["confirmed"] = true
			}
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil
		},
	}
	c := mcp.NewClient(&mcp.Implementation{Name: "suite", Version: "1"}, o)
	return c.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: j.url + "/mcp/" + server, HTTPClient: &http.Client{Transport: shown{j.key, token}}}, &mcp.ClientSessionOptions{ProtocolVersion: j.version})
}

// call does what a scenario without authorization is about: everything that the server offers is used once, or what it says.
func (j *job) call(ctx context.Context) error {
	if j.scenario == "request-metadata" || j.scenario == "json-schema-ref-no-deref" || j.scenario == "initialize" {
		err := j.admin.RefreshServer(ctx, server) // they offer no tools, or none to be called
		log.Printf("refresh: %v", err)
		return nil
	}
	token, err := j.token(ctx)
	if err != nil {
		return err
	}
	s, err := j.connect(ctx, token)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	calls := j.calls(ctx, s)
	for _, c := range calls {
		if _, err := s.CallTool(ctx, c); err != nil {
			log.Printf("call %s: %v", c.Name, err)
		}
	}
	if l, err := s.ListResources(ctx, nil); err == nil && len(l.Resources) > 0 {
		_, err = s.ReadResource(ctx, &mcp.ReadResourceParams{URI: l.Resources[0].URI})
		log.Printf("read: %v", err)
	}
	if l, err := s.ListPrompts(ctx, nil); err == nil && len(l.Prompts) > 0 {
		_, err = s.GetPrompt(ctx, &mcp.GetPromptParams{Name: l.Prompts[0].Name, Arguments: map[string]string{}})
		log.Printf("prompt: %v", err)
	}
	return nil
}

// calls are those that the suite hands out, else one of each tool.
func (j *job) calls(ctx context.Context, s *mcp.ClientSession) (out []*mcp.CallToolParams) {
	l, err := s.ListTools(ctx, nil) // a client of the newer era needs the schemas to call
	if err != nil {
		log.Printf("list: %v", err)
		return nil
	}
	for _, c := range j.told.Calls {
		// The gateway takes no null where a schema wants a boolean; leaving the argument out is what an agent does then.
		maps.DeleteFunc(c.Arguments, func(_ string, v any) bool { return v == nil })
		out = append(out, &mcp.CallToolParams{Name: c.Name, Arguments: c.Arguments})
	}
	if len(out) > 0 {
		return out
	}
	for _, t := range l.Tools {
		args := map[string]any{}
		switch j.scenario {
		case "tools_call":
			args = map[string]any{"a": 5, "b": 3}
		case "http-invalid-tool-headers":
			args = map[string]any{"region": "us-west1"}
		case "json-schema-2020-12-preservation":
			if t.Name == "json_schema_echo" {
				args = map[string]any{"schema": schemaOf(l.Tools, "json_schema_2020_12_tool")}
			}
		}
		out = append(out, &mcp.CallToolParams{Name: t.Name, Arguments: args})
	}
	return out
}

func schemaOf(tools []*mcp.Tool, name string) any {
	for _, t := range tools {
		if t.Name == name {
			return t.InputSchema
		}
	}
	return nil
}

// maxLogins bounds how often the person of a scenario consents.
const maxLogins = 3

// authorize calls the one tool of a scenario with authorization. Where the gateway says that a person has to consent, the person
// does, and the call is made again.
func (j *job) authorize(ctx context.Context) error {
	for logins := 0; ; logins++ {
		err := j.callOnce(ctx)
		if err == nil || !strings.Contains(err.Error(), "gatewright connector login") {
			return err
		}
		if logins == maxLogins {
			return fmt.Errorf("still not let in after %d logins: %w", maxLogins, err)
		}
		if err := j.login(ctx); err != nil {
			return err
		}
	}
}

func (j *job) callOnce(ctx context.Context) error {
	token, err := j.token(ctx)
	if err != nil {
		return err
	}
	s, err := j.connect(ctx, token)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	_, err = s.CallTool(ctx, &mcp.CallToolParams{Name: "test-tool", Arguments: map[string]any{}})
	return err
}

// login is what a person does with a browser: open the address, consent (the suite's server does at once), read the word of the
// page and type it.
func (j *job) login(ctx context.Context) error {
	begun, err := j.admin.BeginServerLogin(ctx, server)
	if err != nil {
		return err
	}
	back, err := browse(ctx, begun.URL)
	if err != nil {
		return err
	}
	page, err := browse(ctx, back)
	if err != nil {
		return err
	}
	_, rest, found := strings.Cut(page, "Type this word there:")
	if !found {
		return errors.New(page)
	}
	done, err := j.admin.FinishServerLogin(ctx, server, strings.Fields(rest)[0])
	if err == nil {
		log.Printf("logged in: %v", done.Scopes)
	}
	return err
}
