package cli_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/wasm/build"
	"github.com/gatewright/gatewright/wasm/filters"
)

func TestMain(m *testing.M) {
	build.Hook() // filter check compiles in a process of this same program
	os.Exit(m.Run())
}

// moduleFile writes a module, whole or up to a byte.
func moduleFile(t *testing.T, name string, cut int) string {
	t.Helper()
	module, ok := filters.Module("redact-secrets")
	if !ok {
		t.Fatal("there is no redact-secrets")
	}
	if cut > 0 {
		module = module[:cut]
	}
	return textFile(t, name, string(module))
}

func textFile(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// rejects runs a command that tells of stages and then fails.
func (h *house) rejects(t *testing.T, code int, want string, args ...string) {
	t.Helper()
	if o := h.run(t, args...); o.code != code || o.out != "" || !strings.Contains(o.errOut, want) || !strings.Contains(o.errOut, "\nhint: ") {
		t.Errorf("%q: %+v, want %d with %q and a hint", args, o, code, want)
	}
}

func TestAModuleIsCheckedOffline(t *testing.T) {
	h := newHouse(t)
	h.env = map[string]string{}
	left := func() int {
		all, err := filepath.Glob(filepath.Join(os.TempDir(), "gatewright-check-*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	before := left()
	whole := moduleFile(t, "Redact Secrets.wasm", 0)
	o := h.run(t, "filter", "check", whole)
	if o.code != 0 || !strings.Contains(o.out, " passes: gw, small class, ") || !strings.Contains(o.out, " no vectors, ") || !strings.Contains(o.errOut, "  crosscheck  ok ") || !strings.Contains(o.errOut, "--vectors") {
		t.Errorf("%+v", o)
	}
	vectors := textFile(t, "v.json", `{"vectors":[{"name":"a key","arguments":{"a":"AKIAIOSFODNN7EXAMPLE"},"want":{"verdict":"rewrite"}}]}`)
	if o := h.run(t, "filter", "check", whole, "--vectors", vectors, "--json"); o.code != 0 || !strings.Contains(o.out, `"vectors": 1`) {
		t.Errorf("%+v", o)
	}
	wrong := textFile(t, "w.json", `[{"name":"a key passes","arguments":{"a":"AKIAIOSFODNN7EXAMPLE"},"want":{"verdict":"pass"}}]`)
	h.rejects(t, 1, "rejected in stage selftest", "filter", "check", whole, "--vectors", wrong)
	h.rejects(t, 1, "at byte 4000 (0xfa0)", "filter", "check", moduleFile(t, "cut.wasm", 4000))
	h.rejects(t, 1, "4294967295 imports announced", "filter", "check", textFile(t, "bomb.wasm", "\x00asm\x01\x00\x00\x00\x02\x05\xff\xff\xff\xff\x0f"))
	for text, args := range map[string][]string{
		"is empty":         {textFile(t, "e.wasm", "")},
		"no such file":     {filepath.Join(t.TempDir(), "none.wasm")},
		"is not JSON":      {whole, "--config", textFile(t, "c.json", "{")},
		"holds no vectors": {whole, "--vectors", textFile(t, "n.json", "{}")},
		"is an archive":    {textFile(t, "b.tar.gz", "\x1f\x8b\x08")},
		"the limit is 16":  {textFile(t, "y.wasm", strings.Repeat("x", 17<<20))},
		"unknown field":    {whole, "--vectors", textFile(t, "u.json", `[{"nome":"x"}]`)},
		"hold a JSON obj":  {whole, "--config", textFile(t, "l.json", "[]")},
	} {
		h.rejects(t, 2, text, append([]string{"filter", "check"}, args...)...)
	}
	if n := left(); n != before {
		t.Errorf("%d folders are left", n-before)
	}
}

const filterRow = `{"name":"f","enforced":{"version":2,"tools":["read*"],"direction":"response","stats":{"calls":6,"passed":3,"denied":2,"rewritten":0,"traps":{"fuel":1},"microseconds":2.5,"most_fuel":900,"instances":2,"broken":true,"last_trap":"filter f: fuel"}},
"versions":[{"number":2,"state":"active","digest":"sha256:0202020202020202","size":99,"dialect":"gw","memory":65536,"fuel":7,"vectors":3,"by":"usr_1","created":"2026-01-01T00:00:00Z"},{"number":1,"state":"idle","digest":"sha256:01","created":"2026-01-01T00:00:00Z"}]}`

func TestFiltersAreLookedAfterOverTheControlPort(t *testing.T) {
	h := newHouse(t)
	var seen []string
	steps := `{"step":{"stage":"scan","ok":true,"microseconds":120,"detail":"99 bytes"}}` + "\n"
	end := `{"version":{"number":3,"state":"idle","digest":"sha256:03","created":"2026-01-01T00:00:00Z"}}` + "\n"
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		switch path := strings.TrimPrefix(r.URL.Path, "/api/v1/filters"); {
		case path == "":
			answer(w, 200, `{"items":[`+filterRow+`,{"name":"g","enforced":{"version":1,"direction":"both","stats":{"calls":1,"passed":1,"microseconds":0},"position":2},"versions":[{"number":1,"digest":"sha256:09"}]}]}`)
		case path == "/f" && r.Method == "GET":
			answer(w, 200, filterRow)
		case strings.HasPrefix(path, "/none"), strings.Contains(path, "/9/"):
			answer(w, 404, `{"code":"not_found","detail":"there is no such filter","hint":"h","record":"rec_1"}`)
		case strings.HasSuffix(path, "/push"):
			_, _ = io.WriteString(w, steps+end)
		case strings.HasSuffix(path, "/logs"):
			answer(w, 200, `{"items":[{"number":1,"time":"2026-01-01T00:00:00Z","level":"warn","version":2,"text":"a\u001b[31mb"}]}`)
		case strings.HasSuffix(r.URL.Path, "filter-rejections"):
			answer(w, 200, `{"items":[{"name":"bad","number":0,"state":"rejected","size":15,"digest":"sha256:05","created":"2026-01-01T00:00:00Z","rejection":{"stage":"scan","reason":"no","offset":10,"hint":"change it"}}]}`)
		case r.Method == "DELETE":
			answer(w, 200, `{"name":"f","version":1,"deleted":true,"digest":"sha256:01","revisions":[4],"warnings":["revision 4 cannot"]}`)
		case strings.HasSuffix(path, "/shadow"):
			answer(w, 200, `{"name":"f","version":1,"mode":"shadow","revision":8,"before":{"enforced":2},"after":{"enforced":2,"shadow":1}}`)
		case strings.HasSuffix(path, "/remove"):
			answer(w, 200, `{"name":"f","revision":9,"before":{"enforced":2},"after":{},"rollback":2}`)
		default:
			answer(w, 200, `{"name":"f","version":2,"mode":"enforce","revision":7,"before":{"enforced":1},"after":{"enforced":2},"rollback":1}`)
		}
	})
	file := textFile(t, "m.wasm", "\x00asm")
	config := textFile(t, "c.json", `{"a":1}`)
	vectors := textFile(t, "v.json", `{"vectors":[{"name":"v"}]}`)
	for _, c := range []struct {
		args      []string
		out, sent string
		code      int
	}{
		{[]string{"push", "f", file, "--config", config, "--vectors", vectors}, "f version 3 idle, digest sha256:03\n", `POST /api/v1/filters/f/push {"module":"` + base64.StdEncoding.EncodeToString([]byte("\x00asm")) + `","config":{"a":1},"vectors":[{"name":"v"}]}`, 0},
		{[]string{"activate", "f"}, "in force: f@v1 -> f@v2, revision 7 of the policies\n", `POST /api/v1/filters/f/versions/2/activate {}`, 0},
		{[]string{"activate", "f", "1", "--server", "a", "--server", "b*", "--tool", "t", "--direction", "request", "--position", "2", "--config", config}, "", `POST /api/v1/filters/f/versions/1/activate {"servers":["a","b*"],"tools":["t"],"direction":"request","config":{"a":1},"position":2}`, 0},
		{[]string{"shadow", "f", "1"}, "in force: f@v2 as before; in shadow: f@v1, revision 8 of the policies\n", `POST /api/v1/filters/f/versions/1/shadow {}`, 0},
		{[]string{"rollback", "f"}, "in force: f@v1 -> f@v2, revision 7 of the policies\n", "POST /api/v1/filters/f/rollback", 0},
		{[]string{"remove", "f"}, "taken out of force: f (it was version 2), revision 9 of the policies\n", "POST /api/v1/filters/f/remove", 0},
		{[]string{"delete", "f", "1", "--json"}, "{\n  \"name\": \"f\",\n  \"version\": 1,\n  \"deleted\": true,\n  \"digest\": \"sha256:01\",\n  \"revisions\": [\n    4\n  ],\n  \"warnings\": [\n    \"revision 4 cannot\"\n  ]\n}\n", "DELETE /api/v1/filters/f/versions/1", 0},
		{[]string{"delete", "f", "1"}, "f version 1 deleted\n", "DELETE /api/v1/filters/f/versions/1", 0},
		{[]string{"logs", "f", "-n", "5"}, "2026-01-01T00:00:00.000Z warn  v2 a[31mb\n", "GET /api/v1/filters/f/logs?lines=5", 0},
		{[]string{"list"}, "NAME  IN FORCE  SHADOW  VERSIONS  CALLS  DENIED  REWRITTEN  TRAPS  US/CALL  STATE\nf     2         -       2         6      2       0          1      2.5      BROKEN: its calls are refused\ng     1         -       1         1      0       0          0      -        active\n", "GET /api/v1/filters", 0},
		{[]string{"list", "--manifest"}, `{
  "filters": [
    {
      "name": "f",
      "digest": "sha256:0202020202020202",
      "mode": "enforce",
      "tools": [
        "read*"
      ],
      "direction": "response"
    },
    {
      "name": "g",
      "digest": "sha256:09",
      "mode": "enforce",
      "direction": "both"
    }
  ]
}
`, "GET /api/v1/filters", 0},
		{[]string{"list", "--rejected"}, "2026-01-01T00:00:00Z bad by -, 15 bytes, sha256:05: rejected in stage scan at byte 10: no (change it)\n", "GET /api/v1/filter-rejections", 0},
		{[]string{"logs", "f", "-n", "0"}, "", "", 2},
		{[]string{"activate", "f", "--direction", "up"}, "", "", 2},
		{[]string{"activate", "f", "--config", textFile(t, "l.json", "[1]")}, "", "", 2},
		{[]string{"activate", "none"}, "", "", 1},
		{[]string{"activate", "f", "9"}, "", "", 1},
		{[]string{"push", "f", filepath.Join(t.TempDir(), "none")}, "", "", 2},
	} {
		seen = nil
		o := h.run(t, append([]string{"filter"}, c.args...)...)
		if o.code != c.code || c.out != "" && o.out != c.out || c.code != 0 && !strings.Contains(o.errOut, "hint: ") {
			t.Errorf("%v: %+v", c.args, o)
		}
		if c.sent != "" && (len(seen) == 0 || seen[len(seen)-1] != c.sent) {
			t.Errorf("%v sent %q, want %q", c.args, seen, c.sent)
		}
	}
	seen = nil
	for _, args := range [][]string{{"push", "BAD_!", file}, {"push", "..", file}, {"list", "BAD_!"}, {"shadow", "Guard"}, {"activate", "a/b"}, {"rollback", "BAD_!"}, {"remove", "é"}, {"delete", "a b", "1"}, {"logs", "BAD_!"}} {
		h.rejects(t, 2, "want 1 to 64 of a-z, 0-9, '.', '_' and '-'", append([]string{"filter"}, args...)...)
	}
	if seen != nil {
		t.Errorf("a name that cannot be was sent: %q", seen)
	}
	if o := h.run(t, "filter", "delete", "f", "1"); o.errOut != "warning: revision 4 cannot\n" {
		t.Errorf("%+v", o)
	}
	h.rejects(t, 2, `hint: write --direction request, response or both`, "filter", "activate", "f", "--direction", "sideways")
	h.rejects(t, 2, `hint: the file holds an object, such as {"tables"`, "filter", "shadow", "f", "--config", textFile(t, "l.json", "[1]"))
	if o := h.run(t, "filter", "list", "f"); !strings.Contains(o.out, "version 2 in force: answers of read*\n") || !strings.Contains(o.out, "trap fuel: 1\n") || !strings.Contains(o.out, "BROKEN") || strings.Count(o.out, "\n") != 7 {
		t.Errorf("%s", o.out)
	}
	for last, want := range map[string]string{
		`{"rejection":{"stage":"meter","reason":"SIMD","offset":77,"hint":"leave it out"}}`:               "rejected in stage meter at byte 77 (0x4d): SIMD",
		`{"refused":{"code":"limit_reached","detail":"32 of 32","hint":"delete one","status":409}}`:       "limit_reached: 32 of 32",
		`{"refused":{"code":"busy","detail":"32 modules wait","hint":"h","status":503,"retry_after":10}}`: "busy: 32 modules wait\nhint: try again in 10 seconds: h",
		"": "broke off",
	} {
		code := 1
		if end = last + "\n"; last == "" {
			end, code = "", 3
		}
		h.rejects(t, code, want, "filter", "push", "f", file)
	}
}
