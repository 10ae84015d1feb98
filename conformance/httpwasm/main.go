// Command httpwasm puts an http-wasm filter in front of an HTTP server, on the gateway's own sandbox: what is scanned, metered,
// reset and pooled for tools' calls judges real requests here. It is how a test kit for http-wasm hosts, which speaks HTTP and
// knows no tools, can judge the gateway's host.
//
//	go run ./conformance/httpwasm -filter tck.wasm -next http://127.0.0.1:9000 -listen 127.0.0.1:9001
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gatewright/gatewright/wasm"
	"github.com/gatewright/gatewright/wasm/abi"
	"github.com/gatewright/gatewright/wasm/httpwasm"
)

// maxBody bounds each body, in bytes.
const maxBody = 1 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "httpwasm:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. Its first line says where.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("httpwasm", flag.ContinueOnError)
	filter := flags.String("filter", "", "path of the filter")
	config := flags.String("config", "", "what the filter's get_config gives")
	next := flags.String("next", "", "URL of the server behind the filter")
	listen := flags.String("listen", "127.0.0.1:0", "address to listen on")
	fuel := flags.Int64("fuel", wasm.DefaultConfig().Fuel, "fuel of a request")
	cert, key := flags.String("cert", "", "certificate, for HTTP/2"), flags.String("key", "", "its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	module, err := os.ReadFile(*filter)
	if err != nil {
		return err
	}
	back, err := url.Parse(*next)
	if err != nil || back.Host == "" {
		return fmt.Errorf("-next %q is no URL of a server", *next)
	}
	c := wasm.DefaultConfig()
	c.Fuel = *fuel
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r, err := wasm.New(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close(context.Background()) }()
	f, err := r.Load(ctx, "filter", module, []byte(*config))
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "a filter of dialect %s in front of %s at %s\n", f.Dialect(), back, l.Addr())
	s := &http.Server{Handler: &proxy{f, back}, ReadHeaderTimeout: 10 * time.Second}
	end := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer end()
	if *cert != "" {
		err = s.ServeTLS(l, *cert, *key)
	} else {
		err = s.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// proxy shows each request to the filter, and sends on what the filter lets pass.
type proxy struct {
	filter *wasm.Filter
	next   *url.URL
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	x := &httpwasm.Exchange{Method: r.Method, URI: r.URL.RequestURI(), Protocol: r.Proto, Source: r.RemoteAddr, MaxBody: maxBody}
	x.Request = httpwasm.Message{Header: shown(r.Header, httpwasm.Field{Name: "host", Value: r.Host}), Body: body}
	shown := &httpwasm.Shown{Exchange: x, Next: func() error { return p.forward(r.Context(), x) }}
	var v wasm.Verdict
	if err := p.filter.Decide(r.Context(), &abi.Context{Raw: shown}, &v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, f := range x.Response.Header {
		w.Header().Add(f.Name, f.Value)
	}
	w.WriteHeader(int(x.Code()))
	_, _ = w.Write(x.Response.Final()) // a client that hung up is no news
}

// shown are a header's fields in a steady order, behind first ones.
func shown(h http.Header, first ...httpwasm.Field) httpwasm.Header {
	fields := httpwasm.Header(first)
	for name, values := range h {
		for _, value := range values {
			fields = append(fields, httpwasm.Field{Name: strings.ToLower(name), Value: value})
		}
	}
	slices.SortStableFunc(fields[len(first):], func(a, b httpwasm.Field) int { return cmp.Compare(a.Name, b.Name) })
	return fields
}

// forward sends the request as the filter left it, and adds the answer to what the filter has written already.
func (p *proxy) forward(ctx context.Context, x *httpwasm.Exchange) error {
	r, err := http.NewRequestWithContext(ctx, x.Method, p.next.Scheme+"://"+p.next.Host+x.URI, strings.NewReader(string(x.Request.Final())))
	if err != nil {
		return err
	}
	for _, f := range x.Request.Header {
		if f.Name == "host" {
			r.Host = f.Value
		} else if f.Name != "content-length" {
			r.Header.Add(f.Name, f.Value)
		}
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return err
	}
	answer.Header.Del("Content-Length")
	x.Answered(uint32(answer.StatusCode), shown(answer.Header), body)
	return nil
}
