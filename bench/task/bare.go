package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/bench/rig"
)

// Plain are the settings of proxies that judge nothing.
type Plain struct {
	Upstream string `json:"upstream"` // host:port
}

// UpstreamConns is the size of every proxy's pool: more than the connections that drive it.
const UpstreamConns = 256

// Forwarder is the client that a proxy made of fasthttp forwards with.
func Forwarder(addr string) *fasthttp.HostClient {
	return &fasthttp.HostClient{
		Addr: addr, MaxConns: UpstreamConns, MaxIdleConnDuration: time.Hour, NoDefaultUserAgentHeader: true,
		ReadTimeout: time.Minute, WriteTimeout: time.Minute, ReadBufferSize: 16 << 10,
	}
}

// PassOn hands the request to the upstream as it came, and its answer back.
func PassOn(up *fasthttp.HostClient, ctx *fasthttp.RequestCtx) {
	ctx.Request.Header.Del("Connection")
	if err := up.Do(&ctx.Request, &ctx.Response); err != nil {
		ctx.Error(err.Error(), fasthttp.StatusBadGateway)
		return
	}
	ctx.Response.Header.Del("Connection")
}

// ServeBare is the bare fasthttp reverse proxy that everything is measured against.
func ServeBare(_ context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s Plain
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	up := Forwarder(s.Upstream)
	return rig.ServeHTTP(func(ctx *fasthttp.RequestCtx) { PassOn(up, ctx) })
}
