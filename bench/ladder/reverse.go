package ladder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
	"time"

	"github.com/gatewright/gatewright/bench/rig"
	"github.com/gatewright/gatewright/bench/task"
)

// buffers is a pool of copy buffers for httputil.ReverseProxy.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, 32<<10)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }

// serveReverse is the standard library's reverse proxy with nothing in it, tuned as its documentation allows.
func serveReverse(_ context.Context, settings json.RawMessage) (rig.Serving, error) {
	var s task.Plain
	if err := json.Unmarshal(settings, &s); err != nil {
		return rig.Serving{}, fmt.Errorf("read settings: %w", err)
	}
	target := &url.URL{Scheme: "http", Host: s.Upstream}
	proxy := &httputil.ReverseProxy{
		Rewrite:    func(r *httputil.ProxyRequest) { r.SetURL(target) },
		BufferPool: &buffers{},
		Transport: &http.Transport{
			MaxIdleConns: task.UpstreamConns, MaxIdleConnsPerHost: task.UpstreamConns, IdleConnTimeout: time.Hour,
			DisableCompression: true, WriteBufferSize: 8 << 10, ReadBufferSize: 8 << 10,
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return rig.Serving{}, fmt.Errorf("open a port: %w", err)
	}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = srv.Serve(ln) }() // ends with Close
	return rig.Serving{Addr: ln.Addr().String(), Stop: func() error {
		if err := srv.Close(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}}, nil
}
