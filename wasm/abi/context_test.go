package abi_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/wasm/abi"
)

// sample is a context with every member set.
func sample() *abi.Context {
	return &abi.Context{
		Tenant: "org_1", Agent: "agt_1", User: "usr_1", Op: "tools/call", Server: "files", Tool: "read", Now: 1700000000000,
		Plan: abi.Plan{ID: "pln_1", Step: 3, In: true}, Labels: []string{"a", "secret:key"}, Body: []byte(`{"path":"/etc/motd"}`),
	}
}

const sampleHead = `{"abi":1,"phase":"request","tenant":"org_1","agent":"agt_1","user":"usr_1","op":"tools/call","server":"files",` +
	`"tool":"read","now":1700000000000,"plan":{"id":"pln_1","step":3},"labels":["a","secret:key"],"arguments":`

func TestJSON(t *testing.T) {
	c := sample()
	if got, want := string(c.JSON()), sampleHead+`{"path":"/etc/motd"}}`; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	c.Phase, c.Plan, c.Labels, c.Body = abi.Response, abi.Plan{ID: "ignored", Step: 7}, nil, nil
	want := strings.NewReplacer("request", "response", `{"id":"pln_1","step":3}`, "null", `["a","secret:key"]`, "[]", "arguments", "result").Replace(sampleHead) + "{}}"
	if got := string(c.JSON()); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	c.Tenant, c.Phase = "\"\\\n\u2028é\x00", abi.Chunk
	var m struct{ Tenant, Phase string }
	if err := json.Unmarshal(c.JSON(), &m); err != nil || m.Tenant != c.Tenant || m.Phase != "chunk" || canon.Check(c.JSON(), canon.DefaultLimits()) != nil {
		t.Errorf("%v %q", err, m)
	}
}

// view is a flat context as a guest reads it, by nothing but the numbers that the README names.
type view struct {
	b []byte
}

func (v view) u32(at int) int { return int(binary.LittleEndian.Uint32(v.b[at:])) }

func (v view) text(at int) string {
	from, n := v.u32(at), v.u32(at+4)
	return string(v.b[from : from+n])
}

func (v view) labels() (all []string) {
	for i := range v.u32(92) {
		all = append(all, v.text(v.u32(88)+8*i))
	}
	return all
}

// leaf is an entry of the table of leaves.
type leaf struct {
	text, raw   string
	key         int
	kind, depth int
}

func (v view) leaves() (all []leaf) {
	for i := range v.u32(108) {
		at := v.u32(104) + 24*i
		all = append(all, leaf{v.text(at), v.text(at + 8), int(int32(v.u32(at + 16))), int(v.b[at+20]), v.u32(at+20) >> 16})
	}
	return all
}

// back is the context that a flat one says.
func (v view) back() abi.Context {
	bits := v.u32(12)
	return abi.Context{
		Tenant: v.text(32), Agent: v.text(40), User: v.text(48), Op: v.text(56), Server: v.text(64), Tool: v.text(72),
		Now: int64(binary.LittleEndian.Uint64(v.b[16:])), Plan: abi.Plan{ID: v.text(80), Step: v.u32(24), In: bits&1 != 0},
		Phase: abi.Phase(v.u32(4) - 1), Flags: abi.Flags(bits >> 1 & 3), Labels: v.labels(), Body: []byte(v.text(96)),
	}
}

// TestFlat reads each field by its place.
func TestFlat(t *testing.T) {
	c := sample()
	c.Phase, c.Flags = abi.Chunk, abi.Last
	v := view{c.Flat()}
	for _, n := range []struct{ at, want int }{{0, 1}, {4, 3}, {8, len(v.b)}, {12, 1 | 4}, {24, 3}, {28, 128}, {92, 2}, {104, 0}, {108, 0}} {
		if got := v.u32(n.at); got != n.want {
			t.Errorf("at %d: %d, want %d", n.at, got, n.want)
		}
	}
	if !bytes.Equal(v.b[112:128], make([]byte, 16)) {
		t.Errorf("the header ends with %x", v.b[112:128])
	}
	c.Phase = abi.Request // which has no chunks
	if bits := (view{c.Flat()}).u32(12); bits != 1 {
		t.Errorf("bits of a request: %b", bits)
	}
	c.Phase = abi.Chunk
	v = view{c.Flat()}
	got := v.back()
	if string(got.JSON()) != string(c.JSON()) {
		t.Errorf("%s\nwant %s", got.JSON(), c.JSON())
	}
	empty := view{(&abi.Context{}).Flat()}
	if empty.text(96) != "{}" || empty.u32(4) != 1 || empty.u32(12) != 0 || len(empty.labels()) != 0 || empty.u32(8) != len(empty.b) {
		t.Errorf("%x", empty.b)
	}
}

// TestEveryChangeIsSeen: what is kept of one encoding must not outlive what it says.
func TestEveryChangeIsSeen(t *testing.T) {
	kept := sample()
	for i, change := range []func(*abi.Context){
		func(*abi.Context) {},
		func(c *abi.Context) { c.Tenant = "t" }, func(c *abi.Context) { c.Agent = "t" }, func(c *abi.Context) { c.User = "t" },
		func(c *abi.Context) { c.Op = "t" }, func(c *abi.Context) { c.Server = "t" }, func(c *abi.Context) { c.Tool = "t" },
		func(c *abi.Context) { c.Tenant = "tenant" }, func(c *abi.Context) { c.Tenant = c.Tenant[:4] },
		func(c *abi.Context) { c.Now++ }, func(c *abi.Context) { c.Plan.Step++ }, func(c *abi.Context) { c.Plan.ID = "p" },
		func(c *abi.Context) { c.Plan.In = false }, func(c *abi.Context) { c.Phase = abi.Response }, func(c *abi.Context) { c.Flags = abi.First },
		func(c *abi.Context) { c.Labels = []string{"a"} }, func(c *abi.Context) { c.Labels[0] = "changed:in-place" },
		func(c *abi.Context) { c.Labels = append(c.Labels, "more") }, func(c *abi.Context) { c.Labels = nil },
		func(c *abi.Context) { c.Body = []byte(`{"a":"b"}`) }, func(c *abi.Context) { c.Body = []byte(`{"a":"\u0062\u0063"}`) },
		func(c *abi.Context) { c.Body = []byte(`{"a":"\u0064\u0065"}`) },
		func(c *abi.Context) { c.Body = c.Body[:0] }, func(c *abi.Context) { c.Body = nil }, func(c *abi.Context) { c.Body = []byte(`{"n":[1,2]}`) },
		func(c *abi.Context) { c.Labels = []string{"x", "y", "z"} },
	} {
		change(kept)
		fresh := &abi.Context{
			Tenant: kept.Tenant, Agent: kept.Agent, User: kept.User, Op: kept.Op, Server: kept.Server, Tool: kept.Tool, Now: kept.Now,
			Plan: kept.Plan, Phase: kept.Phase, Flags: kept.Flags, Labels: slices.Clone(kept.Labels), Body: bytes.Clone(kept.Body),
		}
		for _, f := range []abi.Form{abi.FormJSON, abi.FormFlat, abi.FormLeaves} {
			if got, want := put(t, kept, f), put(t, fresh, f); !bytes.Equal(got, want) {
				t.Errorf("change %d, form %d:\n%q\n%q", i, f, got, want)
			}
		}
	}
	kept.Reset()
	if !bytes.Equal(kept.JSON(), (&abi.Context{}).JSON()) || !bytes.Equal(kept.Flat(), (&abi.Context{}).Flat()) {
		t.Errorf("%s is left", kept.JSON())
	}
}

// put writes to memory that is not clean.
func put(tb testing.TB, c *abi.Context, f abi.Form) []byte {
	tb.Helper()
	n := c.Size(f)
	if n > 1<<26 {
		return nil
	}
	b := bytes.Repeat([]byte{0xaa}, n+8)
	if wrote := c.Put(f, b); wrote != n || !bytes.Equal(b[n:], bytes.Repeat([]byte{0xaa}, 8)) {
		tb.Fatalf("form %d: %d bytes said, %d written, then %x", f, n, wrote, b[n:])
	}
	return b[:n]
}

func TestLeaves(t *testing.T) {
	c := sample()
	c.Body = []byte(` {"a" : "b\u00e9\n" ,"n":[-1.5e3,true,{"\u006b":false},[null]], "é":"é","e":{},"d":""}`)
	got := view{put(t, c, abi.FormLeaves)}
	want := []leaf{
		{"a", `"a"`, -1, 1, 1}, {"bé\n", `"b\u00e9\n"`, 0, 2, 1}, {"n", `"n"`, -1, 1, 1}, {"-1.5e3", "-1.5e3", 2, 3, 2}, {"true", "true", 2, 4, 2},
		{"k", `"\u006b"`, 2, 1, 3}, {"false", "false", 5, 5, 3}, {"null", "null", 2, 6, 3}, {"é", `"é"`, -1, 1, 1}, {"é", `"é"`, 8, 2, 1},
		{"e", `"e"`, -1, 1, 1}, {"d", `"d"`, -1, 1, 1}, {"", `""`, 11, 2, 1},
	}
	if have := got.leaves(); !reflect.DeepEqual(have, want) {
		t.Errorf("%+v\nwant %+v", have, want)
	}
	if got.u32(12)&8 == 0 || got.text(96) != string(c.Body) || !slices.Equal(got.labels(), c.Labels) {
		t.Errorf("%x", got.b)
	}
	for _, body := range []string{``, ` `, `{`, `}`, `"a"`, `{"a`, `{"a":"\u12`, `{"a":1}}`, `1`, `{{`, `[}`, "{\"a\":\"\\"} {
		c.Body = []byte(body)
		if put(t, c, abi.FormLeaves) != nil && strings.Trim(body, " ") != "" {
			t.Errorf("%q has leaves", body)
		}
	}
	c.Body = []byte(`{"a":[` + strings.Repeat(`1,`, 800_000) + `1]}`)
	if c.Size(abi.FormLeaves) < 1<<30 {
		t.Error("a table beyond all bounds is written")
	}
}

// TestNothingIsAllocated once a context has been used.
func TestNothingIsAllocated(t *testing.T) {
	c, dst := sample(), make([]byte, 4096)
	bodies := [][]byte{[]byte(`{"a":"\n","b":[1,2,3]}`), []byte(`{"a":"x\ty"}`)}
	labels := [][]string{nil, {"one", "two"}}
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		i++
		c.Reset()
		c.Tenant, c.Tool, c.Now, c.Body = "org_2", "write", int64(i), bodies[i%2]
		for j := range 3 {
			c.Labels = labels[j%2]
			for _, f := range []abi.Form{abi.FormJSON, abi.FormFlat, abi.FormLeaves} {
				if c.Put(f, dst[:c.Size(f)]) != c.Size(f) {
					t.Fatal("another size")
				}
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzFlatContext: every form says the same, and no place in the flat ones lies outside.
func FuzzFlatContext(f *testing.F) {
	f.Add("org_1", "agt", "usr", "tools/call", "files", "read", "pln", int64(1700000000000), uint32(3), byte(0x15), "a,secret:key", []byte(`{"a":["\u00e9",1,{}]}`))
	f.Add("\xff", "\x00", "é", "", "\"", "\\", "\u2028", int64(-1), uint32(1<<31), byte(0xff), ",", []byte(`{"a":"`))
	f.Fuzz(func(t *testing.T, tenant, agent, user, op, server, tool, plan string, now int64, step uint32, bits byte, labels string, body []byte) {
		c := &abi.Context{
			Tenant: tenant, Agent: agent, User: user, Op: op, Server: server, Tool: tool, Now: now, Phase: abi.Phase(bits >> 2 % 3), Body: body,
		}
		if c.Phase == abi.Chunk {
			c.Flags = abi.Flags(bits & 3)
		}
		if bits&128 != 0 {
			c.Plan = abi.Plan{ID: plan, Step: int(step), In: true}
		}
		if labels != "" {
			c.Labels = strings.Split(labels, ",")
		}
		for _, form := range []abi.Form{abi.FormFlat, abi.FormLeaves} {
			b := put(t, c, form)
			if b == nil {
				continue // leaves of what is no JSON
			}
			back := view{b}.back()
			if got, want := fmt.Sprintf("%+q", members(&back)), fmt.Sprintf("%+q", members(c)); got != want {
				t.Fatalf("form %d:\n%s\n%s", form, got, want)
			}
			for _, l := range (view{b}).leaves() { // reading them is the test
				if l.kind < 1 || l.kind > 6 || l.key >= len(view{b}.leaves()) {
					t.Fatalf("%+v", l)
				}
			}
			if !bytes.Equal(c.JSON(), back.JSON()) {
				t.Fatalf("%q\n%q", c.JSON(), back.JSON())
			}
		}
		if checked := canon.Check(body, canon.DefaultLimits()) == nil && canon.KindOf(body) == '{'; checked {
			sameLeaves(t, body, view{put(t, c, abi.FormLeaves)}.leaves())
		}
	})
}

func members(c *abi.Context) []any {
	body := c.Body
	if body == nil {
		body = []byte("{}")
	}
	return []any{c.Tenant, c.Agent, c.User, c.Op, c.Server, c.Tool, c.Now, c.Plan, c.Phase, c.Flags, len(c.Labels), c.Labels, body}
}

// sameLeaves walks the body as encoding/json reads it.
func sameLeaves(t *testing.T, body []byte, got []leaf) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	var want []string
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		if _, ok := token.(json.Delim); ok {
			continue
		}
		if token == nil {
			token = "null"
		}
		want = append(want, fmt.Sprint(token))
	}
	var have []string
	for _, l := range got {
		have = append(have, l.text)
	}
	if !slices.Equal(have, want) {
		t.Fatalf("%q\nleaves %q\nwant   %q", body, have, want)
	}
}
