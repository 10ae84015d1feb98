package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// toolchains is a script that gives a terminal what a person's own has: where compilers are, and what Go built before.
func toolchains(t testing.TB) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dirs := strings.Split(string(out), "\n")
	return fmt.Sprintf("export GATEWRIGHT_TOOLS='%s' GOCACHE='%s' GOMODCACHE='%s'\n", tools(t), dirs[0], dirs[1])
}

// README's five commands for a tenant are walked here as they stand, once as they are and once for a filter of Go: from
// nothing to a filter in force, and back.
func TestATenantShipsAFilter(t *testing.T) {
	t.Parallel()
	for _, kit := range []string{"assemblyscript", "go"} {
		t.Run(kit, func(t *testing.T) {
			t.Parallel()
			top, err := moduleRoot()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(filepath.Join(top, "wasm", "guest", kit, "build.sh"), "--toolchain").CombinedOutput(); err != nil {
				missing(t, strings.TrimSpace(string(out)))
			}
			db := newDatabase(t)
			g := start(t, Setup{HCL: fmt.Sprintf("server \"sql\" {\n  tenant = \"demo\"\n  url = %q\n  allow_private = true\n}\n", db.url)})
			x := g.terminal(t)
			if err := os.Symlink(filepath.Join(top, "wasm"), filepath.Join(x.dir, "wasm")); err != nil {
				t.Fatal(err)
			}
			x.types(t, toolchains(t), 0)
			five := block(t, "sh", "wasm/guest/assemblyscript/build.sh")
			if n := strings.Count(five, "\n"); n != 5 {
				t.Errorf("%d commands", n)
			}
			got := x.types(t, strings.Replace(five, "assemblyscript", kit, 1), 0)
			want := plainBlock(t, "22 vectors, twice the same")
			if kit == "go" { // what it says of a large module is longer
				_, want, _ = strings.Cut(strings.Replace(want, "small class", "large class", 1), "\n")
			}
			shows(t, got, want)

			x.followed(t, "export GATEWRIGHT_INTENT=$(gatewright token $(gatewright plan --quiet --uses 0 --tool sql/query --arg 'query=select * from payroll'))\ngatewright call sql/query --arg 'query=select * from payroll'\n", 1)
			if n := db.asked.Load(); n != 0 {
				t.Errorf("the database was asked %d times", n)
			}
			x.followed(t, "gatewright filter list\n", 0)

			// Put in force again, it knows a table by any way to write it; a module that cannot pass says why.
			one, token := g.analyst(t)
			one.queries(t, token, orders, salaries)
			x.types(t, "gatewright filter activate block-sql --tool query", 0)
			one.query(t, token, "select name from PayRoll").refused(t, "filter_denied")
			one.queries(t, token, orders)
			x.types(t, "head -c 4000 block-sql.wasm > cut.wasm", 0)
			for _, command := range []string{"gatewright filter check cut.wasm", "gatewright filter push cut cut.wasm"} {
				if got := x.types(t, command, 1); !strings.Contains(got, "rejected in stage scan at byte 4000") || !strings.Contains(got, "hint: ") {
					t.Error(got)
				}
			}
			if got := x.types(t, "gatewright filter list --rejected", 0); !strings.Contains(got, "cut by usr_") {
				t.Error(got)
			}
			if v := g.verifyLedger(t); v.code != 0 {
				t.Errorf("ledger verify: %+v", v)
			}
		})
	}
}
