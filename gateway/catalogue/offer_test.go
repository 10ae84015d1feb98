package catalogue_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/gatewright/gatewright/gateway/catalogue"
	"github.com/gatewright/gatewright/store/storetest"
)

func TestWhatAServerOffersBesideToolsStaysUntilItSaysOtherwise(t *testing.T) {
	l := &lister{more: map[string][]string{
		"s prompts/list":   {`{"name":"p"}`, `{"name":"p2","arguments":[{"name":""}]}`, `7`},
		"s resources/list": {`{"uri":"a:1","name":"1"}`},
	}}
	l.set("s", tool("x"))
	c := open(t, storetest.NewMemory(), l, nil)
	add(t, c, "acme", server("s"))
	if _, has := c.Prompts("acme", "s"); has {
		t.Error("prompts before anybody asked")
	}
	changes := 0
	c.OnChange(func(string) { changes++ })
	refresh := func() error { return c.Refresh(t.Context(), "acme", "s") }
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	shown := func() string {
		p, hasP := c.Prompts("acme", "s")
		r, hasR := c.Resources("acme", "s", false)
		tools, hasT := c.Resources("acme", "s", true)
		return fmt.Sprintln(len(p), hasP, len(r), hasR, len(tools), hasT, len(c.Tools("acme", "s")), len(c.Defs("acme")))
	}
	if got := shown(); got != fmt.Sprintln(1, true, 1, true, 0, true, 1, 2) {
		t.Errorf("offered: %s", got)
	}
	if h, _ := c.Health("acme", "s"); h.Skipped != 2 {
		t.Errorf("skipped %d", h.Skipped)
	}
	if _, ok := c.Find("rival", catalogue.ReadResource, "s", "a:1"); ok {
		t.Error("another tenant finds it")
	}
	if err := refresh(); err != nil || changes != 1 {
		t.Errorf("the same again: %v, %d changes", err, changes)
	}

	l.mu.Lock()
	l.more["s prompts/list"] = append(l.more["s prompts/list"], make([]string, 1001)...)
	l.mu.Unlock()
	before := shown()
	if err := refresh(); err != nil || shown() != before {
		t.Errorf("too many: %v, %s", err, shown())
	}
	if h, _ := c.Health("acme", "s"); h.Failures != 0 || h.Err == "" {
		t.Errorf("nobody is told: %+v", h)
	}

	l.mu.Lock()
	delete(l.more, "s prompts/list")
	delete(l.more, "s resources/list")
	l.mu.Unlock()
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != fmt.Sprintln(0, false, 0, false, 0, false, 1, 1) {
		t.Errorf("withdrawn: %s", got)
	}
	l.mu.Lock()
	l.err = errors.New("gone")
	l.mu.Unlock()
	if err := refresh(); err == nil || len(c.Tools("acme", "s")) != 1 {
		t.Errorf("a failing server: %v", err)
	}
}
