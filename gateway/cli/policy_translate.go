package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/gatewright/gatewright/policies/foreign"
	"github.com/gatewright/gatewright/policies/layout"
)

type policyTranslateCmd struct {
	From string `help:"Whose policies they are: toolhive, agentcore, aiidentity or armoriq." enum:"toolhive,agentcore,aiidentity,armoriq" required:""`
	File string `arg:"" help:"Cedar policies, or JSON of AI Identity or ArmorIQ; - is standard input." type:"path"`
	foreignNames
	rulesNames
	JSON bool `help:"Print JSON." name:"json"`
}

// foreignNames are the flags that say what the other gateway's names mean here.
type foreignNames struct {
	Server  string   `help:"The server here that the other gateway stands before; '*' for all of them. For policies that name none." placeholder:"NAME"`
	Servers []string `help:"What a server or target there is called here (repeatable)." name:"rename" placeholder:"THERE=HERE" sep:"none"`
	Clients []string `help:"Who a subject there is here, as 'ada=User::\"usr_...\"' (repeatable)." name:"client" placeholder:"SUB=ENTITY" sep:"none"`
	Groups  []string `help:"Which group here has those with a claim, as 'department=finance=Team::\"money\"' (repeatable)." name:"group" placeholder:"CLAIM=VALUE=ENTITY" sep:"none"`
}

func (f *foreignNames) names(file string) (n foreign.Names, err error) {
	n.File, n.Server = file, f.Server
	if n.Servers, err = pairs("--rename", f.Servers, "="); err != nil {
		return n, err
	}
	if n.Clients, err = pairs("--client", f.Clients, "=Agent::", "=User::"); err != nil {
		return n, err
	}
	n.Groups, err = pairs("--group", f.Groups, "=Team::", "=Role::")
	return n, err
}

// pairs takes KEY=VALUE apart before one of the separators, which belong to the value but for the sign itself.
func pairs(flag string, list []string, seps ...string) (map[string]string, error) {
	out := map[string]string{}
	for _, item := range list {
		at := -1
		for _, sep := range seps {
			at = max(at, strings.Index(item, sep))
		}
		if at <= 0 || at == len(item)-1 {
			return nil, usage("`gatewright policy translate --help` shows how each is written", "%s %q is not of its form", flag, item)
		}
		key := item[:at]
		if _, twice := out[key]; twice {
			return nil, usage("give it once", "%s says of %q two things", flag, key)
		}
		out[key] = item[at+1:]
	}
	return out, nil
}

// maxForeignFile bounds what is translated, in bytes.
const maxForeignFile = 1 << 20

func (c *policyTranslateCmd) text(sh *shell) ([]byte, error) {
	if c.File != "-" {
		return readBounded(c.File, maxForeignFile)
	}
	b, err := io.ReadAll(io.LimitReader(sh.in, maxForeignFile+1))
	if err != nil || len(b) > maxForeignFile {
		return nil, usage("give less at once", "standard input cannot be read, or has more than %d bytes: %v", maxForeignFile, err)
	}
	return b, nil
}

// Run prints the policies in this gateway's words, and on standard error what people have to look after.
func (c *policyTranslateCmd) Run(sh *shell) error {
	text, err := c.text(sh)
	if err != nil {
		return err
	}
	if c.From == "aiidentity" || c.From == "armoriq" {
		return c.rules(sh, text)
	}
	n, err := c.names(c.File)
	if err != nil {
		return err
	}
	out, notes, err := foreign.Translate(c.From, text, n)
	if err != nil {
		return err
	}
	laid, err := layout.Format(string(out))
	if err != nil {
		return fmt.Errorf("lay out: %w", err)
	}
	if c.JSON {
		return sh.json(map[string]any{"cedar": laid, "notes": notes})
	}
	for _, s := range notes {
		fmt.Fprintf(sh.err, "note: %s\n", plainLine(s))
	}
	fmt.Fprintf(sh.out, "%s\n", strings.TrimRight(laid, "\n"))
	return nil
}
