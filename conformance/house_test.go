package conformance_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/gatewright/gatewright/"

// floors is the house, from the ground up. An import may only go down, or stay inside a package's own folder. The
// longest prefix decides.
var floors = map[string]int{
	"merkle": 0,
	"store":  1, "policies": 1, "wasm": 1, "plugins": 1, "gateway/sdk": 1, "gateway/datadir": 1,
	"gateway/identity": 2, "gateway/catalogue": 2, "gateway/upstream": 2, "gateway/plans": 2,
	"gateway/approvals": 2, "gateway/bundles": 2, "gateway/terms": 2, "gateway/usage": 2, "gateway/quota": 2, "gateway/sinks": 2, "gateway/filters": 2,
	"gateway/pipeline": 3, "gateway/retention": 3, // above the vault, whose keys it destroys
	"gateway/stages": 4,
	"gateway/proxy":  5, "gateway/control": 5, "gateway/console": 5, "gateway/cli": 5, "gateway/config": 5,
	"gateway": 6,
	"bench":   7, "conformance": 7,
	"conformance/hostile/corpus": 0, // bytes for whoever is to stand them; it imports nothing of ours
}

// doors names the only packages that may import a library. bench, conformance and test files are exempt.
var doors = map[string][]string{
	"github.com/go-json-experiment/":        {"merkle/canon"},
	"golang.org/x/mod/":                     {"merkle/ledger"},
	"github.com/go-pdf/":                    {"merkle/ledger/export/report"},
	"filippo.io/mldsa":                      {"merkle/ledger/mldsa"},
	"github.com/dgraph-io/badger/":          {"store/badger"},
	"github.com/jackc/pgx/":                 {"store/postgres"},
	"github.com/cedar-policy/":              {"policies"},
	"github.com/go-git/":                    {"gateway/bundles/git"},
	"github.com/tetratelabs/wazero":         {"wasm"},
	"github.com/hashicorp/go-plugin":        {"plugins"},
	"github.com/hashicorp/go-hclog":         {"plugins"},
	"google.golang.org/grpc":                {"plugins"},
	"github.com/modelcontextprotocol/":      {"plugins/demo/demotest"},
	"golang.org/x/oauth2":                   {"gateway/upstream/oauth"},
	"github.com/go-jose/":                   {"gateway/identity"},
	"github.com/santhosh-tekuri/jsonschema": {"gateway/catalogue"},
	"github.com/valyala/fasthttp":           {"gateway/upstream", "gateway/proxy"},
	"go.opentelemetry.io/":                  {"gateway/sinks"},
	"github.com/danielgtaylor/huma/":        {"gateway/control"},
	"github.com/prometheus/":                {"gateway/control"},
	"github.com/alecthomas/kong":            {"gateway/cli"},
	"github.com/knadh/koanf/":               {"gateway/config"},
	"github.com/hashicorp/hcl/":             {"gateway/config"},
	"go.yaml.in/":                           {"plugins/openapi"},
	"github.com/zclconf/":                   {"gateway/config"},
}

// top is everything that may stand at the top of the tree.
var top = []string{
	"gateway", "wasm", "policies", "plugins", "merkle", "store", "bench", "conformance",
	"gateway.hcl", "go.mod", "go.sum", "README.md", "RATIONALE.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "THIRD_PARTY_NOTICES.md",
}

// file is one Go file of the tree.
type file struct {
	path string // from the root, with slashes
	pkg  string // folder
	ast  *ast.File
	set  *token.FileSet
	size int // lines
}

func (f file) test() bool { return strings.HasSuffix(f.path, "_test.go") }

// tree reads every Go file. The files are read here and not through the go command, so that the test cache knows them.
func tree(t *testing.T) []file {
	t.Helper()
	root := root(t)
	var out []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != root && (strings.HasPrefix(n, ".") || n == "testdata" || n == "node_modules" || n == "data") {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(p, "go.mod")); err == nil && p != root {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		src, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		parsed, err := parser.ParseFile(set, p, src, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, file{rel, path.Dir(rel), parsed, set, strings.Count(string(src), "\n")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 20 {
		t.Fatalf("found only %d Go files under %s", len(out), root)
	}
	return out
}

// root is the folder of go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = up
	}
}

func imports(f file) []string {
	var out []string
	for _, i := range f.ast.Imports {
		out = append(out, strings.Trim(i.Path.Value, `"`))
	}
	return out
}

// floorOf finds the floor by the longest prefix, and the package that owns it.
func floorOf(pkg string) (int, string, bool) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if n, ok := floors[p]; ok {
			return n, p, true
		}
	}
	return 0, "", false
}

func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// TestArrowsPointDown: no package imports one on its own floor or above, its own sub-packages and siblings of one
// house excepted.
func TestArrowsPointDown(t *testing.T) {
	for _, f := range tree(t) {
		from, house, ok := floorOf(f.pkg)
		if !ok {
			t.Errorf("%s: package %s stands on no floor", f.path, f.pkg)
			continue
		}
		if f.test() {
			continue
		}
		for _, imp := range imports(f) {
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			to, depHouse, ok := floorOf(dep)
			if !ok || to > from || to == from && depHouse != house {
				t.Errorf("%s (floor %d) imports %s (floor %d): arrows point down only", f.path, from, dep, to)
			}
		}
	}
}

// TestLibrariesHaveOneDoor: a library is imported by its door alone, so that it can be replaced there.
func TestLibrariesHaveOneDoor(t *testing.T) {
	for _, f := range tree(t) {
		if f.test() || within(f.pkg, "bench") || within(f.pkg, "conformance") {
			continue
		}
		for _, imp := range imports(f) {
			for lib, allowed := range doors {
				if strings.HasPrefix(imp, lib) && !slices.ContainsFunc(allowed, func(d string) bool { return within(f.pkg, d) }) {
					t.Errorf("%s imports %s; its door is %s", f.path, imp, strings.Join(allowed, ", "))
				}
			}
		}
	}
}

// TestTheSDKNeedsOnlyTheStandardLibrary: clients import the SDK, and what it imports they carry.
func TestTheSDKNeedsOnlyTheStandardLibrary(t *testing.T) {
	for _, f := range tree(t) {
		if f.test() || !within(f.pkg, "gateway/sdk/go") {
			continue
		}
		for _, imp := range imports(f) {
			if strings.Contains(strings.Split(imp, "/")[0], ".") && !strings.HasPrefix(imp, module+"merkle") {
				t.Errorf("%s imports %s", f.path, imp)
			}
		}
	}
}

// TestNothingElseStandsAtTheTop keeps the top level the map that README shows.
func TestNothingElseStandsAtTheTop(t *testing.T) {
	entries, err := os.ReadDir(root(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		n := e.Name()
		if strings.HasPrefix(n, ".") || n == "data" || slices.Contains(top, n) {
			continue
		}
		t.Errorf("%s stands at the top", n)
	}
}

// TestEveryPackageSaysWhatItIsFor: one package comment each, and no init functions anywhere.
func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	said := map[string]int{}
	for _, f := range tree(t) {
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s has an init function", f.path)
			}
		}
		if f.test() {
			continue
		}
		said[f.pkg] += 0
		if f.ast.Doc != nil {
			said[f.pkg]++
			if f.ast.Name.Name != "main" && !strings.HasPrefix(f.ast.Doc.Text(), "Package "+f.ast.Name.Name) {
				t.Errorf("%s: the package comment does not begin with 'Package %s'", f.path, f.ast.Name.Name)
			}
		}
	}
	for pkg, n := range said {
		if n != 1 {
			t.Errorf("package %s has %d package comments, want 1", pkg, n)
		}
	}
}

// TestExportedNamesAreDocumented: each exported type, function and method says its contract.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range tree(t) {
		if f.test() || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil && !selfEvident[d.Name.Name] {
					t.Errorf("%s: %s is exported and says nothing", f.set.Position(d.Pos()), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if ts, ok := s.(*ast.TypeSpec); ok && ts.Name.IsExported() && d.Doc == nil && ts.Doc == nil {
						t.Errorf("%s: type %s is exported and says nothing", f.set.Position(ts.Pos()), ts.Name.Name)
					}
				}
			}
		}
	}
}

// selfEvident are methods of well-known interfaces.
var selfEvident = map[string]bool{"Error": true, "Unwrap": true, "String": true, "Len": true, "Less": true, "Swap": true, "Is": true}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if idx, ok := typ.(*ast.IndexExpr); ok {
		typ = idx.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// TestSizesStayReadable holds files, functions and interfaces to the house's budget.
func TestSizesStayReadable(t *testing.T) {
	const fileLines, funcLines, methods = 500, 70, 6
	for _, f := range tree(t) {
		if f.test() {
			continue
		}
		if f.size > fileLines {
			t.Errorf("%s has %d lines, want at most %d", f.path, f.size, fileLines)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if l := f.set.Position(n.End()).Line - f.set.Position(n.Pos()).Line; l > funcLines {
					t.Errorf("%s: %s has %d lines, want at most %d", f.set.Position(n.Pos()), n.Name.Name, l, funcLines)
				}
			case *ast.InterfaceType:
				if m := ownMethods(n); m > methods {
					t.Errorf("%s: an interface has %d methods, want at most %d", f.set.Position(n.Pos()), m, methods)
				}
			}
			return true
		})
	}
}

// ownMethods counts the methods an interface declares; interfaces it is put together from are counted where they stand.
func ownMethods(n *ast.InterfaceType) int {
	m := 0
	for _, f := range n.Methods.List {
		m += len(f.Names)
	}
	return m
}

// TestErrorsAreWrapped: an error is wrapped with %w, so that callers can look into it.
func TestErrorsAreWrapped(t *testing.T) {
	for _, f := range tree(t) {
		if f.test() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 || fmt.Sprint(call.Fun) != "&{fmt Errorf}" {
				return true
			}
			format, ok := call.Args[0].(*ast.BasicLit)
			last, isIdent := call.Args[len(call.Args)-1].(*ast.Ident)
			if ok && isIdent && last.Name == "err" && !strings.Contains(format.Value, "%w") {
				t.Errorf("%s: err is not wrapped with %%w", f.set.Position(n.Pos()))
			}
			return true
		})
	}
}

// TestNothingNamesAMachine: no committed text names a path of the machine it was written on or a registry's host.
func TestNothingNamesAMachine(t *testing.T) {
	root := root(t)
	banned := []string{"/" + "work/", "/" + "root/", "/" + "home/", "proxy.golang" + ".org", "registry.npmjs" + ".org", "pypi" + ".org"}
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == ".git" || n == "node_modules" || n == "data" {
				return filepath.SkipDir
			}
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 1<<20 || d.Name() == "go.sum" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		for _, s := range banned {
			if i := strings.Index(string(b), s); i >= 0 {
				t.Errorf("%s names %q", strings.TrimPrefix(p, root+"/"), s)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
