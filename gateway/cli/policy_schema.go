package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
	"github.com/gatewright/gatewright/policies/toolschema"
)

type policySchemaCmd struct {
	bundleFolder
	Tools  string `help:"Tools as JSON: what tools/list answered (with --server), or a list of tools as in a bundle's tests/tools.json (the default)." type:"path" placeholder:"FILE"`
	Server string `help:"The server of tools that do not name theirs, and no other servers' tools." placeholder:"NAME"`
	API    bool   `help:"Take the tools from the gateway's catalogue, over the control port." name:"api"`
	Format string `help:"cedar or json." enum:"cedar,json" default:"cedar"`

	Compatible     bool   `help:"Write the schema as cedar-for-agents' mcp-schema-generator does, one namespace a server, not the one that policies here are held against."`
	Stub           string `help:"With --compatible: the schema to add the tools of one server to." type:"path" placeholder:"FILE"`
	Outputs        bool   `help:"With --compatible: type the answers, too."`
	Records        bool   `help:"With --compatible: objects are records, not entities."`
	Decimals       bool   `help:"With --compatible: numbers are decimals. Danger: what is beyond four places is lost."`
	Flat           bool   `help:"With --compatible: one namespace."`
	KeepAnnotation bool   `help:"With --compatible: keep the stub's @mcp_ annotations." name:"keep-annotations"`

	controlPort
}

// maxToolsFile is the most that is read of a list of tools, in bytes.
const maxToolsFile = 32 << 20

// Run prints a schema, and on standard error which tools it leaves out.
func (c *policySchemaCmd) Run(sh *shell) error {
	b, err := c.load()
	if err != nil {
		return err
	}
	tools, err := c.tools(sh, b)
	if err != nil {
		return err
	}
	var text []byte
	if c.Compatible {
		text, err = c.compatible(tools)
	} else {
		text, err = c.own(sh, b, tools)
	}
	if err != nil {
		return err
	}
	if c.Format == "json" {
		s, err := toolschema.Read(text)
		if err != nil {
			return err
		}
		if text, err = s.JSON(); err != nil {
			return err
		}
	}
	fmt.Fprintf(sh.out, "%s\n", bytes.TrimRight(text, "\n"))
	return nil
}

// own gives the schema that the engine reads.
func (c *policySchemaCmd) own(sh *shell, b *policies.Bundle, tools []suite.Tool) ([]byte, error) {
	defs := make([]policies.ToolDef, len(tools))
	for i := range tools {
		t := &tools[i]
		defs[i] = policies.ToolDef{Server: t.Server, Name: t.Name, Op: t.Op, InputSchema: t.InputSchema}
	}
	text, skipped, err := policies.Schema(b, defs)
	for _, s := range skipped {
		fmt.Fprintf(sh.err, "left out: %s\n", plainly(oneLine(s)))
	}
	return text, err
}

// compatible gives the other shape. A namespace is one server's, since tools of two may have one name.
func (c *policySchemaCmd) compatible(tools []suite.Tool) ([]byte, error) {
	byServer := map[string][]suite.Tool{}
	var servers []string
	for _, t := range tools {
		if t.Op != "" && t.Op != "call_tool" {
			continue
		}
		if byServer[t.Server] == nil {
			servers = append(servers, t.Server)
		}
		byServer[t.Server] = append(byServer[t.Server], t)
	}
	slices.Sort(servers)
	if len(servers) == 0 || len(servers) > 1 && c.Stub != "" {
		return nil, usage("--server NAME takes the tools of one", "tools of %d servers", len(servers))
	}
	var parts [][]byte
	for _, name := range servers {
		text, err := c.ofServer(name, byServer[name])
		if fault, ok := errors.AsType[*toolschema.Error](err); ok {
			err = &hinted{fmt.Errorf("server %q: %w", name, &toolschema.Error{Where: fault.Where, Msg: fault.Msg}), fault.Hint}
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, text)
	}
	return bytes.Join(parts, []byte("\n")), nil
}

func (c *policySchemaCmd) ofServer(name string, tools []suite.Tool) ([]byte, error) {
	stub, err := c.stub(name)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(plainTools(tools))
	if err != nil {
		return nil, err
	}
	s, err := toolschema.Generate(stub, list, toolschema.Options{
		IncludeOutputs: c.Outputs, ObjectsAsRecords: c.Records, KeepAnnotations: c.KeepAnnotation, Flatten: c.Flat, NumbersAsDecimal: c.Decimals,
	})
	if err != nil {
		return nil, err
	}
	return s.Cedar(), nil
}

// stub is the file that is named, or one for the server. Dashes, which Cedar's names cannot have, become underscores, which
// the names of servers do not have.
func (c *policySchemaCmd) stub(server string) ([]byte, error) {
	if c.Stub == "" {
		return toolschema.Stub(strings.ReplaceAll(server, "-", "_"))
	}
	return readBounded(c.Stub, maxToolsFile)
}

// plainTools are tools as MCP describes them.
func plainTools(tools []suite.Tool) []map[string]any {
	out := make([]map[string]any, len(tools))
	for i, t := range tools {
		out[i] = map[string]any{"name": t.Name, "inputSchema": orEmpty(t.InputSchema)}
		if t.OutputSchema != nil {
			out[i]["outputSchema"] = t.OutputSchema
		}
	}
	return out
}

func orEmpty(schema json.RawMessage) json.RawMessage {
	if schema == nil {
		return json.RawMessage(`{}`)
	}
	return schema
}

// tools finds the tools that are meant.
func (c *policySchemaCmd) tools(sh *shell, b *policies.Bundle) (tools []suite.Tool, err error) {
	switch {
	case c.API && c.Tools != "":
		return nil, usage("leave one of them out", "--api and --tools say two things")
	case c.API:
		tools, err = c.fromGateway(sh)
	case c.Tools != "":
		tools, err = c.fromFile()
	default:
		tools, err = fromTests(b)
	}
	if err != nil {
		return nil, err
	}
	for i := range tools {
		if tools[i].Server == "" {
			tools[i].Server = c.Server
		}
		if tools[i].Server == "" {
			return nil, usage("--server NAME says whose they are", "tool %q does not name its server", tools[i].Name)
		}
	}
	if c.Server != "" {
		tools = slices.DeleteFunc(tools, func(t suite.Tool) bool { return t.Server != c.Server })
	}
	return tools, nil
}

// fromTests takes the tools that the bundle's tests describe; of one that several files describe, the first.
func fromTests(b *policies.Bundle) (tools []suite.Tool, err error) {
	tests, err := suite.Load(b)
	if err != nil {
		return nil, err
	}
	seen := map[[3]string]bool{}
	for i := range tests {
		for _, t := range tests[i].Tools {
			if key := [3]string{t.Op, t.Server, t.Name}; !seen[key] {
				seen[key] = true
				tools = append(tools, t)
			}
		}
	}
	return tools, nil
}

func (c *policySchemaCmd) fromFile() ([]suite.Tool, error) {
	text, err := readBounded(c.Tools, maxToolsFile)
	if err != nil {
		return nil, err
	}
	const hint = "give what tools/list answered, or a list of tools as in tests/tools.json"
	if err := canon.Check(text, canon.Limits{Bytes: maxToolsFile, Depth: 128, Values: maxToolsFile}); err != nil {
		return nil, usage(hint, "%s: %v", c.Tools, err)
	}
	list := bytes.TrimSpace(text)
	for _, member := range []string{"result", "tools"} {
		if inner, ok := canon.Get(list, member); ok && canon.KindOf(list) == '{' {
			list = inner
		}
	}
	var tools []suite.Tool
	if err := json.Unmarshal(list, &tools); err != nil || canon.KindOf(list) != '[' {
		return nil, usage(hint, "%s holds no list of tools", c.Tools)
	}
	return tools, nil
}

// fromGateway takes all tools that the catalogue holds, as far as they can be used.
func (c *policySchemaCmd) fromGateway(sh *shell) (tools []suite.Tool, err error) {
	a, err := c.admin(sh)
	if err != nil {
		return nil, err
	}
	servers, err := a.Servers(sh.ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		list, err := a.ServerTools(sh.ctx, s.Name)
		if err != nil {
			return nil, err
		}
		for _, t := range list {
			if t.State == "usable" {
				tools = append(tools, suite.Tool{Server: s.Name, Name: t.Name, InputSchema: t.InputSchema})
			} else {
				fmt.Fprintf(sh.err, "left out: %s/%s: %s\n", clean(s.Name), clean(t.Name), plainly(oneLine(t.Why)))
			}
		}
	}
	return tools, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, usage("name a file that can be read", "%v", err)
	}
	if info.Size() > limit || !info.Mode().IsRegular() {
		return nil, usage("name a smaller file", "%q is no file of at most %d bytes", name, limit)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, usage("name a file that can be read", "%v", err)
	}
	return b, nil
}
