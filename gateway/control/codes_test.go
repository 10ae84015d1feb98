package control_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// usedCodes reads every second argument of refuse, every code in the table of faults, and what fromHuma assigns.
func usedCodes(t *testing.T) map[string]bool {
	t.Helper()
	used := map[string]bool{}
	note := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil && s != "" {
				used[s] = true
			}
		}
	}
	names, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !strings.HasSuffix(n.Name(), ".go") || strings.HasSuffix(n.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), n.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			switch x := node.(type) {
			case *ast.CallExpr:
				if id, ok := x.Fun.(*ast.Ident); ok && id.Name == "refuse" {
					note(x.Args[1])
				}
			case *ast.CompositeLit:
				if n.Name() == "fault.go" && len(x.Elts) == 5 {
					note(x.Elts[2])
				}
			case *ast.AssignStmt:
				if id, ok := x.Lhs[0].(*ast.Ident); ok && id.Name == "code" {
					note(x.Rhs[0])
				}
			}
			return true
		})
	}
	return used
}

func TestTheListOfCodesIsClosed(t *testing.T) {
	w := newWorld(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Enum []string }
			}
		}
	}
	if err := json.Unmarshal([]byte(w.call("GET", "/openapi.json", "", "").body), &doc); err != nil {
		t.Fatal(err)
	}
	listed := doc.Components.Schemas["Problem"].Properties["code"].Enum
	used := usedCodes(t)
	if len(listed) == 0 || len(used) < 20 {
		t.Fatalf("%d codes are listed, %d found", len(listed), len(used))
	}
	for code := range used {
		if !slices.Contains(listed, code) {
			t.Errorf("%s is used and not listed", code)
		}
	}
	for _, code := range listed {
		if !used[code] {
			t.Errorf("%s is listed and used nowhere", code)
		}
	}
	if doc.Components.Schemas["ErrorModel"].Properties != nil {
		t.Error("the document shows an error body that is never sent")
	}
}
