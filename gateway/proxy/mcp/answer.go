package mcp

import (
	"context"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/canon"
)

const (
	instructions = "Every tool call goes through Gatewright: it must be a step of a signed plan, shown as an intent token in the " +
		"Gatewright-Intent header. Answers carry a receipt in _meta under gatewright/receipt."
)

// answerHere answers the operations that are the gateway's own.
func (e *exchange) answerHere(ctx context.Context, c *pipeline.Call) error {
	var b []byte
	switch e.method {
	case "DELETE":
		e.d.Sessions.end(e.session)
		b = append(b, `{}`...)
	case "response":
		if err := e.answered(); err != nil {
			return err
		}
		b = append(b, `{}`...)
	case "subscriptions/listen", "GET":
		if err := e.beginListening(ctx, c); err != nil {
			return err
		}
		b = append(b, `{}`...)
	case "resources/subscribe", "resources/unsubscribe":
		if err := e.subscribed(ctx, c); err != nil {
			return err
		}
		b = append(b, `{}`...)
	case "notifications/cancelled":
		e.cancelled()
		b = append(b, `{}`...)
	case "initialize":
		b = e.initialize(c)
	case "server/discover":
		b = append(b, `{"supportedVersions":["`+modernVersion+`"`...)
		for _, v := range legacyVersions {
			b = append(b, `,"`+v+`"`...)
		}
		b = append(b, `],"capabilities":`...)
		b = append(e.capabilities(b, c), `,"ttlMs":0,"cacheScope":"private","instructions":`...)
		b = append(canon.AppendString(b, instructions), '}')
	case "tools/list", catalogue.ListPrompts, catalogue.ListResources, catalogue.ListTemplates:
		var err error
		if b, err = e.list(c); err != nil {
			return err
		}
	case "tasks/list":
		b = e.listTasks(c)
	default:
		b = append(b, `{}`...)
	}
	c.Reply.Result = b
	return nil
}

// initialize answers the handshake of the older protocols. A client that reads streams gets a session; of others nothing is
// kept between requests.
func (e *exchange) initialize(c *pipeline.Call) []byte {
	if e.x.MayStream() {
		client, _ := canon.Get(e.params, "capabilities")
		e.session = e.d.Sessions.begin(c, e.x.Path, capabilitiesOf(client))
	}
	version := latestLegacy
	if raw, ok := canon.Get(e.params, "protocolVersion"); e.params != nil && ok && canon.KindOf(raw) == '"' {
		if v, err := canon.Unquote(raw); err == nil && slices.Contains(legacyVersions, v) {
			version = v
		}
	}
	b := append([]byte(nil), `{"protocolVersion":"`+version+`","capabilities":`...)
	b = append(e.capabilities(b, c), `,"serverInfo":`...)
	b = e.d.appendServerInfo(b)
	b = append(b, `,"instructions":`...)
	b = canon.AppendString(b, instructions)
	return append(b, '}')
}

func (d *Dialect) appendServerInfo(b []byte) []byte {
	b = append(b, `{"name":"gatewright","title":"Gatewright","version":`...)
	return append(canon.AppendString(b, d.Version), '}')
}

// capabilities are what the path's servers have together: tools always, the rest where one of them has it.
func (e *exchange) capabilities(b []byte, c *pipeline.Call) []byte {
	prompts, resources := false, false
	for _, s := range e.d.Catalogue.Servers(c.Caller.Tenant()) {
		if e.server != "" && s.Name != e.server {
			continue
		}
		_, has := e.d.Catalogue.Prompts(s.Tenant, s.Name)
		prompts = prompts || has
		_, has = e.d.Catalogue.Resources(s.Tenant, s.Name, false)
		resources = resources || has
	}
	told := `{"listChanged":` + strconv.FormatBool(e.d.Hub != nil && e.x.MayStream())
	b = append(b, `{"tools":`+told+`}`...)
	if prompts {
		b = append(b, `,"prompts":`+told+`}`...)
	}
	if resources {
		b = append(b, `,"resources":`+told+`,"subscribe":`+strconv.FormatBool(e.d.Hub.canWatch() && e.x.MayStream())+`}`...)
	}
	if prompts || resources {
		b = append(b, `,"completions":{}`...)
	}
	if !e.modern && e.server != "" && e.x.MayStream() {
		b = append(b, `,"logging":{}`...)
	}
	return append(e.taskCapabilities(b, c), '}')
}
