package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// pinned serves one server with three tools: one that changed, one with a finding, one that is approved.
func pinned(t *testing.T, h *house, sent *[]string) (digest func(c string) string) {
	t.Helper()
	digest = func(c string) string { return strings.Repeat(c, 64) }
	list := map[string]string{
		"read":   `"state":"changed","listed":true,"digest":"` + digest("b") + `","approved":"` + digest("a") + `","findings":[]`,
		"send":   `"state":"new","listed":true,"digest":"` + digest("c") + `","findings":["description holds U+202E"]`,
		"ls":     `"state":"approved","listed":true,"digest":"` + digest("d") + `","approved":"` + digest("d") + `","findings":[]`,
		"single": `"state":"rejected","listed":true,"digest":"` + digest("e") + `","findings":[]`,
	}
	h.control.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost {
			*sent = append(*sent, strings.TrimPrefix(r.URL.Path, "/api/v1/servers/files/pins/")+" "+string(b))
		}
		one := func(name string) string { return `{"server":"files","tool":"` + name + `",` + list[name] }
		tool, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/v1/servers/files/pins/"), "/")
		switch {
		case r.URL.Path == "/api/v1/servers":
			answer(w, 200, `{"items":[{"name":"files"}]}`)
		case r.URL.Path == "/api/v1/servers/files/pins":
			answer(w, 200, `{"items":[`+one("ls")+`},`+one("read")+`},`+one("send")+`}]}`)
		case list[tool] == "":
			answer(w, 404, `{"code":"not_found","detail":"there is no such thing in this organisation","record":"rec_1"}`)
		default:
			kept := fmt.Sprintf(`["%s","%s"]`, digest("a"), digest("9"))
			if tool == "single" {
				kept = `[]`
			}
			answer(w, 200, one(tool)+`,"differences":[{"member":"description","change":"changed","text":"- reads\n+ re\u001b[31mads \\u{202e}\n"}],"kept":`+kept+
				`,"history":[{"time":"2026-01-01T00:00:00Z","action":"approve","user":"usr_1","to":"`+digest("a")+`","reason":"fine"}]}`)
		}
	})
	return digest
}

func TestPinsAreShownAsTheyAre(t *testing.T) {
	h := newHouse(t)
	var sent []string
	digest := pinned(t, h, &sent)
	table := "TOOL        STATE    DIGEST            APPROVED          FINDINGS\n" +
		"files/read  changed  bbbbbbbbbbbbbbbb  aaaaaaaaaaaaaaaa  -\n" +
		"files/send  new      cccccccccccccccc  -                 description holds U+202E\n"
	for _, args := range [][]string{{"connector", "pins"}, {"connector", "pins", "files"}} {
		if o := h.run(t, args...); o.code != 0 || o.out != table {
			t.Errorf("%q: %+v", args, o)
		}
	}
	if o := h.run(t, "connector", "pins", "--all"); o.code != 0 || !strings.Contains(o.out, "files/ls ") {
		t.Errorf("all: %+v", o)
	}
	want := "tool      files/read\nstate     changed\ndigest    " + digest("b") + "\napproved  " + digest("a") +
		"\ndecision  2026-01-01T00:00:00Z approve to aaaaaaaaaaaaaaaa from - by usr_1: fine\nkept      " + digest("a") + "\nkept      " + digest("9") +
		"\n\ndescription changed\n- reads\n+ re\\u001b[31mads \\u{202e}\n"
	if o := h.run(t, "connector", "diff", "files/read"); o.code != 0 || o.out != want {
		t.Errorf("got\n%s\nwant\n%s", o.out, want)
	}
	for _, args := range [][]string{{"pins", "--json"}, {"diff", "files/read", "--json"}, {"diff", "files/read", "--json", "--against", "99999999"}} {
		if o := h.run(t, append([]string{"connector"}, args...)...); o.code != 0 || !json.Valid([]byte(o.out)) {
			t.Errorf("%q: %+v", args, o)
		}
	}
	h.fails(t, 1, "not_found", "connector", "diff", "files/none")
	h.fails(t, 2, "not SERVER/TOOL", "connector", "diff", "files")
	if len(sent) != 0 {
		t.Errorf("looking sent %q", sent)
	}
}

// TestADecisionNamesWhatWasRead: a digest that is not the one shown is refused before anything is sent.
func TestADecisionNamesWhatWasRead(t *testing.T) {
	h := newHouse(t)
	var sent []string
	digest := pinned(t, h, &sent)
	h.fails(t, 2, "the digest of the definition that you read is needed", "connector", "approve", "files/read")
	h.fails(t, 2, "the digest of the definition that you reject is needed", "connector", "reject", "files/read")
	h.fails(t, 1, "no digest to decide about", "connector", "approve", "files/read", "aaaaaaaa")
	h.fails(t, 1, "no digest to decide about", "connector", "approve", "files/read", "bbbbbbb")
	h.fails(t, 1, "no digest to decide about", "connector", "rollback", "files/read", "bbbbbbbb")
	h.fails(t, 1, "no earlier definition", "connector", "rollback", "files/single")
	h.fails(t, 2, "--all takes a server", "connector", "approve", "--all", "files/read")
	if len(sent) != 0 {
		t.Fatalf("a refused decision was sent: %q", sent)
	}
	for _, args := range [][]string{
		{"approve", "files/read", "bbbbbbbb", "--reason", "read it"}, {"approve", "files/send", digest("c"), "--despite"},
		{"reject", "files/read", "bbbbbbbb"}, {"reject", "files/read", "aaaaaaaa"}, {"rollback", "files/read"}, {"rollback", "files/read", "99999999"},
	} {
		if o := h.run(t, append([]string{"connector"}, args...)...); o.code != 0 || !strings.HasPrefix(o.out, "files/") {
			t.Errorf("%q: %+v", args, o)
		}
	}
	if o := h.run(t, "connector", "approve", "--all", "files"); o.code != 1 || !strings.Contains(o.errOut, "1 tools have findings and still wait") {
		t.Errorf("all: %+v", o)
	}
	want := `read/approve {"despite_findings":false,"digest":"` + digest("b") + `","reason":"read it"}` + "\n" +
		`send/approve {"despite_findings":true,"digest":"` + digest("c") + `"}` + "\n" +
		`read/reject {"digest":"` + digest("b") + `"}` + "\n" + `read/reject {"digest":"` + digest("a") + `"}` + "\n" +
		`read/rollback {"digest":"` + digest("9") + `"}` + "\n" + `read/rollback {"digest":"` + digest("9") + `"}` + "\n" +
		`read/approve {"despite_findings":false,"digest":"` + digest("b") + `"}`
	if got := strings.Join(sent, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}
