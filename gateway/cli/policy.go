package cli

import (
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/suite"
)

type policyCmd struct {
	Check     policyCheckCmd     `cmd:"" help:"Check that a bundle of policies can come into force, and that it says what its authors mean. Needs no gateway."`
	Fmt       policyFmtCmd       `cmd:"" help:"Lay policies out as everybody does. Needs no gateway."`
	Test      policyTestCmd      `cmd:"" help:"Run the tests beside the policies. Needs no gateway."`
	Diff      policyDiffCmd      `cmd:"" help:"Say which recorded decisions two bundles answer differently."`
	Replay    policyReplayCmd    `cmd:"" help:"Say which recorded decisions a bundle answers differently from the one in force."`
	Explain   policyExplainCmd   `cmd:"" help:"Say why a call is or would be allowed or denied, condition by condition."`
	Push      policyPushCmd      `cmd:"" help:"Hand a bundle in as a new revision. It is judged and kept; nothing comes into force."`
	Activate  policyActivateCmd  `cmd:"" help:"Enforce a revision, or try it: in shadow, or for a share of the principals."`
	Shadow    policyShadowCmd    `cmd:"" help:"Show what is tried in shadow or canary, and which calls it would have answered differently."`
	Rollback  policyRollbackCmd  `cmd:"" help:"Undo the last activation, at once."`
	History   policyHistoryCmd   `cmd:"" help:"List the revisions, and which is enforced or tried."`
	Sign      policySignCmd      `cmd:"" help:"Sign a bundle for gateways that ask for it. Needs no gateway."`
	Schema    policySchemaCmd    `cmd:"" help:"Print the schema that policies are held against, for editors and Cedar's own tools. Needs no gateway but with --api."`
	Translate policyTranslateCmd `cmd:"" help:"Put policies of another gateway into the words of this one. Needs no gateway."`
}

// bundleFolder is the folder that the commands work on.
type bundleFolder struct {
	Bundle string `arg:"" optional:"" default:"." help:"Folder of the bundle (default: the working directory)." placeholder:"DIR"`
}

const bundleHint = "a bundle is a folder with *.cedar files; `cp -r policies/default my-policies` begins one"

func (f *bundleFolder) load() (*policies.Bundle, error) {
	if info, err := os.Stat(f.Bundle); err != nil || !info.IsDir() {
		return nil, usage(bundleHint, "%q is not a folder that can be read", f.Bundle)
	}
	b, err := policies.LoadBundle(os.DirFS(f.Bundle))
	if err != nil {
		return nil, usage(bundleHint, "%v", err)
	}
	return b, nil
}

// prefix is what names a file of the bundle from the working directory, with slashes.
func (f *bundleFolder) prefix() string {
	p := path.Clean(filepath.ToSlash(f.Bundle))
	if p == "." {
		return ""
	}
	return strings.TrimSuffix(p, "/") + "/"
}

// toFile writes a file if it is named.
func toFile(name string, write func(io.Writer) error) error {
	if name == "" {
		return nil
	}
	f, err := os.Create(name)
	if err != nil {
		return usage("name a file in a folder that is there", "%v", err)
	}
	return errors.Join(write(f), f.Close())
}

// findingsJSON is what programs read of findings.
func findingsJSON(found []suite.Finding) []map[string]any {
	out := []map[string]any{}
	for _, f := range found {
		out = append(out, map[string]any{
			"rule": f.Rule, "level": f.Level, "file": f.File, "line": f.Line, "column": f.Column, "message": f.Msg, "hint": f.Hint,
		})
	}
	return out
}

// plainLine makes all of it one line that moves no cursor.
func plainLine(s string) string { return strings.ReplaceAll(plainly(s), "\n", `\n`) }
