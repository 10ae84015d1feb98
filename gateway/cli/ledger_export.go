package cli

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger/export"
)

// recordFilter are the flags that choose records. All that are given must hold.
type recordFilter struct {
	From    uint64 `name:"from-index" help:"Index of the first record." placeholder:"INDEX"`
	To      uint64 `name:"to-index" help:"Index behind the last record (default: the published checkpoint's size)." placeholder:"INDEX"`
	Since   string `help:"Records of this time and later: 2026-11-22, 2026-11-22T08:00:00Z, or 24h ago as 24h." placeholder:"TIME"`
	Until   string `help:"Records before this time." placeholder:"TIME"`
	Agent   string `help:"Records of this agent." placeholder:"AGENT_ID"`
	User    string `help:"Records of this person." placeholder:"USER_ID"`
	Server  string `help:"Records about this server."`
	Tool    string `help:"Records about this tool; SERVER/TOOL names its server too."`
	Kind    string `help:"Records of this kind: admitted, settled, refused, plan, token, approval, admin, ..."`
	Verdict string `help:"Records with this verdict: allow, deny."`
	Code    string `help:"Records with this reason, as policy_denied."`
	Outcome string `help:"Records with this outcome: ok, tool_error, ..."`
}

func (f *recordFilter) filter() (gatewright.RecordFilter, error) {
	out := gatewright.RecordFilter{
		From: f.From, To: f.To, Agent: f.Agent, User: f.User, Server: f.Server, Tool: f.Tool, Kind: f.Kind,
		Verdict: f.Verdict, Code: f.Code, Outcome: f.Outcome,
	}
	err := closed(f.Verdict, f.Outcome)
	if err != nil {
		return out, err
	}
	if out.Since, err = instant("--since", f.Since); err != nil {
		return out, err
	}
	out.Until, err = instant("--until", f.Until)
	return out, err
}

// instant is momentOf; nil when none is given.
func instant(flag, text string) (*time.Time, error) {
	t, err := momentOf(flag, text, time.Now())
	if err != nil || t.IsZero() {
		return nil, err
	}
	t = t.UTC().Truncate(time.Microsecond)
	return &t, nil
}

type ledgerExportCmd struct {
	controlPort
	recordFilter
	Format  string `help:"What stands beside the records: jsonl (nothing), csv, pdf (a report), or ai-identity." enum:"jsonl,csv,pdf,ai-identity" default:"jsonl"`
	Out     string `help:"The ZIP archive to write; .zip is added when it is missing." short:"o" required:"" placeholder:"FILE.zip"`
	Limit   int    `help:"Refuse when more records match (default: a million)." placeholder:"N"`
	Subject string `help:"Everything about this person or agent, with its sealed arguments opened: for access requests, before an erasure. Takes an Admin's key." placeholder:"ID"`
	Force   bool   `help:"Replace the file if it is there."`
}

// Run writes an export to a file.
func (c *ledgerExportCmd) Run(sh *shell) error {
	in := gatewright.NewExport{Format: c.Format, Limit: c.Limit, Subject: c.Subject}
	var err error
	if in.Filter, err = c.filter(); err != nil {
		return err
	}
	if !strings.EqualFold(filepath.Ext(c.Out), ".zip") {
		c.Out += ".zip" // a spreadsheet or a PDF reader must not be led to open it
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	var got *gatewright.Download
	err = download(c.Out, c.Force, func(w io.Writer) (err error) {
		got, err = a.Export(sh.ctx, in, w)
		return err
	})
	if err != nil {
		return brokeOff(err)
	}
	if got.Key != "" {
		if err := os.WriteFile(c.Out+".key", []byte(got.Key+"\n"), 0o600); err != nil {
			return fmt.Errorf("write the chain's key: %w", err)
		}
		fmt.Fprintf(sh.err, "the key of its chain is in %s: export AI_IDENTITY_HMAC_KEY=$(cat %s)\n", clean(c.Out+".key"), clean(c.Out+".key"))
	}
	fmt.Fprintln(sh.out, clean(c.Out))
	if held := contents(c.Out); held != "" {
		fmt.Fprintln(sh.err, clean(held))
	}
	fmt.Fprintf(sh.err, "record %s\nhint: gatewright verify %s --key FILE proves every record in it, offline\n", got.Record, clean(c.Out))
	return nil
}

// contents says what an export holds, as its manifest does; verify proves it.
func contents(file string) string {
	z, err := zip.OpenReader(file)
	if err != nil {
		return ""
	}
	defer func() { _ = z.Close() }() // only read
	f, err := z.Open("manifest.json")
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	var m export.Manifest
	if err := json.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&m); err != nil {
		return ""
	}
	if m.Count == 0 {
		return fmt.Sprintf("no record matches; checkpoint of %d records", m.Checkpoint.Size)
	}
	var names []string
	for _, f := range m.Files {
		names = append(names, f.Name)
	}
	return fmt.Sprintf("a ZIP archive of %d records: %s; checkpoint of %d", m.Count, strings.Join(names, ", "), m.Checkpoint.Size)
}

type ledgerAbsenceCmd struct {
	controlPort
	Agent  string `help:"The agent." required:"" placeholder:"AGENT_ID"`
	Server string `help:"The server (default: any)."`
	Tool   string `help:"The tool, or SERVER/TOOL (default: any)."`
	From   uint64 `name:"from-index" help:"Index of the first record that is looked at (default: the first that is kept)." placeholder:"INDEX"`
	To     uint64 `name:"to-index" help:"Index behind the last one (default: the published checkpoint's size)." placeholder:"INDEX"`
	Held   string `name:"checkpoint" help:"A checkpoint of exactly --from-index records that you hold: the proof then shows that the range began with it." placeholder:"FILE"`
	Out    string `help:"The file to write." short:"o" required:"" placeholder:"FILE"`
	Force  bool   `help:"Replace the file if it is there."`
}

// Run writes an absence proof to a file. What it says is for verify to find out.
func (c *ledgerAbsenceCmd) Run(sh *shell) error {
	in := gatewright.AbsenceQuestion{Agent: c.Agent, Server: c.Server, Tool: c.Tool, From: c.From, To: c.To}
	if c.Held != "" {
		b, err := sh.read(c.Held)
		if err != nil {
			return err
		}
		in.Since = string(b)
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	var got *gatewright.Download
	err = download(c.Out, c.Force, func(w io.Writer) (err error) {
		got, err = a.ProveAbsence(sh.ctx, in, w)
		return err
	})
	if err != nil {
		return brokeOff(err)
	}
	fmt.Fprintln(sh.out, clean(c.Out))
	fmt.Fprintf(sh.err, "record %s\nhint: gatewright verify %s --key FILE looks at every record in it and says what is proved\n", got.Record, clean(c.Out))
	return nil
}

// download writes a file that appears whole or not at all.
func download(name string, replace bool, fill func(w io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil && !replace {
		return usage("choose another name, or --force", "%s is there already", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".gatewright-*")
	if err != nil {
		return usage("--out names a file in a folder that is there", "%v", err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it may be gone; the first error tells
	}
	return err
}

// brokeOff adds to an answer that broke off where the gateway says why.
func brokeOff(err error) error {
	if errors.Is(err, gatewright.ErrUnreachable) {
		return &hinted{err, "nothing was written; if the answer broke off, the gateway's log and the outcome of the request in its ledger say why"}
	}
	return err
}
