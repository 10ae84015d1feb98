package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/gatewright/gatewright/gateway/cli/importer"
	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

// show prints the proposal for people.
func (i *importing) show(out *imported) {
	for _, l := range out.Looked {
		state := "not there"
		switch {
		case l.Problem != "":
			state = "refused"
		case l.Found:
			state = fmt.Sprintf("%d servers", l.Servers)
		}
		fmt.Fprintf(i.sh.err, "looked at %s: %s\n", plainly(l.File), state)
	}
	w := tabwriter.NewWriter(i.sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SERVER\tSTATE\tKIND\tCOMMAND OR URL\tSECRETS\tFROM")
	for _, s := range out.Servers {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, s.State, s.Kind, importer.Line(reach(s)), secretsOf(s), from(s))
	}
	_ = w.Flush()
	for _, s := range out.Servers {
		for _, why := range s.Held {
			fmt.Fprintf(i.sh.out, "%s is held: %s\n", s.Name, importer.Line(why))
		}
		for _, what := range s.Warnings {
			fmt.Fprintf(i.sh.out, "%s: %s\n", s.Name, importer.Line(what))
		}
	}
	if i.Write == "" {
		fmt.Fprintf(i.sh.out, "\n%s", out.HCL)
	}
	if i.Policies == "" && len(out.Fresh()) > 0 {
		fmt.Fprintf(i.sh.out, "\n%s", out.Cedar)
	}
}

// reach is what a server runs or where it is.
func reach(s *importer.Server) string {
	if s.URL != "" {
		return s.URL
	}
	words := make([]string, len(s.Command))
	for i, w := range s.Command {
		if words[i] = w; w == "" || strings.ContainsAny(w, " \t\"'\\$`") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// secretsOf says where the secrets of a server are to be, by name.
func secretsOf(s *importer.Server) string {
	var out []string
	if len(s.PassEnv) > 0 {
		out = append(out, "environment: "+strings.Join(s.PassEnv, ", "))
	}
	if s.Credential != "" {
		out = append(out, "vault: "+s.Credential)
	}
	return orDash(strings.Join(out, "; "))
}

func from(s *importer.Server) string {
	var out []string
	for _, f := range s.Sources {
		if !slices.Contains(out, f.Client) {
			out = append(out, f.Client)
		}
	}
	return strings.Join(out, ", ")
}

// yes asks. Whatever is no clear yes is a no, the end of input too.
func (i *importing) yes(format string, args ...any) bool {
	fmt.Fprintf(i.sh.err, format+" [y/N] ", args...)
	if i.Yes {
		fmt.Fprintln(i.sh.err, "yes")
		return true
	}
	line, err := i.answers.ReadString('\n')
	if err != nil {
		fmt.Fprintln(i.sh.err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	line = strings.ToLower(strings.TrimSpace(line))
	return line == "y" || line == "yes"
}

// probe starts or reaches the servers that somebody says yes to, and reads their tools.
func (i *importing) probe(out *imported) error {
	if !i.Probe {
		return nil
	}
	if i.sh.runner.ListTools == nil {
		return errors.New("connector import: this build cannot ask a server for its tools")
	}
	out.Tools, out.Unlisted = map[string][]importer.Tool{}, map[string]string{}
	for _, s := range out.Fresh() {
		question := "start on this machine, as you, to list its tools: %s\n%s?"
		if s.URL != "" {
			question = "reach, with its credential, to list its tools: %s\n%s?"
		}
		if !i.yes(question, importer.Line(reach(s)), s.Name) {
			continue
		}
		tools, err := i.tools(out, s)
		if err := i.sh.ctx.Err(); err != nil {
			return err
		}
		if err != nil {
			out.Unlisted[s.Name] = importer.Line(oneLine(err.Error()))
			fmt.Fprintf(i.sh.err, "%s: its tools cannot be read: %s\n", s.Name, out.Unlisted[s.Name])
			continue
		}
		out.Tools[s.Name] = tools
		i.showTools(s.Name, tools)
	}
	return nil
}

func (i *importing) tools(out *imported, s *importer.Server) ([]importer.Tool, error) {
	credential, _ := s.Secret(i.sh.getenv)
	raw, err := i.sh.runner.ListTools(i.sh.ctx, ToolListing{Doc: out.Proposal.HCL(), Name: s.Name, Env: s.Environment(i.sh.getenv), Credential: credential})
	if err != nil {
		return nil, err
	}
	return importer.Tools(raw)
}

func (i *importing) showTools(server string, tools []importer.Tool) {
	if i.JSON {
		return
	}
	w := tabwriter.NewWriter(i.sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nTOOLS OF %s, AS IT SAYS\tREADS ONLY\tREACHES OUT\tDEFINITION\n", server)
	for _, t := range tools {
		fmt.Fprintf(w, "%s\t%s\t%s\t%.16s\n", importer.Line(t.Name), yesNo(t.ReadOnly), yesNo(t.OpenWorld), t.Definition)
	}
	_ = w.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// apply adds HTTP servers to the running gateway. A program's command line comes from the configuration file alone.
func (i *importing) apply(out *imported) error {
	if !i.Apply {
		return nil
	}
	for _, s := range out.Fresh() {
		if s.URL == "" {
			continue
		}
		if err := i.add(out, s); err != nil {
			return err
		}
	}
	return nil
}

func (i *importing) add(out *imported, s *importer.Server) error {
	value, known := s.Secret(i.sh.getenv)
	what := "add " + s.Name + ", " + importer.Line(s.URL)
	switch {
	case s.Credential != "" && slices.Contains(i.secrets, s.Credential):
		fmt.Fprintf(i.sh.err, "%s is not added: the vault has a secret %s already, and import replaces none; take the block of gateway.hcl, or rename the server in its file\n", s.Name, s.Credential)
		return nil
	case s.Credential != "" && known:
		what += ", and put its " + s.Header + " into the vault as " + s.Credential
	case s.Credential != "":
		what += ", without its credential"
	}
	if !i.yes("%s?", what) {
		return nil
	}
	if s.Credential != "" && known {
		if err := i.gateway.PutSecret(i.sh.ctx, s.Credential, value); err != nil {
			return err
		}
	}
	err := i.gateway.AddServer(i.sh.ctx, gatewright.Server{
		Name: s.Name, URL: s.URL, AllowPrivate: s.AllowPrivate, Credential: s.Credential, Header: s.Header, Prefix: s.Prefix,
	})
	if err != nil {
		if s.Credential != "" && known {
			fmt.Fprintf(i.sh.err, "%s was not added; its secret stands in the vault as %s\n", s.Name, s.Credential)
		}
		return err
	}
	out.Added = append(out.Added, s.Name)
	fmt.Fprintf(i.sh.err, "%s is added\n", s.Name)
	if s.Credential != "" && !known {
		fmt.Fprintf(i.sh.err, "its client asks for its credential (%s): put it into the vault, PUT /api/v1/secrets/%s\n", s.Asked(), s.Credential)
	}
	return nil
}

// next says what is left to do.
func (i *importing) next(out *imported) {
	fresh := out.Fresh()
	if len(fresh) == 0 {
		fmt.Fprintln(i.sh.err, "there is nothing to take over")
		return
	}
	defer i.policies(out)
	if len(out.Added) == len(fresh) {
		return
	}
	blocks := "the blocks above"
	if i.Write != "" {
		blocks = plainly(i.Write)
	}
	what := "nothing is in force yet"
	if len(out.Added) > 0 {
		what = "nothing else is in force yet"
	}
	fmt.Fprintf(i.sh.err, "%s: read %s, put what you want into gateway.hcl, and start the gateway again\n", what, blocks)
	if len(out.Needs) > 0 {
		hint := "; --env-file FILE writes them for a shell"
		if i.EnvFile != "" {
			hint = ": . " + plainly(i.EnvFile)
		}
		fmt.Fprintf(i.sh.err, "its environment must have %s%s\n", strings.Join(out.Needs, ", "), hint)
	}
	for _, s := range fresh {
		if s.Credential != "" && !slices.Contains(out.Added, s.Name) {
			fmt.Fprintf(i.sh.err, "the vault must have %s: --apply puts it there, or PUT /api/v1/secrets/%s\n", s.Credential, s.Credential)
		}
	}
}

// policies says that the starter policies hold nothing until somebody puts them in force, which matters most for what is added already.
func (i *importing) policies(out *imported) {
	switch dir := plainly(i.Policies); {
	case dir != "":
		fmt.Fprintf(i.sh.err, "the bundle in %s: gatewright policy push %s, and activate the revision that it prints; until then it holds nothing\n", dir, dir)
	case len(out.Added) > 0:
		fmt.Fprintln(i.sh.err, "the starter policies are not in force: --policies DIR writes them as a bundle for gatewright policy push and activate")
	}
}

var _ json.Marshaler = (*imported)(nil)

// MarshalJSON keeps lists from being null.
func (o *imported) MarshalJSON() ([]byte, error) {
	type plain imported
	p := plain(*o)
	if p.Needs == nil {
		p.Needs = []string{}
	}
	return json.Marshal(p)
}
