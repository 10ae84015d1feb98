package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/policies/layout"
)

type policyFmtCmd struct {
	Paths []string `arg:"" optional:"" name:"path" help:"Files, or folders with *.cedar files (default: the working directory); - reads standard input." placeholder:"PATH"`
	Write bool     `help:"Write the files anew." short:"w" xor:"what"`
	Check bool     `help:"Write nothing; name the files that are laid out otherwise, and fail." xor:"what"`
	Diff  bool     `help:"Write nothing; show what would change." short:"d" xor:"what"`
}

// Run lays policies out. Without a flag it prints them.
func (c *policyFmtCmd) Run(sh *shell) error {
	if len(c.Paths) == 1 && c.Paths[0] == "-" {
		return c.stream(sh)
	}
	files, err := cedarFiles(c.Paths)
	if err != nil {
		return err
	}
	var errs []string
	changed := 0
	for _, name := range files {
		other, err := c.file(sh, name)
		if err != nil {
			errs = append(errs, err.Error())
		}
		if other {
			changed++
		}
	}
	switch {
	case len(errs) > 0:
		return &hinted{lined(errs), "`gatewright policy check` says more"}
	case c.Check && changed > 0:
		return &hinted{fmt.Errorf("%d of %d files are laid out otherwise", changed, len(files)), "`gatewright policy fmt -w` lays them out"}
	}
	return nil
}

// lined is several errors, a line each.
type lined []string

func (l lined) Error() string   { return strings.Join(l, "\n") }
func (l lined) Lines() []string { return l }

func (c *policyFmtCmd) stream(sh *shell) error {
	if c.Write {
		return usage("leave out -w, or name a file", "standard input cannot be written")
	}
	text, err := io.ReadAll(io.LimitReader(sh.in, maxCedarFile))
	if err != nil {
		return err
	}
	_, err = c.show(sh, "standard input", string(text))
	return err
}

// file lays out one file, and tells whether it was laid out otherwise.
func (c *policyFmtCmd) file(sh *shell, name string) (bool, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return false, err
	}
	return c.show(sh, name, string(text))
}

func (c *policyFmtCmd) show(sh *shell, name, text string) (bool, error) {
	out, err := layout.Format(text)
	if err != nil {
		return false, fmt.Errorf("%s:%w", name, err)
	}
	changed := out != text
	switch {
	case c.Check && changed:
		fmt.Fprintln(sh.out, plainLine(name))
	case c.Diff && changed:
		fmt.Fprintf(sh.out, "--- %s\n+++ %s\n%s", plainLine(name), plainLine(name), plainly(difference(text, out)))
	case c.Write && changed:
		return true, replaceFile(name, out)
	case !c.Check && !c.Diff && !c.Write:
		_, err = io.WriteString(sh.out, out)
	}
	return changed, err
}

// maxCedarFile is more than a bundle takes of one file, in bytes.
const maxCedarFile = 5 << 20

// replaceFile puts a text in a file's place at once: half a policy must never stand there.
func replaceFile(name, text string) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".fmt-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// cedarFiles lists the policy files that are named, and those in folders, as a bundle reads them.
func cedarFiles(paths []string) ([]string, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var out []string
	for _, p := range paths {
		err := filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && name != p && strings.HasPrefix(d.Name(), "."):
				return filepath.SkipDir
			case name == p && !d.IsDir(), d.Type().IsRegular() && strings.HasSuffix(name, ".cedar") && !strings.HasPrefix(d.Name(), "."):
				out = append(out, name)
			}
			return nil
		})
		if err != nil {
			return nil, usage("name files, or folders with *.cedar files", "%v", err)
		}
	}
	if len(out) == 0 {
		return nil, usage("name files, or folders with *.cedar files", "no *.cedar file here")
	}
	return out, nil
}

// difference shows the lines that go and those that come, in one piece from the first that differs to the last.
func difference(from, to string) string {
	a, b := slices.Collect(strings.Lines(from)), slices.Collect(strings.Lines(to))
	head := 0
	for head < len(a) && head < len(b) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < len(a)-head && tail < len(b)-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	a, b = a[head:len(a)-tail], b[head:len(b)-tail]
	var s strings.Builder
	fmt.Fprintf(&s, "@@ -%d,%d +%d,%d @@\n", head+1, len(a), head+1, len(b))
	for _, side := range []struct {
		mark  string
		lines []string
	}{{"-", a}, {"+", b}} {
		for _, line := range side.lines {
			s.WriteString(side.mark + strings.TrimRight(line, "\r\n") + "\n")
		}
	}
	return s.String()
}
