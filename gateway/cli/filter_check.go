package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/gateway/filters"
	"github.com/gatewright/gatewright/wasm/build"
)

type filterCheckCmd struct {
	moduleFiles
	JSON bool `help:"Print JSON." name:"json"`
}

// Run takes a module through the stages of an upload, with the bounds that a gateway has unless told otherwise.
func (c *filterCheckCmd) Run(sh *shell) error {
	module, config, vectors, err := c.read()
	if err != nil {
		return err
	}
	up := filters.Upload{Name: checkName(c.Module), Module: module, Config: config}
	if vectors != nil {
		if up.Vectors, err = filters.ParseVectors(vectors); err != nil {
			return usage(vectorsHint, "%s: %v", c.Vectors, err)
		}
	}
	judge, done, err := offlineJudge(sh)
	if err != nil {
		return err
	}
	defer done()
	report, err := judge.Check(sh.ctx, up, func(s filters.Step) { showStep(sh.err, string(s.Stage), s.OK, s.Took, s.Detail) })
	if r, ok := errors.AsType[*filters.Rejection](err); ok {
		var at *int64
		if r.Offset >= 0 {
			at = &r.Offset
		}
		return rejected(string(r.Stage), r.Reason, at, r.Hint)
	}
	if errors.Is(err, filters.ErrInvalid) {
		return usage("see wasm/README.md", "%v", err)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(map[string]any{
			"digest": filters.DigestText(report.Digest), "size": report.Size, "dialect": report.Dialect, "class": report.Class, "functions": report.Functions,
			"memory": report.Memory, "fuel": report.Fuel, "response": report.Response, "vectors": report.Vectors,
		})
	}
	fmt.Fprintf(sh.out, "%s passes: %s, %s class, %d bytes, %d KiB of memory, %s, at most %d units of fuel\n", clean(c.Module), report.Dialect, report.Class,
		report.Size, report.Memory>>10, tested(report.Vectors), report.Fuel)
	if report.Vectors == 0 {
		fmt.Fprintln(sh.err, "--vectors FILE has it tested with calls of your own: what it answers now is what it will answer then")
	}
	return nil
}

// tested says how many vectors there were.
func tested(n int) string {
	if n == 0 {
		return "no vectors"
	}
	return plural(n, "vector")
}

// checkName makes a filter's name of a file's.
func checkName(file string) string {
	name := strings.ToLower(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)))
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}, name)
	if name == "" {
		return "filter"
	}
	return name[:min(len(name), 64)]
}

// offlineJudge judges as a gateway does: it compiles in a child process, and throws what it made away.
func offlineJudge(sh *shell) (*filters.Judge, func(), error) {
	dir, err := os.MkdirTemp("", "gatewright-check-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for what is compiled: %w", err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // does not fail
	compiler, err := build.New(build.Options{Dir: filepath.Join(dir, "cache"), Key: key})
	if err != nil {
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	conf := filters.DefaultJudgeConfig()
	conf.Wasm.Compiler, conf.Time = compiler, time.Minute
	judge, err := filters.NewJudge(sh.ctx, conf)
	if err != nil {
		compiler.Close()
		_ = os.RemoveAll(dir)
		return nil, nil, err
	}
	return judge, func() {
		_ = judge.Close(sh.ctx) // frees memory
		compiler.Close()
		_ = os.RemoveAll(dir)
	}, nil
}
