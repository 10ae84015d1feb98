package gatewright_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func TestPinsAreListedComparedAndDecided(t *testing.T) {
	g := newGateway(t)
	var seen []string
	g.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		seen = append(seen, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+string(b)))
		one := `{"server":"files","tool":"read","state":"changed","listed":true,"digest":"dd","approved":"aa","findings":["f"]`
		switch {
		case strings.HasSuffix(r.URL.Path, "/pins"):
			answer(w, 200, `{"items":[`+one+`}]}`)
		case strings.HasSuffix(r.URL.Path, "/reject"):
			answer(w, 409, `{"code":"conflict","detail":"it moved","hint":"look again","record":"rec_1"}`)
		default:
			answer(w, 200, one+`,"differences":[{"member":"title","change":"added","text":"+ T\n"}],"kept":["aa","bb"],"history":[{"time":"2026-01-01T00:00:00Z","action":"approve","user":"usr_1","to":"aa"}]}`)
		}
	})
	a, ctx := g.admin(t), t.Context()
	all, err := a.Pins(ctx, "files")
	if err != nil || len(all) != 1 || !all[0].Waits() || all[0].Digest != "dd" || all[0].Findings[0] != "f" {
		t.Errorf("list: %+v %v", all, err)
	}
	for _, against := range []string{"", "bb"} {
		if p, err := a.Pin(ctx, "files", "read", against); err != nil || p.Differences[0].Text != "+ T\n" || p.Kept[1] != "bb" || p.History[0].User != "usr_1" {
			t.Errorf("one: %+v %v", p, err)
		}
	}
	if _, err := a.ApprovePin(ctx, "files", "read", "dd", "why", true); err != nil {
		t.Error(err)
	}
	if _, err := a.RollBackPin(ctx, "fi/les", "re/ad", "bb", ""); err != nil {
		t.Error(err)
	}
	_, err = a.RejectPin(ctx, "files", "read", "dd", "")
	if e, ok := errors.AsType[*gatewright.Error](err); !ok || e.Code != "conflict" {
		t.Errorf("a conflict: %v", err)
	}
	want := "GET /api/v1/servers/files/pins\nGET /api/v1/servers/files/pins/read\nGET /api/v1/servers/files/pins/read?against=bb\n" +
		`POST /api/v1/servers/files/pins/read/approve {"despite_findings":true,"digest":"dd","reason":"why"}` + "\n" +
		`POST /api/v1/servers/fi%2Fles/pins/re%2Fad/rollback {"digest":"bb"}` + "\n" + `POST /api/v1/servers/files/pins/read/reject {"digest":"dd"}`
	if got := strings.Join(seen, "\n"); got != want {
		t.Errorf("sent\n%s\nwant\n%s", got, want)
	}
}
