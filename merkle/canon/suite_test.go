package canon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/gatewright/gatewright/merkle/canon"
)

// vectors returns a folder of outside test vectors, which lie beside the module. Without them the test is skipped, and
// fails where CI is set.
func vectors(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = parent
	}
	dir = filepath.Join(dir, "..", "shared", "vectors", name)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("outside test vectors are missing: %v", err)
		}
		t.Skipf("outside test vectors are missing: %v", err)
	}
	return dir
}

// kindOf returns the kind of a refusal, and "" for none.
func kindOf(t *testing.T, err error) canon.Kind {
	t.Helper()
	if err == nil {
		return ""
	}
	var e *canon.SyntaxError
	if !errors.As(err, &e) {
		t.Fatalf("error is no SyntaxError: %v", err)
	}
	return e.Kind
}

// refusedOnPurpose are valid documents that two readers may understand differently.
var refusedOnPurpose = map[string]canon.Kind{
	"y_object_duplicated_key.json":           canon.KindDuplicate,
	"y_object_duplicated_key_and_value.json": canon.KindDuplicate,
}

func TestJSONTestSuiteIsJudgedRight(t *testing.T) {
	dir := vectors(t, "jsonparsing")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		class, _, _ := strings.Cut(f.Name(), "_")
		count[class]++
		err = canon.Check(b, canon.DefaultLimits())
		switch kind := kindOf(t, err); {
		case class == "n" && err == nil:
			t.Errorf("%s: accepted", f.Name())
		case class == "y" && kind != refusedOnPurpose[f.Name()]:
			t.Errorf("%s: %v", f.Name(), err)
		case class == "i" && err == nil:
			if !jsontext.Value(b).IsValid() {
				t.Errorf("%s: accepted, and jsontext refuses it", f.Name())
			}
		}
	}
	if count["y"] != 95 || count["n"] != 188 || count["i"] != 35 {
		t.Errorf("the suite has changed: %v", count)
	}
}

func TestRFC8785PairsComeOutByteForByte(t *testing.T) {
	dir := vectors(t, "rfc8785")
	names, err := filepath.Glob(filepath.Join(dir, "input", "*.json"))
	if err != nil || len(names) != 6 {
		t.Fatalf("want 6 inputs, found %d, %v", len(names), err)
	}
	for _, name := range names {
		in, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, "output", filepath.Base(name)))
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(name) == "values.json" {
			// This pair rounds 333333333.33333329, which the I-JSON gate in front of RFC 8785 refuses on purpose.
			if kind := kindOf(t, canon.Check(in, canon.DefaultLimits())); kind != canon.KindNumber {
				t.Errorf("values.json with a number that would be rounded: %q", kind)
			}
			in = []byte(strings.Replace(string(in), "333333333.33333329", "333333333.3333333", 1))
		}
		got, err := canon.AppendCanonical(nil, in, canon.DefaultLimits())
		if err != nil || string(got) != strings.TrimSpace(string(want)) {
			t.Errorf("%s: %v\n got %s\nwant %s", filepath.Base(name), err, got, want)
		}
		again, err := canon.AppendCanonical(nil, got, canon.DefaultLimits())
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: the canonical form is not its own canonical form: %v", filepath.Base(name), err)
		}
	}
}
