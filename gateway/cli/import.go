package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/gateway/cli/importer"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/policies"
)

type connectorImportCmd struct {
	controlPort
	Files        []string `arg:"" optional:"" help:"MCP configurations to read (default: where Cursor, VS Code and Claude Desktop keep them)." placeholder:"FILE"`
	Tenant       string   `help:"The organisation that the servers are for (default: that of the management key, or demo)." placeholder:"NAME"`
	Config       string   `help:"The gateway's configuration, for what it has already (default: gateway.hcl in the working directory, if there is one)." placeholder:"FILE"`
	AllowPrivate bool     `help:"Permit the proposed servers their private addresses. Danger: calls then reach what this machine reaches."`
	Write        string   `help:"Write the server blocks to this new file." placeholder:"FILE"`
	Policies     string   `help:"Write a bundle, the default one with the starter policies, to this new folder." placeholder:"DIR"`
	EnvFile      string   `help:"Write what programs need in the gateway's environment, as lines for a shell, to this new file. Danger: it holds the secrets." placeholder:"FILE"`
	Probe        bool     `help:"Ask whether to start or reach each server, and list the tools of those."`
	Apply        bool     `help:"Ask whether to add each HTTP server to the running gateway, with its credential (control port)."`
	Yes          bool     `help:"Answer each question with yes." short:"y"`
	JSON         bool     `help:"Print JSON." name:"json"`
}

// imported is what a run came to; as JSON it is what a run prints.
type imported struct {
	Looked []looked `json:"looked_at"`
	*importer.Proposal
	Needs    []string                   `json:"environment"`
	HCL      string                     `json:"hcl"`
	Cedar    string                     `json:"cedar"`
	Tools    map[string][]importer.Tool `json:"tools,omitempty"`
	Unlisted map[string]string          `json:"unlisted,omitempty"` // servers whose tools could not be read, and why
	Added    []string                   `json:"added,omitempty"`

	problems refusedFiles
	bundle   *policies.Bundle
}

// looked is a place that was looked at.
type looked struct {
	File    string `json:"file"`
	Client  string `json:"client"`
	Found   bool   `json:"found"`
	Servers int    `json:"servers"`
	Problem string `json:"problem,omitempty"`
}

// refusedFiles are the well-known files that are there and cannot be read as they are.
type refusedFiles []error

func (r refusedFiles) Error() string {
	return fmt.Sprintf("%d of the files were refused; the others are proposed", len(r))
}

// ExitCode is that of wrong usage: a file is at fault.
func (refusedFiles) ExitCode() int { return exitUsage }

// Lines are one for each of them.
func (r refusedFiles) Lines() []string {
	out := []string{r.Error()}
	for _, err := range r {
		out = append(out, err.Error())
	}
	return out
}

// Run proposes. Nothing is started, sent or written without being asked for.
func (c *connectorImportCmd) Run(sh *shell) error {
	if sh.runner.Servers == nil {
		return errors.New("connector import: this build cannot read a gateway's configuration")
	}
	i := &importing{connectorImportCmd: c, sh: sh, answers: bufio.NewReader(sh.in)}
	if err := i.begin(); err != nil {
		return err
	}
	out, err := i.propose()
	if err != nil {
		return err
	}
	if !c.JSON {
		i.show(out)
	}
	if err := i.files(out); err != nil {
		return err
	}
	if err := i.probe(out); err != nil {
		return err
	}
	err = i.apply(out)
	if c.JSON {
		err = errors.Join(err, sh.json(out))
	} else {
		i.next(out)
	}
	if err == nil && len(out.problems) > 0 {
		return &hinted{out.problems, "mend them, or name the files to read: gatewright connector import FILE"}
	}
	return err
}

// importing is one run.
type importing struct {
	*connectorImportCmd
	sh       *shell
	gateway  *gatewright.Admin // nil when none is known
	existing []importer.Existing
	secrets  []string // in the gateway's vault
	answers  *bufio.Reader
}

// begin refuses what could only fail later, and learns what there is already.
func (i *importing) begin() error {
	for _, name := range []string{i.Write, i.Policies, i.EnvFile} {
		if _, err := os.Lstat(name); name != "" && !errors.Is(err, fs.ErrNotExist) {
			return usage("name a new one: import overwrites nothing", "%s is there already", plainly(name))
		}
	}
	if i.Tenant != "" && !isName(i.Tenant) {
		return usage("an organisation's name is 1 to 63 of a-z, 0-9 and -", "--tenant %q is no name", clean(i.Tenant))
	}
	there, err := i.sh.runner.Servers(i.Config, nil)
	if err != nil {
		return err
	}
	for _, s := range there {
		i.existing = append(i.existing, importer.Existing{Name: s.Name, URL: s.URL, Command: s.Command})
	}
	return i.ask()
}

// ask learns from the running gateway what it has. One that is not there is no fault unless it is to be changed.
func (i *importing) ask() error {
	known := (i.URL != "" || i.sh.getenv("GATEWRIGHT_CONTROL_URL") != "") && i.sh.getenv("GATEWRIGHT_ADMIN_KEY") != ""
	if !known && !i.Apply {
		return nil
	}
	a, err := i.admin(i.sh)
	if err == nil {
		err = i.learn(a)
	}
	if err != nil && !i.Apply {
		fmt.Fprintf(i.sh.err, "the running gateway was not asked what it has: %s\n", plainly(oneLine(err.Error())))
		return nil
	}
	return err
}

func (i *importing) learn(a *gatewright.Admin) error {
	who, err := a.WhoAmI(i.sh.ctx)
	if err != nil {
		return err
	}
	switch {
	case i.Tenant == "" && isName(who.Organisation):
		i.Tenant = who.Organisation
	case i.Apply && i.Tenant != who.Organisation:
		return usage("leave --tenant out, or use a key of that organisation", "--tenant %s, and the management key is of %s", clean(i.Tenant), clean(who.Organisation))
	}
	servers, err := a.Servers(i.sh.ctx)
	if err != nil {
		return err
	}
	if i.secrets, err = a.Secrets(i.sh.ctx); err != nil && i.Apply {
		return err
	}
	for _, s := range servers {
		if !slices.ContainsFunc(i.existing, func(x importer.Existing) bool { return x.Name == s.Name }) {
			i.existing = append(i.existing, importer.Existing{Name: s.Name, URL: s.URL})
		}
	}
	i.gateway = a
	return nil
}

// read reads the files that are named, or those that are there of the well-known ones.
func (i *importing) read() (entries []importer.Entry, all []looked, problems refusedFiles, err error) {
	home, work := i.sh.getenv("HOME"), "."
	if runtime.GOOS == "windows" {
		home = i.sh.getenv("USERPROFILE")
	}
	if dir, err := os.Getwd(); err == nil {
		work = dir
	}
	files := importer.Places(importer.Machine{OS: runtime.GOOS, Home: home, Work: work, Getenv: i.sh.getenv})
	if len(i.Files) > 0 {
		files = nil
		for _, name := range i.Files {
			files = append(files, importer.File{Name: name, Links: true, Home: home})
		}
	}
	for _, f := range files {
		found, bad := importer.Read(f)
		l := looked{File: f.Name, Client: f.Client, Servers: len(found), Found: !errors.Is(bad, fs.ErrNotExist)}
		if len(found) > 0 {
			l.Client = found[0].Client
		}
		switch {
		case bad != nil && len(i.Files) > 0:
			p, hint := (*importer.Problem)(nil), "name a file that is there"
			if errors.As(bad, &p) {
				hint = p.Hint
			}
			return nil, nil, nil, usage(hint, "%v", bad)
		case bad != nil && l.Found:
			l.Problem = bad.Error()
			problems = append(problems, bad)
		}
		all, entries = append(all, l), append(entries, found...)
	}
	return entries, all, problems, nil
}

// propose reads and proposes, and tries what it proposes: what does not load, or loads as something else, is not shown.
func (i *importing) propose() (*imported, error) {
	entries, all, problems, err := i.read()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(l looked) bool { return l.Found }) {
		names := make([]string, len(all))
		for n, l := range all {
			names[n] = l.File
		}
		return nil, &hinted{fmt.Errorf("no MCP configuration is there; looked at %s", strings.Join(names, ", ")), "name the file: gatewright connector import FILE"}
	}
	if i.Tenant == "" {
		i.Tenant = "demo"
	}
	p := importer.Propose(entries, importer.Options{Tenant: i.Tenant, AllowPrivate: i.AllowPrivate, Existing: i.existing})
	out := &imported{Looked: all, Proposal: p, Needs: p.Needs(), HCL: string(p.HCL()), Cedar: string(p.Cedar()), problems: problems}
	if err := i.loads(p); err != nil {
		return nil, err
	}
	if out.bundle, err = p.Bundle(); err != nil {
		return nil, fmt.Errorf("the starter policies do not compile, which is a fault of import: %w", err)
	}
	return out, nil
}

// maxProposal is the largest gateway.hcl, in bytes: gateway/config has the same bound.
const maxProposal = 256 << 10

// loads has the gateway's own reader read the proposal.
func (i *importing) loads(p *importer.Proposal) error {
	doc := p.HCL()
	if len(doc) > maxProposal {
		return usage("name files with fewer servers, one after the other", "the proposal has %d bytes, and a configuration at most %d", len(doc), maxProposal)
	}
	got, err := i.sh.runner.Servers("proposal", doc)
	if err != nil {
		return fmt.Errorf("the proposal does not load, which is a fault of import: %w", err)
	}
	want := p.Fresh()
	for _, s := range want {
		same := func(g ConfiguredServer) bool {
			return g.Name == s.Name && g.Tenant == p.Tenant && g.URL == s.URL && slices.Equal(g.Command, s.Command) && slices.Equal(g.PassEnv, s.PassEnv) &&
				g.Dir == s.Dir && g.AllowPrivate == s.AllowPrivate && g.Credential == s.Credential && g.Prefix == s.Prefix && (s.Header == "" || g.Header == s.Header)
		}
		if !slices.ContainsFunc(got, same) {
			return fmt.Errorf("server %s does not load as it was proposed, which is a fault of import", s.Name)
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("the proposal loads as %d servers, not %d, which is a fault of import", len(got), len(want))
	}
	return nil
}

// files writes what was asked for. A file or folder that came meanwhile is not touched.
func (i *importing) files(out *imported) error {
	for _, f := range []struct {
		name string
		data func() []byte
	}{{i.Write, out.Proposal.HCL}, {i.EnvFile, out.Variables}} {
		if f.name != "" {
			if err := newFile(f.name, f.data()); err != nil {
				return err
			}
		}
	}
	if i.Policies == "" {
		return nil
	}
	if err := os.Mkdir(i.Policies, 0o750); err != nil {
		return usage("name a new folder in one that is there", "%v", err)
	}
	for _, name := range out.bundle.Files() {
		data, _ := out.bundle.File(name)
		path := filepath.Join(i.Policies, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return fmt.Errorf("write the bundle: %w", err)
		}
		if err := newFile(path, data); err != nil {
			return err
		}
	}
	return nil
}

// newFile writes a file that is not there yet, for its owner alone.
func newFile(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return usage("name a new file in a folder that is there", "%v", err)
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
