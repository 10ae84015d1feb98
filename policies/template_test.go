package policies_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/gatewright/gatewright/policies"
)

func files(pairs ...string) map[string][]byte {
	out := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = []byte(pairs[i+1])
	}
	return out
}

const teamTemplate = "\n\n@id(\"team\")\npermit (principal in ?principal, action, resource);\n"

func TestATemplateBecomesAPolicyOnItsLine(t *testing.T) {
	b, err := policies.NewBundle(files("p.cedar", "@id(\"never\") forbid (principal, action, resource) when { false };",
		"templates/t.cedar", teamTemplate,
		"templates/links.json", `[{"templateId":"team","newId":"a","values":{"?principal":"Team::\"a\""}},{"templateId":"team","newId":"b","values":{"?principal":"Team::\"b\""}}]`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := policies.Compile(b, demoTools())
	if err != nil || e.Len() != 3 {
		t.Fatalf("%v %v", e, err)
	}
	for team, want := range map[string]string{"a": "templates/t.cedar:3 a", "b": "templates/t.cedar:3 b", "c": ""} {
		a := call("mail", "send", `{"to":"x"}`)
		a.Principal.Teams = []string{team}
		d := e.Decide(a)
		if got := strings.Join(d.Policies(), " "); d.Allowed() != (want != "") || got != want {
			t.Errorf("team %s: %v by %q", team, d.Allowed(), got)
		}
	}
}

func TestATemplateThatIsWrongIsRefusedAtItsLine(t *testing.T) {
	link := `[{"templateId":"team","newId":"a","values":{"?principal":"Team::\"a\""}}]`
	for name, c := range map[string]struct {
		files map[string][]byte
		says  string
	}{
		"slot missing":  {files("templates/t.cedar", teamTemplate, "templates/links.json", `[{"templateId":"team","newId":"a"}]`), "the slot ?principal is not filled"},
		"id taken":      {files("p.cedar", `@id("a") permit (principal, action, resource);`, "templates/t.cedar", teamTemplate, "templates/links.json", link), "templates/t.cedar:4:29: policy a: the id is taken"},
		"syntax":        {files("templates/t.cedar", strings.Replace(teamTemplate, "resource)", "resource) when { 1 + }", 1), "templates/links.json", link), "templates/t.cedar:4:"},
		"unknown type":  {files("templates/t.cedar", teamTemplate, "templates/links.json", strings.Replace(link, `Team::`, `Taem::`, 1)), "templates/t.cedar:3:"},
		"unknown mode":  {files("templates/t.cedar", "@mode(\"x\")"+teamTemplate, "templates/links.json", link), "templates/t.cedar:1:"},
		"comment in it": {files("templates/t.cedar", "/* */"+teamTemplate), "templates/t.cedar:1:"},
	} {
		b, err := policies.NewBundle(c.files)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policies.Compile(b, nil); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABundleOfNamesThatCouldLeaveItsFolderIsRefused(t *testing.T) {
	for _, name := range []string{
		"../x", "/etc/passwd", "a/../b", "./a", "a//b", "a/", "", ".", "a\\b", ".git/config", "a/.env", "a\x00b", "a\nb", strings.Repeat("a", 256), strings.Repeat("a/", 17) + "b",
	} {
		if b, err := policies.NewBundle(files("p.cedar", allowAll, name, "x")); err == nil {
			t.Errorf("%q: %v", name, b.Files())
		}
	}
	for name, f := range map[string]map[string][]byte{
		"case":       files("p.cedar", allowAll, "P.cedar", allowAll),
		"case below": files("p.cedar", allowAll, "a/x", "", "A/x", ""),
		"large":      files("p.cedar", allowAll, "x", strings.Repeat("a", 4<<20+1)),
		"largest":    files("p.cedar", allowAll, "1", strings.Repeat("a", 4<<20), "2", strings.Repeat("a", 4<<20), "3", strings.Repeat("a", 4<<20), "4", strings.Repeat("a", 4<<20), "5", strings.Repeat("a", 4<<20), "6", strings.Repeat("a", 4<<20), "7", strings.Repeat("a", 4<<20), "8", strings.Repeat("a", 4<<20)),
		"empty":      files("x", ""),
		"templates":  files("p.cedar", allowAll, "templates/t.cedar", teamTemplate, "manifest.json", `{"format":1,"templates":[]}`),
		"no such":    files("p.cedar", allowAll, "manifest.json", `{"format":1,"templates":["templates/t.cedar"]}`),
		"unknown":    files("p.cedar", allowAll, "manifest.json", `{"format":1,"extra":1}`),
	} {
		if _, err := policies.NewBundle(f); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestASignatureIsNoPartOfWhatItSigns(t *testing.T) {
	plain, err := policies.NewBundle(files("p.cedar", allowAll))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := policies.LoadBundle(fstest.MapFS{"p.cedar": {Data: []byte(allowAll)}, "bundle.sig": {Data: []byte("sig")}})
	if err != nil {
		t.Fatal(err)
	}
	if plain.Digest() != signed.Digest() || string(signed.Signature()) != "sig" || plain.Signature() != nil || len(signed.Files()) != 1 {
		t.Errorf("%s %s %v", plain.Digest(), signed.Digest(), signed.Files())
	}
}
