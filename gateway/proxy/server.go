// Package proxy is the data port: the listener, the strict reading of each request's frame, and the routes to the
// dialects. A dialect turns bytes into a pipeline.Call and a finished Call into bytes; it judges nothing.
package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/gatewright/gatewright/gateway/pipeline"
)

// Config bounds what the data port takes in. Every bound has a default in gateway.hcl with its reason.
type Config struct {
	MaxBody        int           // bytes of a request body
	MaxHeader      int           // bytes of a request head
	ReadTimeout    time.Duration // for a whole request, so that a slow sender cannot hold a connection
	WriteTimeout   time.Duration
	IdleTimeout    time.Duration
	MaxConns       int // open connections
	MaxConnsPerIP  int // open connections from one address; 0 is no bound
	TrustedProxies []netip.Prefix
	Hosts          []string // Host names served beside loopback names and the listening address
	Origins        []string // browser origins that may call; none by default

	Protected *Protected // what clients of authorization servers are told; nil: there are none

	ClientCertificates bool // clients may show certificates, which TLS has verified

	MaxStreams         int           // open at once; 0: no answer becomes a stream
	MaxStreamsPerIP    int           // of one address
	MaxStreamsPerAgent int           // of one agent, or what else a dialect counts together
	StreamQueue        int           // bytes that may wait for a slow reader before its stream is cut
	StreamKeepAlive    time.Duration // without an event, after which a comment is sent
}

// Route is where a path leads. Serve must answer the request before it returns.
type Route interface {
	Serve(x *Exchange)
}

// Exchange is one request with its answer in the making. It ends with the request.
type Exchange struct {
	*fasthttp.RequestCtx
	Head   Head
	Path   string     // the path as sent; it has no escapes and no empty or dot segments
	Remote netip.Addr // the client, after trusted proxies

	server    *Server
	streaming bool // its answer has become a stream, which recycles it
}

// Target is the request's URL as a proof of possession names it (RFC 9449 4.2): scheme, host and path, without query.
func (x *Exchange) Target() string {
	scheme := "http://"
	if x.IsTLS() {
		scheme = "https://"
	}
	return scheme + strings.ToLower(string(x.Head.Host)) + x.Path
}

// sameOrigin says whether a browser's page of this very address calls. Its Host was checked before.
func (x *Exchange) sameOrigin() bool {
	scheme := "http://"
	if x.IsTLS() {
		scheme = "https://"
	}
	return strings.EqualFold(string(x.Head.Origin), scheme+string(x.Head.Host))
}

// Server is the data port.
type Server struct {
	config Config
	line   *pipeline.Line
	routes map[string]Route // by first path segment, "" for the root
	http   *fasthttp.Server
	log    *slog.Logger
	hosts  map[string]bool
	// loopback is the last spelling of a loopback address seen in a Host, so that it is parsed once.
	loopback atomic.Pointer[string]
	pool     sync.Pool
	ready    func() error
	departed atomic.Uint64
	streams  streams
}

// New makes a data port. routes are keyed by the first segment of the path; ready says whether the gateway can serve.
func New(c Config, line *pipeline.Line, routes map[string]Route, ready func() error, log *slog.Logger) *Server {
	s := &Server{config: c, line: line, routes: routes, log: log, hosts: map[string]bool{}, ready: ready}
	for _, h := range c.Hosts {
		s.hosts[strings.ToLower(h)] = true
	}
	s.pool.New = func() any { return &Exchange{} }
	s.http = &fasthttp.Server{
		Handler: s.serve, ErrorHandler: s.unreadable, Logger: quiet{log}, Name: "gatewright",
		ReadBufferSize: c.MaxHeader, WriteBufferSize: 16 << 10, MaxRequestBodySize: c.MaxBody,
		ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout,
		Concurrency:           c.MaxConns,
		MaxIdleWorkerDuration: time.Second, // as many run at once as streams have work under way; kept, they keep their stacks
		SecureErrorLogMessage: true, NoDefaultServerHeader: true, NoDefaultContentType: true, CloseOnShutdown: true,
		DisablePreParseMultipartForm: true, TCPKeepalive: true,
		KeepHijackedConns: true, // what a stream took over is closed, or served on, by the stream
	}
	s.streams.start(c)
	return s
}

// Serve answers requests on ln until Shutdown. With tlsConfig the connections are TLS.
func (s *Server) Serve(ln net.Listener, tlsConfig *tls.Config) error {
	ln = bounded(ln, s.config.MaxConnsPerIP, s.config.WriteTimeout+silentPeer)
	if tlsConfig != nil {
		ln = &securedListener{ln, tlsConfig}
	}
	if err := s.http.Serve(ln); err != nil {
		return fmt.Errorf("serve the data port: %w", err)
	}
	return nil
}

// Shutdown stops taking connections, ends the streams that only wait for events, and waits for the calls that are running,
// streamed or not. What still runs when ctx ends is cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.streams.drain()
	if err := errors.Join(s.http.ShutdownWithContext(ctx), s.streams.wait(ctx)); err != nil {
		return fmt.Errorf("drain the data port: %w", err)
	}
	return nil
}

// Departed is how many requests had their client leave before they were answered.
func (s *Server) Departed() uint64 { return s.departed.Load() }

// Connections is how many connections are open.
func (s *Server) Connections() int {
	return int(s.http.GetOpenConnectionsCount()) + s.streams.count() - int(s.streams.inside.Load()) + s.streams.silent()
}

func (s *Server) serve(ctx *fasthttp.RequestCtx) {
	x := s.pool.Get().(*Exchange)
	x.RequestCtx, x.server = ctx, s
	defer func() {
		if !x.streaming {
			s.recycle(x)
		}
	}()
	defer s.contain(x)
	if err := parseHead(&ctx.Request.Header, &x.Head); err != nil {
		ctx.SetConnectionClose()
		x.Refuse(pipeline.Deny(pipeline.Malformed, err.Error()), "")
		return
	}
	if !s.knownHost(x.Head.Host, ctx.LocalAddr()) {
		x.Refuse(pipeline.Deny(pipeline.HostRefused, ""), "")
		return
	}
	if x.Head.Origin != nil && !x.sameOrigin() {
		if !s.knownOrigin(string(x.Head.Origin)) {
			x.Refuse(pipeline.Deny(pipeline.OriginRefused, ""), "")
			return
		}
		if x.share() {
			return
		}
	}
	x.Remote = s.remote(ctx.RemoteAddr(), x.Head.ForwardedFor)
	// As sent: of a target in absolute form (RFC 9112 3.2.2) fasthttp would give the path and hide the other host.
	target, _, _ := bytes.Cut(ctx.Request.Header.RequestURI(), []byte("?"))
	x.Path = string(target)
	s.route(x)
	if !x.streaming && x.Context().Err() != nil {
		s.departed.Add(1)
	}
}

// recycle keeps x for another request.
func (s *Server) recycle(x *Exchange) {
	params := x.Head.Params
	*x = Exchange{Head: Head{Params: params[:0]}}
	s.pool.Put(x)
}

// contain keeps a panic in a dialect, outside of the line, from ending the whole gateway: fasthttp recovers none.
func (s *Server) contain(x *Exchange) {
	if p := recover(); p != nil {
		s.broke(x, p)
	}
}

// broke answers what a dialect panicked over.
func (s *Server) broke(x *Exchange, p any) {
	s.panicked(p)
	x.Response.Reset()
	x.SetConnectionClose()
	x.Refuse(pipeline.Deny(pipeline.Internal, ""), "")
}

func (s *Server) panicked(p any) {
	s.log.Error("panic on the data port", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
}

func (s *Server) route(x *Exchange) {
	if x.Path == "/health" {
		s.health(x)
		return
	}
	if len(x.Head.ContentEncoding) > 0 && !equal(x.Head.ContentEncoding, "identity") {
		d := pipeline.Deny(pipeline.Unsupported, "compressed request bodies are not taken")
		d.Hint = "send the body without Content-Encoding"
		s.Deny(x, d)
		return
	}
	if inQuery(x) {
		d := pipeline.Deny(pipeline.Malformed, "a credential in the URL is not taken")
		d.Hint = "send it in the Authorization header, and have it revoked: URLs stand in logs"
		s.Deny(x, d)
		return
	}
	if plainPath(x.Path) {
		first, _, _ := strings.Cut(x.Path[1:], "/")
		if r := s.routes[first]; r != nil {
			r.Serve(x)
			return
		}
	}
	s.Deny(x, pipeline.Deny(pipeline.NotFound, "no such address"))
}

// Deny walks the line with a request that leads nowhere, so that a caller without a valid credential is told only
// that, and one with a credential has the refusal recorded.
func (s *Server) Deny(x *Exchange, d *pipeline.Denial) {
	c := &pipeline.Call{
		Route: "unknown", Remote: x.Remote, TLS: x.IsTLS(), Credential: x.Head.Credential(), Certificate: x.Certificate(),
		Read: func(context.Context, *pipeline.Call) error { return d },
	}
	s.line.Run(x.Context(), c)
	x.Refuse(c.Denial, c.Record)
}

func (s *Server) health(x *Exchange) {
	if !x.IsGet() && !x.IsHead() {
		x.Response.Header.Set("Allow", "GET, HEAD")
		x.Refuse(pipeline.Deny(pipeline.MethodNotAllowed, ""), "")
		return
	}
	if err := s.ready(); err != nil {
		x.JSON(fasthttp.StatusServiceUnavailable, []byte(`{"status":"unavailable"}`))
		return
	}
	x.JSON(fasthttp.StatusOK, []byte(`{"status":"ok"}`))
}

// unreadable answers what could not be read as a request at all.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	x := &Exchange{RequestCtx: ctx}
	ctx.SetConnectionClose()
	var small *fasthttp.ErrSmallBuffer
	var netErr net.Error
	switch {
	case errors.As(err, &small):
		x.Refuse(pipeline.Deny(pipeline.HeaderTooLarge, ""), "")
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		x.Refuse(pipeline.Deny(pipeline.TooLarge, ""), "")
	case errors.As(err, &netErr) && netErr.Timeout():
		x.Refuse(pipeline.Deny(pipeline.TooSlow, ""), "")
	default:
		x.Refuse(pipeline.Deny(pipeline.Malformed, "the request is not valid HTTP/1.1"), "")
	}
}

// plainPath takes only paths that cannot be read in two ways: no escapes, no empty or dot segments.
func plainPath(p string) bool {
	if p == "" || p[0] != '/' || len(p) > 512 {
		return false
	}
	for seg := range strings.SplitSeq(strings.TrimSuffix(p[1:], "/"), "/") {
		if seg == "" || seg == "." || seg == ".." {
			return false
		}
		for i := range len(seg) {
			c := seg[i]
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~') {
				return false
			}
		}
	}
	return true
}

// quiet keeps fasthttp's own messages, which can hold pieces of requests, out of the log but for their number.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(string, ...any) { q.log.Debug("connection ended by an error") }
