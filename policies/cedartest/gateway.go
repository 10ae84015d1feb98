package cedartest

import (
	"net/netip"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// ToolActions are the tools of a gateway's world, to be put behind the default schema.
const ToolActions = `
action "mail___send" in [call_tool] appliesTo { principal: [Agent, User], resource: [Tool], context: {
  now: datetime, net: Net, trust: Long, onBehalfOf?: User, plan: Plan, filters: Filters,
  input: { to: String, subject?: String, copies?: Long, tags?: Set<String>, price?: decimal, meta?: { dept: String, level?: Long }, any?: Json },
  inputNulls: Set<String>, undeclared: Undeclared } };
action "db___query" in [call_tool] appliesTo { principal: [Agent, User], resource: [Tool], context: {
  now: datetime, net: Net, trust: Long, onBehalfOf?: User, plan: Plan, filters: Filters,
  input: { sql: String, table?: String, limit?: Long, write?: Bool },
  inputNulls: Set<String>, undeclared: Undeclared } };
`

var gateway = sort{words: gatewayWords, entities: gatewayEntities, request: gatewayRequest}

var gatewayWords = words{
	principals: []string{"principal", "principal", "principal", `principal == Agent::"agt_1"`, `principal == User::"usr_1"`, `principal in Team::"ops"`, `principal in Team::"dev"`,
		`principal in Role::"Admin"`, `principal in Organization::"acme"`, `principal is Agent`, `principal is User`, `principal is Agent in Team::"ops"`, `principal in Agent::"agt_2"`},
	actions: []string{"action", "action", `action in Action::"call_tool"`, `action in Action::"work"`, `action in Action::"mcp"`, `action == Action::"mail___send"`,
		`action == Action::"db___query"`, `action in [Action::"mail___send", Action::"list_tools"]`, `action == Action::"read_resource"`, `action in []`, `action == Action::"call_tool"`},
	resources: []string{"resource", "resource", "resource", `resource == Tool::"mail/send"`, `resource in Server::"mail"`, `resource in Server::"db"`, `resource is Tool`,
		`resource is Tool in Server::"db"`, `resource is Server`, `resource == Server::"mail"`, `resource is McpResource`},
	places: []place{{"principal.trust", long}, {"principal.labels", texts}, {"principal.talksTo", entities}, {"principal.status", entity}, {"principal.owner", entity},
		{"resource.name", text}, {"resource.uri", text}, {"resource.sensitivity", long}, {"resource.readOnly", boolean}, {"resource.destructive", boolean}, {"resource.labels", texts},
		{"context.now", moment}, {"context.net.ip", address}, {"context.net.tls", boolean}, {"context.trust", long}, {"context.onBehalfOf", entity}, {"context.plan.inPlan", boolean},
		{"context.plan.id", text}, {"context.plan.step", long}, {"context.plan.stepsDone", long}, {"context.plan.expires", moment}, {"context.filters.labels", texts}, {"context", record},
		{"context.input", record}, {"context.input.to", text}, {"context.input.to", text}, {"context.input.subject", text}, {"context.input.copies", long}, {"context.input.tags", texts},
		{"context.input.price", decimal}, {"context.input.meta.dept", text}, {"context.input.meta.level", long}, {"context.input.any.string", text}, {"context.input.any.text", text},
		{"context.input.sql", text}, {"context.input.sql", text}, {"context.input.table", text}, {"context.input.limit", long}, {"context.input.write", boolean},
		{"context.inputNulls", texts}, {"context.undeclared.names", texts}, {"context.undeclared.text", text}, {"context.nowhere", text}, {"principal.nowhere.at.all", long}},
	ids: []string{`Agent::"agt_1"`, `User::"usr_1"`, `Team::"ops"`, `Role::"Admin"`, `Server::"mail"`, `Server::"db"`, `Tool::"db/query"`, `Status::"active"`, `Action::"work"`,
		`Action::"call_tool"`, `Organization::"acme"`},
	types:      []string{"Agent", "User", "Tool", "Server", "Team", "Nobody"},
	attributes: []string{"input", "to", "sql", "subject", "onBehalfOf", "meta", "nowhere", `"b c"`, "input.to", "plan.inPlan", "net.ip"},
}

func uid(typ, id string) types.EntityUID {
	return types.NewEntityUID(types.EntityType(typ), types.String(id))
}

func set(list ...string) types.Set {
	var out []types.Value
	for _, s := range list {
		out = append(out, types.String(s))
	}
	return types.NewSet(out...)
}

// put adds an entity.
func put(m types.EntityMap, u types.EntityUID, attributes types.RecordMap, parents ...types.EntityUID) {
	m[u] = types.Entity{UID: u, Parents: types.NewEntityUIDSet(parents...), Attributes: types.NewRecord(attributes)}
}

func gatewayEntities(s *Source) types.EntityMap {
	m := types.EntityMap{}
	acme := uid("Organization", "acme")
	put(m, acme, nil)
	put(m, uid("Team", "ops"), nil, acme)
	put(m, uid("Team", "dev"), nil, acme)
	for _, id := range []string{"agt_1", "agt_2", "usr_1", "usr_2"} {
		gatewayCaller(s, m, id)
	}
	for _, server := range []string{"mail", "db"} {
		put(m, uid("Server", server), nil)
	}
	gatewayTool(s, m, "mail", "send")
	gatewayTool(s, m, "db", "query")
	put(m, uid("McpResource", "db/file:///tmp/x"), types.RecordMap{"uri": types.String("file:///tmp/x"), "scheme": types.String("file")}, uid("Server", "db"))
	for action, group := range map[string]string{"mail___send": "call_tool", "db___query": "call_tool", "call_tool": "work", "read_resource": "work", "work": "mcp",
		"list_tools": "discovery", "discovery": "mcp"} {
		put(m, uid("Action", action), nil, uid("Action", group))
	}
	return m
}

func gatewayCaller(s *Source, m types.EntityMap, id string) {
	typ, attributes := "User", types.RecordMap{
		"status": uid("Status", pick(s, "active", "active", "suspended")), "trust": types.Long(s.n(3) * 400),
		"labels": pick(s, set(), set("blue"), set("blue", "red")), "talksTo": pick(s, types.NewSet(), types.NewSet(uid("Server", "mail"))),
	}
	if id[0] == 'a' {
		typ = "Agent"
		if s.one(2) {
			attributes["owner"] = uid("User", pick(s, "usr_1", "usr_9"))
		}
	}
	parents := []types.EntityUID{uid("Organization", pick(s, "acme", "acme", "other")), uid("Role", pick(s, "Admin", "Member"))}
	for _, team := range []string{"ops", "dev"} {
		if s.one(2) {
			parents = append(parents, uid("Team", team))
		}
	}
	put(m, uid(typ, id), attributes, parents...)
}

func gatewayTool(s *Source, m types.EntityMap, server, name string) {
	put(m, uid("Tool", server+"/"+name), types.RecordMap{
		"name": types.String(name), "sensitivity": types.Long(s.n(5)), "readOnly": types.Boolean(s.one(2)), "destructive": types.Boolean(s.one(2)),
		"idempotent": types.False, "openWorld": types.True, "labels": pick(s, set(), set("pii")),
	}, uid("Server", server))
}

func gatewayRequest(s *Source) cedar.Request {
	q := cedar.Request{Principal: pick(s, uid("Agent", "agt_1"), uid("Agent", "agt_1"), uid("Agent", "agt_2"), uid("User", "usr_1"), uid("User", "usr_2"), uid("Agent", "agt_9"))}
	ctx := gatewayContext(s)
	switch s.n(6) {
	case 0:
		q.Action, q.Resource = uid("Action", "list_tools"), uid("Server", "mail")
	case 1:
		q.Action, q.Resource = uid("Action", "read_resource"), uid("McpResource", "db/file:///tmp/x")
		work(s, ctx, types.RecordMap{})
	case 2, 3:
		q.Action, q.Resource = uid("Action", "mail___send"), uid("Tool", "mail/send")
		work(s, ctx, mailInput(s))
	default:
		q.Action, q.Resource = uid("Action", "db___query"), uid("Tool", "db/query")
		work(s, ctx, types.RecordMap{"sql": types.String(someText(s)), "limit": types.Long(s.n(20))})
	}
	q.Context = types.NewRecord(ctx)
	return q
}

func gatewayContext(s *Source) types.RecordMap {
	now := time.Unix(1_700_000_000+int64(s.n(10))*30_000_000, int64(s.n(2))*5e6)
	ctx := types.RecordMap{
		"now": types.NewDatetime(now), "trust": types.Long(s.n(3) * 400),
		"net": types.NewRecord(types.RecordMap{"ip": types.IPAddr(netip.MustParsePrefix(pick(s, "10.1.2.3/32", "192.0.2.7/32", "127.0.0.1/32", "::1/128", "2001:db8::5/128"))), "tls": types.Boolean(s.one(2))}),
		"plan": types.NewRecord(types.RecordMap{
			"inPlan": types.Boolean(!s.one(3)), "id": types.String(pick(s, "", "pln_1")), "step": types.Long(s.n(3)), "steps": types.Long(3),
			"stepsDone": types.Long(s.n(3)), "expires": types.NewDatetime(now.Add(time.Hour)), "bundleAtIssue": types.String("00"),
		}),
		"filters": types.NewRecord(types.RecordMap{"labels": pick(s, set(), set("pii"), set(someText(s), "pii"))}),
	}
	if s.one(2) {
		ctx["onBehalfOf"] = uid("User", pick(s, "usr_1", "usr_2"))
	}
	return ctx
}

// work adds what only work has.
func work(s *Source, ctx, input types.RecordMap) {
	ctx["input"] = types.NewRecord(input)
	ctx["inputNulls"] = pick(s, set(), set("/subject"))
	ctx["undeclared"] = types.NewRecord(types.RecordMap{"names": pick(s, set(), set("zz")), "text": types.String(pick(s, "{}", `{"zz":1}`))})
}

func mailInput(s *Source) types.RecordMap {
	in := types.RecordMap{"to": types.String(someText(s))}
	for _, one := range []struct {
		name  types.String
		value types.Value
	}{
		{"subject", types.String(someText(s))}, {"copies", types.Long(s.n(20))}, {"tags", set(someText(s), someText(s))},
		{"price", must(types.NewDecimal(int64(s.n(4000)), -3))}, {"meta", pick(s, types.NewRecord(types.RecordMap{"dept": types.String(someText(s))}),
			types.NewRecord(types.RecordMap{"dept": types.String("x"), "level": types.Long(s.n(5))}))},
		{"any", types.NewRecord(types.RecordMap{"kind": types.String("string"), "text": types.String(`"a"`), "string": types.String("a")})},
	} {
		if s.one(2) {
			in[one.name] = one.value
		}
	}
	return in
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
