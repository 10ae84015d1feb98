package layout_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"

	"github.com/gatewright/gatewright/policies/layout"
)

// canonical is the meaning of a text, as cedar-go prints it.
func canonical(t testing.TB, text string) string {
	t.Helper()
	list, err := cedar.NewPolicyListFromBytes("", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var all strings.Builder
	for _, p := range list {
		all.Write(p.MarshalCedar())
	}
	return all.String()
}

func comments(t testing.TB, text string) (out []string) {
	t.Helper()
	tokens, err := layout.Scan(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range tokens {
		if x.Kind == layout.Comment {
			out = append(out, x.Text)
		}
	}
	slices.Sort(out)
	return out
}

// hold lays a text out and holds the result against it.
func hold(t testing.TB, text string) string {
	t.Helper()
	got, err := layout.Format(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if canonical(t, got) != canonical(t, text) {
		t.Fatalf("another meaning:\n%s\nof\n%s", got, text)
	}
	if !slices.Equal(comments(t, got), comments(t, text)) {
		t.Fatalf("other comments:\n%s\nof\n%s", got, text)
	}
	again, err := layout.Format(got)
	if err != nil || again != got {
		t.Fatalf("laid out twice it differs, %v:\n%s\nthen\n%s", err, got, again)
	}
	return got
}

func TestAFileIsLaidOut(t *testing.T) {
	long := strings.Repeat("a", 40)
	for text, want := range map[string]string{
		"":                "",
		"  // only\n\n\n": "// only\n",
		"// a\n// b\n\n\n// c\npermit(principal,action,resource);// d\n// e\n\n// f": "// a\n// b\n\n// c\npermit (principal, action, resource); // d\n// e\n\n// f\n",
		"@id(\"x\")@reason (\"y\") permit(principal in Team::\"a\",action==Action::\"b\",resource,)when{!(-1+2*3-context.a[\"b\"].c( 1 , 2 )<-4)&&a::b::\"c\"in[A::\"x\",]}unless{ {a:1,\"b\":[ ]}has a};permit(principal,action,resource);": "@id(\"x\")\n@reason(\"y\")\npermit (principal in Team::\"a\", action == Action::\"b\", resource,)\n" +
			"when {\n  !(-1 + 2 * 3 - context.a[\"b\"].c(1, 2) < -4) && a::b::\"c\" in [A::\"x\",]\n}\nunless { {a: 1, \"b\": []} has a };\n\npermit (principal, action, resource);\n",
		"permit(principal,action,resource)when{context." + long + "&&context." + long + "&&(context." + long + "||context.x)};":                         "permit (principal, action, resource)\nwhen {\n  context." + long + " &&\n  context." + long + " &&\n  (context." + long + " || context.x)\n};\n",
		"@id(\"" + long + long + "\")permit(principal,action,resource);":                                                                                "@id(\"" + long + long + "\")\npermit (principal, action, resource);\n",
		"permit(principal,action,resource)when{if context.a then if context.b then true else false else context." + long + " == context." + long + "};": "permit (principal, action, resource)\nwhen {\n  if context.a\n  then if context.b then true else false\n  else context." + long + " == context." + long + "\n};\n",
		"permit(principal, // who\naction,resource // what\n// so\n)when{ // why\ntrue&&// one\nfalse\n// two\n};":                                      "permit (\n  principal, // who\n  action,\n  resource // what\n  // so\n)\nwhen { // why\n  true && // one\n  false\n  // two\n};\n",
	} {
		if strings.Contains(text, ".c(") || strings.Contains(text, "a::b") {
			got, err := layout.Format(strings.Replace(text, ".c( 1 , 2 )", ".contains( 1 )", 1))
			if want := strings.Replace(want, ".c(1, 2)", ".contains(1)", 1); err != nil || got != want {
				t.Errorf("%v\n%s\nwant\n%s", err, got, want)
			}
			continue
		}
		if got := hold(t, text); got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
	}
}

func TestWhatIsNoCedarIsNotLaidOut(t *testing.T) {
	for name, text := range map[string]string{
		"half a policy":      "permit (principal, action",
		"no semicolon":       "permit (principal, action, resource)",
		"another comment":    "permit /* x */ (principal, action, resource);",
		"a lone return":      "// x\rforbid (principal, action, resource);",
		"an open string":     "permit (principal, action, resource) when { \"x };",
		"a stray character":  "permit (principal, action, resource) when { a # b };",
		"brackets":           "permit (principal, action, resource) when { " + strings.Repeat("(", 65) + "true" + strings.Repeat(")", 65) + " };",
		"a very long policy": "permit (principal, action, resource) when { true" + strings.Repeat(" && true", 9000) + " };",
	} {
		got, err := layout.Format(text)
		var e *layout.Error
		if !errors.As(err, &e) || got != "" || e.Line != 1 || e.Column < 1 {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

func TestLineKeepsStrings(t *testing.T) {
	for text, want := range map[string]string{
		"a  ==\n\t\"x  //y\" // z\n && b": `a == "x  //y" && b`,
		"a.b":                             "a.b",
		"# ":                              "# ",
	} {
		if got := layout.Line(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// corpusFile finds a file of the cedar-go module.
func corpusFile(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Skip("the module's folder is not here:", err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), name)
}

// TestTheCorpusKeepsItsMeaning lays out every policy of the corpus that ships with cedar-go, with comments strewn in.
func TestTheCorpusKeepsItsMeaning(t *testing.T) {
	f, err := os.Open(corpusFile(t, "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, ".cedar") {
			continue
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if n++; testing.Short() && n%10 != 0 {
			continue
		}
		hold(t, string(text))
		if n%20 == 0 {
			hold(t, strewn(t, string(text)))
		}
	}
	if n < 7000 {
		t.Error("only", n, "policies were found")
	}
}

// strewn puts comments between the tokens of a text.
func strewn(t testing.TB, text string) string {
	t.Helper()
	tokens, err := layout.Scan(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i, x := range tokens {
		b.WriteString(x.Text)
		b.WriteString([]string{" ", "\n", " // a" + x.Text + "\n", "\n// b\n\n// c\n", " "}[i%5])
	}
	return b.String()
}

// FuzzFormat lays out whatever cedar-go reads.
func FuzzFormat(f *testing.F) {
	f.Add("@id(\"x\") permit (principal, action, resource) when { if true then {a: [1, -1]} has a else context.b.c(1) } // x\n;")
	f.Add("// a\n\n// b\npermit(principal is A::B in C::\"d\",action in[Action::\"e\"],resource)unless{!!(1 - -1 <= 2)};// c")
	f.Add("forbid(principal,action,resource)when{principal has a.b.c&&\"é\" like \"*\\*\"};\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := layout.Format(text); err != nil {
			if strings.Contains(err.Error(), "fault") {
				t.Fatal(err)
			}
			return
		}
		hold(t, text)
	})
}

func TestTemplatesAreLaidOut(t *testing.T) {
	out, err := layout.Format(`@id("t") permit(principal in   ?principal,action,resource == ?resource) when {true};`)
	if err != nil || out != "@id(\"t\")\npermit (principal in ?principal, action, resource == ?resource)\nwhen { true };\n" {
		t.Errorf("%v\n%s", err, out)
	}
	for _, bad := range []string{`permit(principal == ?other, action, resource);`, `permit(principal, action ?principal, resource);`, `permit(principal, action, resource) when { ? };`} {
		if out, err := layout.Format(bad); err == nil {
			t.Errorf("%s became %s", bad, out)
		}
	}
}

// What a bundle takes must not be made into what it does not take.
func TestNothingIsLaidOutTooLongToBeLoaded(t *testing.T) {
	text := "permit (principal, action, resource) when { " + strings.Repeat("if true then true else ", 1000) + "true };"
	if out, err := layout.Format(text); err == nil || !strings.Contains(err.Error(), "once it is laid out") {
		t.Errorf("%v: %d bytes became %d", err, len(text), len(out))
	}
}
