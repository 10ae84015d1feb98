package proxy_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/proxy"
)

// servesStreams is set in the environment of the process whose memory BenchmarkIdleStreams measures: "plain" or "TLS".
const servesStreams = "GATEWRIGHT_TEST_STREAMS"

// TestServesStreams is that process. It serves until its standard input ends.
func TestServesStreams(t *testing.T) {
	how := os.Getenv(servesStreams)
	if how == "" {
		t.Skip("only in the process that BenchmarkIdleStreams starts")
	}
	h := moor(t, how == "TLS", with(func(c *proxy.Config) { c.MaxHeader = 16 << 10 }), func(x *proxy.Exchange) {
		if x.Path == "/r/stats" {
			x.JSON(200, fmt.Append(nil, memory()))
			return
		}
		x.Run(func(ctx context.Context, _ *proxy.Exchange, s *proxy.Stream) {
			held := x.Path == "/r/idle"
			if s.Open("") != nil || s.Event("", []byte("hello")) != nil {
				return
			}
			if held {
				_ = s.Hold(nil)
				return
			}
			<-ctx.Done()
		})
	})
	fmt.Println("serves", h.addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// memory gives the goroutines and the resident KiB of this process, once it has given back what it can.
func memory() string {
	for range 4 { // each collection halves stacks that have become too large
		runtime.GC()
	}
	debug.FreeOSMemory()
	b, _ := os.ReadFile("/proc/self/statm")
	var size, resident int
	_, _ = fmt.Sscan(string(b), &size, &resident)
	return fmt.Sprintf("[%d,%d]", runtime.NumGoroutine(), resident*os.Getpagesize()/1024)
}

// BenchmarkIdleStreams is what 2,000 streams cost a process of their own: goroutines and resident KiB for each, on Hold and
// with their work under way, and how long it takes until all is as before when their clients have gone. Run it with -benchtime 1x.
func BenchmarkIdleStreams(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("reads /proc")
	}
	const n = 2000
	for _, how := range []string{"plain", "TLS"} {
		for _, path := range []string{"idle", "working"} {
			b.Run(how+"/"+path, func(b *testing.B) {
				for b.Loop() {
					measure(b, how, path, n)
				}
			})
		}
	}
}

func measure(b *testing.B, how, path string, n int) {
	b.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestServesStreams$") //nolint:gosec // this very binary
	cmd.Env = append(os.Environ(), servesStreams+"="+how)
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = cmd.Wait() }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	h := &harbour{t: b, addr: strings.TrimSpace(strings.TrimPrefix(line, "serves ")), tls: how == "TLS"}
	stats := func() (goroutines, resident int) {
		c := h.dial()
		defer c.Close()
		c.say(b, "GET /r/stats HTTP/1.1\r\n"+host+"Connection: close\r\n\r\n")
		_, body := c.response(b)
		_, _ = fmt.Sscanf(body, "[%d,%d]", &goroutines, &resident)
		return goroutines, resident
	}
	stats()
	g0, r0 := stats()
	var all []*client
	for range n {
		c := h.dial()
		c.say(b, strings.Replace(ask("", 1500), "/r ", "/r/"+path+" ", 1))
		c.until(b, "hello\n\n\r\n")
		all = append(all, c)
	}
	time.Sleep(500 * time.Millisecond)
	g1, r1 := stats()
	for _, c := range all {
		_ = c.raw.Close()
	}
	at := time.Now()
	g2, r2 := stats()
	for g2 > g0+5 && time.Since(at) < patience {
		time.Sleep(10 * time.Millisecond)
		g2, r2 = stats()
	}
	b.ReportMetric(float64(g1-g0)/float64(n), "goroutines/stream")
	b.ReportMetric(float64(r1-r0)/float64(n), "KiB/stream")
	b.ReportMetric(float64(time.Since(at).Milliseconds()), "ms_to_base")
	b.ReportMetric(float64(g2-g0), "goroutines_left")
	b.ReportMetric(float64(r2-r0), "KiB_left")
	b.ReportMetric(0, "ns/op")
}

// BenchmarkAnswer is a call that may become a stream and does not, over one that may not: what being ready for it costs.
func BenchmarkAnswer(b *testing.B) {
	route := func(x *proxy.Exchange) {
		x.Run(func(_ context.Context, x *proxy.Exchange, _ *proxy.Stream) { x.JSON(200, []byte(`{}`)) })
	}
	for name, header := range map[string]string{"in one piece": "", "perhaps a stream": accept} {
		b.Run(name, func(b *testing.B) {
			h := moor(b, false, flowing, route)
			c := h.dial()
			request := "POST /r HTTP/1.1\r\n" + host + header + "Content-Length: 2\r\n\r\n{}"
			b.ReportAllocs()
			for b.Loop() {
				c.say(b, request)
				c.until(b, "\r\n\r\n{}")
			}
			_ = c.Close()
		})
	}
}

// BenchmarkStream is a short stream on a connection that is kept.
func BenchmarkStream(b *testing.B) {
	h := moor(b, false, flowing, func(x *proxy.Exchange) {
		x.Run(func(ctx context.Context, _ *proxy.Exchange, s *proxy.Stream) { _ = three(ctx, x, s) })
	})
	c := h.dial()
	request := ask("", 10)
	b.ReportAllocs()
	for b.Loop() {
		c.say(b, request)
		c.until(b, "0\r\n\r\n")
	}
	_ = c.Close()
}
