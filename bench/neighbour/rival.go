package neighbour

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
	"github.com/gatewright/gatewright/conformance/hostile/corpus"
	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/filters"
)

// role is that of the process in which both tenants are: a whole gateway, which the neighbour calls, and beside it what
// the other tenant calls.
const role = "neighbours"

// Roles are those of the children that this bench starts, beside rig.StubRole.
func Roles() map[string]rig.Role { return map[string]rig.Role{role: serve} }

// detail is what the child says of itself.
type detail struct {
	task.Detail
	Rival string `json:"rival"` // host:port of what the other tenant calls
}

// Tenants that the rival is, by path.
const (
	hostile  = "hostile"
	harmless = "harmless"
)

// harmlessFilter is what the harmless tenant has, and the neighbour too.
const harmlessFilter = "redact-secrets"

// serve is the role's function.
func serve(ctx context.Context, settings json.RawMessage) (rig.Serving, error) {
	gateway, err := task.ServeGateway(ctx, settings)
	if err != nil {
		return rig.Serving{}, err
	}
	known, ok := gateway.Detail.(task.Detail)
	if !ok {
		return rig.Serving{}, fmt.Errorf("the gateway says of itself %T", gateway.Detail)
	}
	rivals, err := newRivals(ctx)
	if err != nil {
		return rig.Serving{}, err
	}
	other, err := rig.ServeHTTP(rivals.serve)
	if err != nil {
		return rig.Serving{}, err
	}
	stop := gateway.Stop
	gateway.Detail = detail{known, other.Addr}
	gateway.Stop = func() error {
		return errors.Join(other.Stop(), rivals.runtime.Close(context.WithoutCancel(ctx)), stop())
	}
	return gateway, nil
}

// rivals are the two that the other tenant can be. Each has its filters under the default quota.
type rivals struct {
	runtime *wasm.Runtime
	all     map[string]*rival
	calls   sync.Pool // of *call
}

// rival is a tenant, whose calls go to its filters in turn.
type rival struct {
	tenant  *wasm.Tenant
	filters []*wasm.Filter
	next    atomic.Uint64
}

// call is what a call needs.
type call struct {
	context abi.Context
	verdict wasm.Verdict
}

func newRivals(ctx context.Context) (*rivals, error) {
	r, err := wasm.New(ctx, wasm.DefaultConfig())
	if err != nil {
		return nil, err
	}
	module, ok := filters.Module(harmlessFilter)
	if !ok {
		return nil, fmt.Errorf("there is no filter %q", harmlessFilter)
	}
	all := &rivals{runtime: r, all: map[string]*rival{hostile: {}, harmless: {}}}
	all.calls.New = func() any { return new(call) }
	modules := map[string]map[string][]byte{harmless: {harmlessFilter: module}, hostile: {}}
	for _, c := range corpus.Gluttons() {
		modules[hostile][c.Name] = c.Make()
	}
	for name, one := range all.all {
		one.tenant = r.Tenant(name, wasm.Quota{})
		for filter, module := range maps.All(modules[name]) {
			f, err := one.tenant.Load(ctx, filter, module, nil)
			if err != nil {
				return nil, errors.Join(err, r.Close(ctx))
			}
			one.filters = append(one.filters, f)
		}
	}
	return all, nil
}

// serve answers a call as a gateway would: whether its filter lets it pass. All answers are 200, since a refusal is no
// failure of this bench.
func (r *rivals) serve(ctx *fasthttp.RequestCtx) {
	one := r.all[string(ctx.Path()[1:])]
	if one == nil {
		ctx.Error("no such tenant", fasthttp.StatusNotFound)
		return
	}
	if ctx.IsGet() {
		text, _ := json.Marshal(one.stats()) // of numbers and strings
		ctx.SetBody(text)
		return
	}
	c, _ := r.calls.Get().(*call)
	defer r.calls.Put(c)
	c.context = abi.Context{
		Tenant: string(ctx.Path()[1:]), Agent: "agt_1", User: "usr_1", Op: "tools/call", Server: task.Server, Tool: task.Tool,
		Now: ctx.Time().UnixMilli(), Body: ctx.PostBody(),
	}
	f := one.filters[one.next.Add(1)%uint64(len(one.filters))]
	if err := f.Decide(ctx, &c.context, &c.verdict); err != nil {
		ctx.SetBodyString("refused: " + err.Error())
		return
	}
	ctx.SetBodyString(c.verdict.Kind.String())
}

// Rival is what the other tenant did until now.
type Rival struct {
	Passed uint64            `json:"passed"`
	Fuel   uint64            `json:"fuel"`
	Traps  map[string]uint64 `json:"traps"`
}

func (r *rival) stats() Rival {
	out := Rival{Traps: map[string]uint64{}}
	for _, f := range r.filters {
		s := f.Stats()
		out.Passed += s.Passed
		out.Fuel += s.Fuel
		for kind, n := range s.Traps {
			out.Traps[kind] += n
		}
	}
	return out
}
