package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/gatewright/gatewright/merkle/ledger/publish"
	"github.com/gatewright/gatewright/merkle/ledger/wal"
)

type ledgerCmd struct {
	List   ledgerListCmd   `cmd:"" help:"List records by time, agent, tool and more, newest first (control port)."`
	Stats  ledgerStatsCmd  `cmd:"" help:"Add records up: by kind, verdict, agent, tool, hour and more (control port)."`
	Show   ledgerShowCmd   `cmd:"" help:"Show a record by its id or index (control port)."`
	Verify ledgerVerifyCmd `cmd:"" help:"Verify a whole ledger offline, byte by byte."`

	Prove       ledgerProveCmd       `cmd:"" help:"Fetch the proof that a record stands in the ledger, or upgrade a receipt to one."`
	Checkpoint  ledgerCheckpointCmd  `cmd:"" help:"Fetch the signed checkpoint, to be kept elsewhere (control port)."`
	Consistency ledgerConsistencyCmd `cmd:"" help:"Prove that the ledger only grew since a checkpoint that you hold, or between two sizes (control port)."`

	Export  ledgerExportCmd  `cmd:"" help:"Export records as an archive that proves itself (control port)."`
	Absence ledgerAbsenceCmd `cmd:"" help:"Prove that an agent did not call a tool (control port)."`

	RotateKey ledgerRotateCmd `cmd:"" name:"rotate-key" help:"Give the ledger another signing key (offline)."`

	Restore ledgerRestoreCmd `cmd:"" help:"Let a ledger that was put back from a backup go on, openly (offline)."`
	Witness ledgerWitnessCmd `cmd:"" help:"Show who cosigns the ledger's checkpoints, and ask them now (control port)."`

	Sinks   ledgerSinksCmd   `cmd:"" help:"Show the receivers of ledger events and how far each is behind (control port)."`
	Hold    ledgerHoldCmd    `cmd:"" help:"Put the organisation under legal hold, or show the hold (control port)."`
	Release ledgerReleaseCmd `cmd:"" help:"End the legal hold (control port)."`
	Prune   ledgerPruneCmd   `cmd:"" help:"Give up records that are kept no longer (control port)."`
	Erase   ledgerEraseCmd   `cmd:"" help:"Destroy the key of what is sealed about a person or an agent (control port)."`
}

type ledgerVerifyCmd struct {
	pinned
	K0   string `help:"The chain's first key, exported when the ledger was made; default: keys/ledger.k0 in the data folder while it lies there. Without it the chain of MACs is not checked." name:"k0" placeholder:"FILE"`
	JSON bool   `help:"Print the report as JSON." name:"json"`
}

// progressEvery is how many bytes lie between two lines of progress: about a second of work.
const progressEvery = 256 << 20

// Run verifies the ledger without a network and without changing it.
func (c *ledgerVerifyCmd) Run(sh *shell) error {
	rep, err := c.verify(sh)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return err
	}
	if c.JSON {
		if jsonErr := sh.json(map[string]any{"verified": err == nil, "report": shapeReport(&rep)}); jsonErr != nil {
			return jsonErr
		}
	} else {
		sh.showReport(&rep, err == nil)
	}
	if err != nil {
		if errors.Is(err, wal.ErrKeys) {
			return &hinted{err, "--k0 is the key exported when this very ledger was made"}
		}
		return &hinted{err, "a ledger in use may end in a record that is being written: stop the gateway and verify again; otherwise keep the folder as it is"}
	}
	return nil
}

// verify finds the keys and the ledger, and reads every byte of it. A usageError is about what was given.
func (c *ledgerVerifyCmd) verify(sh *shell) (wal.Report, error) {
	keys, err := c.keys(sh)
	if err != nil {
		return wal.Report{}, err
	}
	o := publish.VerifyOptions{Keys: keys}
	if c.K0 == "" {
		c.K0 = c.lyingKey()
	}
	if c.K0 != "" {
		if o.K0, err = c.firstKey(sh); err != nil {
			return wal.Report{}, err
		}
	}
	told := int64(0)
	o.Progress = func(n int64) {
		if n-told >= progressEvery {
			told = n
			fmt.Fprintf(sh.err, "read %d MiB\n", n>>20)
		}
	}
	dir := filepath.Join(c.Data, "ledger")
	if _, err := os.Stat(dir); err != nil {
		return wal.Report{}, usage("--data is the folder that holds keys and ledger", "no ledger: %v", err)
	}
	return publish.Verify(sh.ctx, dir, o)
}

// lyingKey finds k_0 where the gateway exported it, as long as nobody has moved it away and it can be read as it is.
func (c *ledgerVerifyCmd) lyingKey() string {
	path := filepath.Join(c.Data, "keys", "ledger.k0")
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if _, err := plainKey(b); err != nil {
		return ""
	}
	return path
}

func (c *ledgerVerifyCmd) firstKey(sh *shell) ([]byte, error) {
	hint := "--k0 is the file that was exported when the ledger was made"
	b, err := sh.read(c.K0)
	if err != nil {
		return nil, err
	}
	if b, err = plainKey(b); err != nil {
		return nil, usage("export it with the operator's wrapping key first", "%s: %v", name(c.K0), err)
	}
	epoch, key, err := wal.ParseChainKey(b)
	if err != nil {
		return nil, usage(hint, "%s: %v", name(c.K0), err)
	}
	if epoch != 0 {
		return nil, usage(hint, "%s holds the running key of epoch %d, not the first one", name(c.K0), epoch)
	}
	return key, nil
}

// plainKey takes a key out of the form that files of a data folder have ("gatewright/key/v1 raw BASE64"), and
// leaves other files as they are.
func plainKey(file []byte) ([]byte, error) {
	f := strings.Fields(string(file))
	if len(f) != 3 || f[0] != "gatewright/key/v1" {
		return file, nil
	}
	if f[1] != "raw" {
		return nil, errors.New("the key is wrapped")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(f[2])
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	return b, nil
}

func (sh *shell) showReport(r *wal.Report, ok bool) {
	verdict := "verified"
	if !ok {
		verdict = "NOT verified"
	}
	fmt.Fprintf(sh.out, "%s: instance %s, %s in %s\n", verdict, clean(r.Instance), plural(r.Records, "record"), plural(r.Segments, "segment"))
	fmt.Fprintf(sh.out, "  signatures %s, chain %s\n", checked(r.Signatures), checked(r.Chain))
	if r.Pruned > 0 {
		fmt.Fprintf(sh.out, "  begins at segment %d: %s pruned before it; the base left behind is %s\n", r.First, plural(r.Pruned, "record"), signedOrNot(r.BaseSigned))
	}
	if r.Open > 0 {
		fmt.Fprintf(sh.out, "  admitted and not settled: %s\n", plural(r.Open, "call"))
	}
	if r.Unknown > 0 {
		fmt.Fprintf(sh.out, "  of a kind this version does not know: %s\n", plural(r.Unknown, "record"))
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TENANT\tRECORDS\tSIGNED\tROOT")
	for i := range r.Tenants {
		t := &r.Tenants[i]
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", clean(t.Name), t.Size, t.Signed, t.Root)
	}
	_ = w.Flush() // the writer is sh.out; a broken one shows at the next print
	if len(r.Tenants) > 0 {
		fmt.Fprintln(sh.out, "SIGNED: the records that the tenant's checkpoint covers; younger ones are covered by the next")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(sh.out, "note: %s\n", clean(n))
	}
}

func signedOrNot(ok bool) string {
	if ok {
		return "signed"
	}
	return "NOT checked: no pinned keys"
}

func checked(ok bool) string {
	if ok {
		return "checked"
	}
	return "NOT checked"
}

// shapeReport is a report as JSON shows it.
func shapeReport(r *wal.Report) map[string]any {
	tenants := []map[string]any{}
	for i := range r.Tenants {
		t := &r.Tenants[i]
		tenants = append(tenants, map[string]any{"name": t.Name, "size": t.Size, "root": t.Root.String(), "signed": t.Signed})
	}
	notes := r.Notes
	if notes == nil {
		notes = []string{}
	}
	out := map[string]any{
		"instance": r.Instance, "generation": r.Generation, "first_segment": r.First, "pruned": r.Pruned, "base_signed": r.BaseSigned,
		"segments": r.Segments, "records": r.Records, "unknown": r.Unknown, "open": r.Open, "boots": r.Boots,
		"chain_checked": r.Chain, "signatures_checked": r.Signatures, "tenants": tenants, "notes": notes,
	}
	if r.Bad != nil {
		out["bad"] = map[string]any{"segment": r.Bad.Segment, "offset": r.Bad.Offset, "error": r.Bad.Error()}
	}
	return out
}
