package main

import (
	"encoding/json"
	"math"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/plugins/connector"
	"github.com/gatewright/gatewright/plugins/connector/connectortest"
)

// TestConnector builds the program and checks it under the gateway's runtime.
func TestConnector(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "units")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	connectortest.Run(t, connectortest.Candidate{
		Path: program, Args: []string{"-state", filepath.Join(dir, "counts.json")},
		Example: connectortest.Example{Tool: "convert", Arguments: `{"value":1,"from":"mi","to":"km"}`, Want: "1.609344"},
	})
	kept, err := openCounts(filepath.Join(dir, "counts.json"))
	if err != nil || kept.all()["mi to km"] == 0 {
		t.Errorf("the counts kept are %v, %v", kept, err)
	}
}

func TestConversions(t *testing.T) {
	for _, c := range []struct {
		value    float64
		from, to string
		want     float64
	}{{1, "mi", "m", 1609.344}, {16, "oz", "lb", 1}, {100, "°C", "°F", 212}, {0, "K", "°C", -273.15}, {90, "min", "h", 1.5}} {
		if got := units[c.from].to(units[c.to], c.value); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v %s is %v %s, want %v", c.value, c.from, got, c.to, c.want)
		}
	}
}

func TestWhatCannotBeConverted(t *testing.T) {
	c, err := openCounts("")
	if err != nil {
		t.Fatal(err)
	}
	server, err := connector.Tools(convert(c))
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		`{"value":1,"from":"kg","to":"m"}`:             "kg is a mass and m a length",
		`{"value":1,"from":"parsec","to":"m"}`:         "unknown unit",
		`{"value":1e308,"from":"mi","to":"mm"}`:        "too large",
		`{"value":"one","from":"kg","to":"g"}`:         "not value",
		`{"value":1,"from":"kg","to":"g\u0000\u0001"}`: "unknown unit",
	} {
		reply, err := server.Call(t.Context(), &connector.Request{Method: "tools/call", Name: "convert", Arguments: []byte(args)})
		var result struct{ IsError bool }
		if err != nil || json.Unmarshal(reply.Result, &result) != nil || !result.IsError || !strings.Contains(string(reply.Result), want) {
			t.Errorf("%s gives %s, %v", args, reply.Result, err)
		}
	}
	if n := c.all(); len(n) != 0 {
		t.Errorf("counted %v", n)
	}
}
