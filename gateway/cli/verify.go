package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// pinned are the flags that say whose signatures are believed.
type pinned struct {
	Key  string `help:"Pinned public keys, one a line (default: keys/ledger.pub in the data folder)." placeholder:"FILE"`
	Data string `help:"Data folder." default:"data" placeholder:"DIR"`
}

func (p *pinned) keys(sh *shell) (gatewright.Keys, error) {
	file := p.Key
	if file == "" {
		file = filepath.Join(p.Data, "keys", "ledger.pub")
	}
	b, err := sh.read(file)
	if err != nil {
		return nil, usage("--key FILE names the gateway's public key, as its operator gave it to you", "no key to verify with: %v", err)
	}
	keys, err := gatewright.ParseKeys(b)
	if err == nil && p.Key == "" { // the folder's own list: its first key vouches for the others
		_, err = ledger.OpenKeyList(b, keys[0])
	}
	if err != nil {
		return nil, usage("a key line is name+hash+base64", "%s: %v", name(file), err)
	}
	return keys, nil
}

type verifyCmd struct {
	pinned
	Receipt string `arg:"" help:"A receipt, a file that holds one, or - for standard input; a checkpoint likewise; or a file that is an export, an absence proof or a .tlog-proof." name:"what"`
	Args    string `help:"Also check that the record is about these arguments: as they were sent or, where a filter rewrote them, as it left them." placeholder:"JSON"`
	Salt    string `help:"The Gatewright-Salt that came with the answer; needed for --args." placeholder:"SALT"`
	JSON    bool   `help:"Print the record as JSON." name:"json"`

	Record    string `help:"The record that a .tlog-proof is about: a file as ledger show --json prints it, a line of records.jsonl, or its receipt." placeholder:"FILE"`
	Witnesses string `help:"Public keys of witnesses, one a line, who must have cosigned what a .tlog-proof leads to." placeholder:"FILE"`
	Need      *int   `help:"How many of the witnesses (default: all of them)." placeholder:"K"`
}

// Run verifies a receipt, an export or a proof without a network.
func (c *verifyCmd) Run(sh *shell) error {
	if known, err := c.file(sh); known {
		return err
	}
	if (c.Args == "") != (c.Salt == "") {
		return usage("both came with the call: gatewright call --json prints the salt", "--args and --salt go together")
	}
	text, err := c.text(sh)
	if err != nil {
		return err
	}
	if _, err := ledger.ReadCheckpoint([]byte(text)); err == nil {
		return c.checkpoint(sh, []byte(text))
	}
	if err := c.fits(false, true); err != nil {
		return err
	}
	keys, err := c.keys(sh)
	if err != nil {
		return err
	}
	v, err := gatewright.VerifyReceipt(text, keys)
	if err != nil {
		if _, bad := ledger.ParseReceipt([]byte(strings.TrimSpace(text))); bad != nil {
			return &hinted{err, verifiedKinds}
		}
		return &hinted{err, "the receipt was changed, or another gateway made it; compare the pinned keys"}
	}
	if c.Args != "" && !v.CoversArguments(c.Salt, []byte(c.Args)) {
		return &hinted{fmt.Errorf("%w: the record is about other arguments", gatewright.ErrReceipt), otherArguments(&v.Record)}
	}
	if c.JSON {
		return sh.json(map[string]any{"verified": true, "origin": v.Origin, "record": json.RawMessage(v.Leaf)})
	}
	sh.showRecord(v)
	return nil
}

// otherArguments says what to do when a record is about other arguments. It commits to those that went on to the tool,
// which the caller of a filtered call has not seen.
func otherArguments(r *ledger.Record) string {
	switch {
	case strings.Contains(r.Detail, "arguments rewritten"):
		return "a filter rewrote the arguments before they were recorded: those sent do not verify, the rewritten ones do"
	case len(r.Labels) > 0:
		return "filters found " + labels(r) + ": if one rewrote the arguments before they were recorded, those sent do not verify and the rewritten ones do"
	}
	return "give the arguments byte for byte as they were sent"
}

// labels are what filters found in a call.
func labels(r *ledger.Record) string { return clean(strings.Join(r.Labels, " ")) }

// text finds the receipt: standard input, a file of that name, or the argument itself.
func (c *verifyCmd) text(sh *shell) (string, error) {
	file := c.Receipt
	if file != "-" {
		_, err := os.Stat(file)
		if err != nil {
			if _, bad := ledger.ParseReceipt([]byte(strings.TrimSpace(file))); bad != nil && (errors.Is(err, fs.ErrNotExist) || strings.ContainsAny(file, "./")) && len(file) < 256 {
				return "", usage("give a file, a receipt, or - for standard input", "%q is neither a file nor a receipt", file)
			}
			return file, nil
		}
	}
	b, err := sh.read(file)
	return string(b), err
}

func (sh *shell) showRecord(v *gatewright.Verified) {
	r := &v.Record
	fmt.Fprintf(sh.out, "verified: signed by %s\n", clean(v.Origin))
	row := func(label, value string) {
		if value != "" {
			fmt.Fprintf(sh.out, "  %-8s %s\n", label, clean(value))
		}
	}
	row("record", r.ID)
	row("kind", r.Label())
	row("time", time.UnixMicro(r.Time).UTC().Format(time.RFC3339Nano))
	row("tenant", r.Tenant)
	row("agent", r.Agent)
	if r.Tool != "" {
		row("tool", r.Server+"/"+r.Tool)
	}
	row("plan", r.PlanID)
	row("of", r.Of)
	row("outcome", r.Outcome)
	row("code", r.Code)
	row("detail", r.Detail)
	row("labels", labels(r))
}
