package cli

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/canon"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// maxInput bounds a file or standard input: the gateway takes no plan larger than a few MiB.
const maxInput = 8 << 20

// dataPort are the flags of commands that act as an agent.
type dataPort struct {
	URL            string `help:"Address of the data port (default: $$GATEWRIGHT_URL)." placeholder:"URL"`
	AllowPlaintext bool   `help:"Allow http beyond this machine. Danger: the key travels readable."`
	authority
}

func (d *dataPort) client(sh *shell) (*gatewright.Client, error) {
	url := d.URL
	if url == "" {
		url = sh.getenv("GATEWRIGHT_URL")
	}
	if url == "" {
		return nil, usage("export GATEWRIGHT_URL, or source demo.env in the data folder", "no address of a gateway")
	}
	key := sh.getenv("GATEWRIGHT_API_KEY")
	if key == "" {
		return nil, usage("export GATEWRIGHT_API_KEY=ak_..., or source demo.env in the data folder", "no API key")
	}
	roots, err := d.roots(sh)
	if err != nil {
		return nil, err
	}
	c, err := gatewright.New(gatewright.Config{URL: url, Key: key, AllowPlaintext: d.AllowPlaintext, Roots: roots})
	if err != nil {
		return nil, usage("GATEWRIGHT_URL is scheme://host:port, GATEWRIGHT_API_KEY a runtime key; --allow-plaintext permits http beyond this machine", "%v", err)
	}
	return c, nil
}

// authority says whose word about the gateway's certificate is taken.
type authority struct {
	CA string `help:"Authorities for the gateway's certificate, PEM, in place of the system's (default: $$GATEWRIGHT_CA)." name:"ca" placeholder:"FILE"`
}

// roots reads them; nil stands for the system's.
func (a *authority) roots(sh *shell) (*x509.CertPool, error) {
	file := a.CA
	if file == "" {
		file = sh.getenv("GATEWRIGHT_CA")
	}
	if file == "" {
		return nil, nil //nolint:nilnil // none are given
	}
	b, err := sh.read(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, usage("--ca or GATEWRIGHT_CA names the certificate of the authority, or of the gateway itself, as PEM", "%s holds no certificate", name(file))
	}
	return pool, nil
}

type planCmd struct {
	dataPort
	File  string   `arg:"" optional:"" help:"Draft as JSON; - reads standard input." placeholder:"FILE"`
	Tool  string   `help:"Instead of a draft: plan one call of this tool." placeholder:"SERVER/TOOL"`
	Arg   []string `help:"An argument of that call; the value is JSON if it parses as JSON, else a string; to send the string 7: --arg 'NAME=\"7\"'." placeholder:"NAME=VALUE" sep:"none"`
	Args  string   `help:"All arguments of that call as one JSON object." placeholder:"JSON"`
	Goal  string   `help:"What the plan is for." placeholder:"TEXT"`
	Uses  uint32   `help:"How often the step may be taken; 0 is without limit." default:"1"`
	JSON  bool     `help:"Print the gateway's answer as JSON." name:"json" xor:"form"`
	Quiet bool     `help:"Print the plan's id and nothing else." short:"q" xor:"form"`
}

// Run captures the plan.
func (c *planCmd) Run(sh *shell) error {
	draft, err := c.draft(sh)
	if err != nil {
		return err
	}
	client, err := c.client(sh)
	if err != nil {
		return err
	}
	p, err := client.Plan(sh.ctx, draft)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(p)
	}
	if c.Quiet {
		_, err := fmt.Fprintln(sh.out, clean(p.ID))
		return err
	}
	sh.showPlan(p)
	fmt.Fprintf(sh.err, "hint: gatewright token %s\n", p.ID)
	return nil
}

func (c *planCmd) draft(sh *shell) ([]byte, error) {
	switch {
	case c.File != "" && c.Tool != "":
		return nil, usage("gatewright plan FILE, or gatewright plan --tool SERVER/TOOL --arg NAME=VALUE", "a draft and --tool are both given")
	case c.Tool != "":
		return c.oneStep()
	case len(c.Arg) > 0 || c.Args != "" || c.Goal != "":
		return nil, usage("gatewright plan --tool SERVER/TOOL --arg NAME=VALUE", "--arg, --args and --goal belong to --tool")
	case c.File == "":
		return nil, usage("gatewright plan FILE, or gatewright plan --tool SERVER/TOOL --arg NAME=VALUE", "no draft of a plan")
	}
	b, err := sh.read(c.File)
	if err != nil {
		return nil, err
	}
	if err := canon.Check(b, canon.Limits{Bytes: maxInput, Depth: 64, Values: 1 << 20}); err != nil {
		return nil, usage("a draft is one JSON object: {\"goal\":...,\"steps\":[{\"server\":...,\"tool\":...,\"args\":{...}}]}", "%s is not strict JSON: %v", name(c.File), err)
	}
	return b, nil
}

func (c *planCmd) oneStep() ([]byte, error) {
	server, tool, err := splitTool(c.Tool)
	if err != nil {
		return nil, err
	}
	args, err := arguments(c.Arg, c.Args)
	if err != nil {
		return nil, err
	}
	b := canon.AppendString([]byte(`{"goal":`), c.Goal)
	b = canon.AppendString(append(b, `,"steps":[{"server":`...), server)
	b = canon.AppendString(append(b, `,"tool":`...), tool)
	return fmt.Appendf(b, `,"uses":%d,"args":%s}]}`, c.Uses, args), nil
}

func (sh *shell) showPlan(p *gatewright.Plan) {
	fmt.Fprintf(sh.out, "plan    %s\nroot    %s\n", clean(p.ID), p.Root)
	if !p.Expires.IsZero() {
		fmt.Fprintf(sh.out, "expires %s\n", p.Expires.Format(time.RFC3339))
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STEP\tTOOL\tUSES\tAFTER")
	for _, s := range p.Steps {
		uses, after := "any", strings.Trim(fmt.Sprint(s.After), "[]")
		if s.Uses > 0 {
			uses = fmt.Sprint(s.Uses)
		}
		if after == "" {
			after = "-"
		}
		fmt.Fprintf(w, "%d\t%s/%s\t%s\t%s\n", s.Index, clean(s.Server), clean(s.Tool), uses, after)
	}
	_ = w.Flush() // the writer is sh.out; a broken one shows at the next print
}

type tokenCmd struct {
	dataPort
	Plan string        `arg:"" help:"Id of the plan." placeholder:"PLAN_ID"`
	TTL  time.Duration `help:"Lifetime, in whole seconds (default: the gateway's)." name:"ttl" placeholder:"DURATION"`
}

// Run prints the token and nothing else on standard output.
func (c *tokenCmd) Run(sh *shell) error {
	if c.TTL < 0 || c.TTL%time.Second != 0 {
		return usage("write it as 90s, 15m or 2h", "--ttl %s: want whole seconds above zero", c.TTL)
	}
	client, err := c.client(sh)
	if err != nil {
		return err
	}
	t, err := client.Token(sh.ctx, c.Plan, c.TTL)
	if err != nil {
		return err
	}
	fmt.Fprintln(sh.out, t.Token)
	fmt.Fprintf(sh.err, "token %s", clean(t.ID))
	if !t.Expires.IsZero() {
		fmt.Fprintf(sh.err, ", expires %s", t.Expires.Format(time.RFC3339))
	}
	fmt.Fprintln(sh.err, "\nhint: export GATEWRIGHT_INTENT=$(gatewright token ...), then gatewright call SERVER/TOOL")
	return nil
}

type callCmd struct {
	dataPort
	Tool    string   `arg:"" help:"The tool to call." placeholder:"SERVER/TOOL"`
	Arg     []string `help:"An argument; the value is JSON if it parses as JSON, else a string." placeholder:"NAME=VALUE" sep:"none"`
	Args    string   `help:"All arguments as one JSON object." placeholder:"JSON"`
	Token   string   `help:"Intent token (default: $$GATEWRIGHT_INTENT, which other users of the machine cannot see)." placeholder:"TOKEN"`
	Prove   int      `help:"Prove this step locally instead of letting the gateway find it; needs --plan." default:"-1" placeholder:"STEP"`
	Plan    string   `help:"Id of the plan that --prove proves from." placeholder:"PLAN_ID"`
	Retry   string   `help:"Idempotency key: the same call again gets the first answer." placeholder:"KEY"`
	Receipt string   `help:"Write the receipt to this file, also when refused." placeholder:"FILE"`
	JSON    bool     `help:"Print result, record and receipt as JSON." name:"json"`
}

// Run makes the call.
func (c *callCmd) Run(sh *shell) error {
	server, tool, err := splitTool(c.Tool)
	if err != nil {
		return err
	}
	args, err := arguments(c.Arg, c.Args)
	if err != nil {
		return err
	}
	client, err := c.client(sh)
	if err != nil {
		return err
	}
	call := gatewright.Call{Server: server, Tool: tool, Args: args, Token: c.Token, Retry: c.Retry}
	if call.Token == "" {
		call.Token = sh.getenv("GATEWRIGHT_INTENT")
	}
	if call.Proof, err = c.proof(sh, client); err != nil {
		return err
	}
	r, err := client.Call(sh.ctx, call)
	if err != nil {
		if refused, ok := errors.AsType[*gatewright.Error](err); ok {
			sh.tellFiltered(refused.Receipt)
			return errors.Join(err, c.keep(refused.Receipt))
		}
		return err
	}
	sh.tellFiltered(r.Receipt)
	if err := c.keep(r.Receipt); err != nil {
		return err
	}
	return c.show(sh, r)
}

func (c *callCmd) proof(sh *shell, client *gatewright.Client) (*gatewright.Proof, error) {
	if c.Prove < 0 && c.Plan == "" {
		return nil, nil //nolint:nilnil // no proof is asked for
	}
	if c.Prove < 0 || c.Plan == "" {
		return nil, usage("gatewright call SERVER/TOOL --plan PLAN_ID --prove STEP", "--prove and --plan go together")
	}
	p, err := client.GetPlan(sh.ctx, c.Plan)
	if err != nil {
		return nil, err
	}
	return p.Proof(c.Prove)
}

// keep writes a receipt to the file asked for.
func (c *callCmd) keep(receipt string) error {
	if c.Receipt == "" {
		return nil
	}
	if receipt == "" {
		return &hinted{errors.New("the answer has no receipt"), "ledger.receipts is off at the gateway, or the refusal came before the call was known"}
	}
	if err := os.WriteFile(c.Receipt, []byte(receipt+"\n"), 0o644); err != nil { //nolint:gosec // a receipt is meant to be shown
		return fmt.Errorf("keep receipt: %w", err)
	}
	return nil
}

// tellFiltered says what filters found in a call, as its receipt has it. It is a notice and no proof: the receipt is the
// gateway's own word, and whoever wants it verified has gatewright verify. A receipt that cannot be read says nothing.
func (sh *shell) tellFiltered(receipt string) {
	r, err := ledger.ParseReceipt([]byte(strings.TrimSpace(receipt)))
	if err != nil {
		return
	}
	if rec, err := r.Record(); err == nil && len(rec.Labels) > 0 {
		fmt.Fprintf(sh.err, "filtered: %s\n", labels(&rec))
	}
}

func (c *callCmd) show(sh *shell, r *gatewright.Result) error {
	if c.JSON {
		err := sh.json(map[string]any{"result": r.Raw, "record": r.Record, "receipt": r.Receipt, "salt": r.Salt})
		if err != nil {
			return err
		}
	} else {
		text := r.Text()
		if text == "" {
			text = string(r.Raw)
		}
		fmt.Fprintln(sh.out, cleanText(text))
		fmt.Fprintf(sh.err, "record %s\n", clean(r.Record))
	}
	if r.IsError {
		return &hinted{errors.New("the tool reports an error"), "the call was permitted; what the tool says of it stands above"}
	}
	return nil
}

// splitTool reads SERVER/TOOL.
func splitTool(s string) (server, tool string, err error) {
	server, tool, ok := strings.Cut(s, "/")
	if !ok || server == "" || tool == "" {
		return "", "", usage("write SERVER/TOOL, for example demo/calculate", "%q names no tool of a server", s)
	}
	return server, tool, nil
}

// arguments makes one JSON object of NAME=VALUE pairs, or checks the one given whole.
func arguments(pairs []string, whole string) (json.RawMessage, error) {
	if whole != "" {
		if len(pairs) > 0 {
			return nil, usage("put everything into one of them", "--arg and --args are both given")
		}
		err := canon.Check([]byte(whole), canon.DefaultLimits())
		if err != nil || canon.KindOf(bytes.TrimSpace([]byte(whole))) != '{' {
			return nil, usage(`quote it for the shell: --args '{"path":"/a"}'`, "--args is not one strict JSON object")
		}
		return json.RawMessage(whole), nil
	}
	b, seen := []byte{'{'}, map[string]bool{}
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || key == "" {
			return nil, usage("write --arg path=/a, or --arg limit=3", "--arg %q is not NAME=VALUE", pair)
		}
		if seen[key] {
			return nil, usage("give each argument once; a list is JSON: --arg 'ids=[1,2]'", "--arg %s is given twice", key)
		}
		seen[key] = true
		if i > 0 {
			b = append(b, ',')
		}
		b = append(canon.AppendString(b, key), ':')
		if canon.Check([]byte(value), canon.DefaultLimits()) == nil {
			b = append(b, value...)
		} else {
			b = canon.AppendString(b, value)
		}
	}
	return append(b, '}'), nil
}

// read reads a file, or standard input for "-", within a bound.
func (sh *shell) read(file string) ([]byte, error) {
	in := sh.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, usage("check the name and its permissions", "%v", err)
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, usage("check the name and its permissions", "read %s: %v", name(file), err)
	}
	if len(b) > maxInput {
		return nil, usage("is it the right file?", "%s is larger than %d bytes", name(file), maxInput)
	}
	return b, nil
}

func name(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}
