package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// proveWait is how long a record is waited for that no checkpoint covers yet.
const proveWait = 30 * time.Second

type ledgerProveCmd struct {
	Record  string `arg:"" optional:"" help:"Id of the record, or its index." placeholder:"ID|INDEX"`
	Receipt string `help:"A receipt, a file that holds one, or - for standard input: its record is proved." placeholder:"FILE"`
	Out     string `help:"Write the proof to this file, which must not exist; by custom it ends in .tlog-proof. Default: standard output." placeholder:"FILE"`
	URL     string `help:"Address of the control port (default: $$GATEWRIGHT_CONTROL_URL); without a management key, of the data port (default: $$GATEWRIGHT_URL), for one's own records." placeholder:"URL"`

	AllowPlaintext bool `help:"Allow http beyond this machine. Danger: the key travels readable."`
	authority
}

// Run fetches the proof of a record.
func (c *ledgerProveCmd) Run(sh *shell) error {
	name, leaf, err := c.subject(sh)
	if err != nil {
		return err
	}
	fetch, err := c.side(sh)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(sh.ctx, proveWait)
	defer cancel()
	text, err := fetch(ctx, name)
	if refused, ok := errors.AsType[*gatewright.Error](err); ok && refused.Code == "not_found" {
		return &hinted{err, "a management key sees its own organisation's records only, an agent's key its own; another gateway has others"}
	}
	if err != nil {
		return err
	}
	p, err := ledger.ParseProof(text)
	if err != nil {
		return err
	}
	if leaf != nil {
		if err := leads(p, leaf); err != nil {
			return err
		}
	}
	return c.write(sh, text, p)
}

// subject says which record is meant, and its bytes when a receipt carries them.
func (c *ledgerProveCmd) subject(sh *shell) (name string, leaf []byte, err error) {
	if (c.Record == "") == (c.Receipt == "") {
		return "", nil, usage("name a record, or give --receipt FILE", "one record is proved at a time")
	}
	if c.Receipt == "" {
		if _, err := strconv.ParseUint(c.Record, 10, 53); err != nil && !ledger.ValidID(c.Record) {
			return "", nil, usage("an id is rec_ and 26 characters, an index counts from 0", "%q names no record", c.Record)
		}
		return c.Record, nil, nil
	}
	text := []byte(c.Receipt)
	if _, bad := ledger.ParseReceipt(text); bad != nil {
		if text, err = sh.read(c.Receipt); err != nil {
			return "", nil, err
		}
	}
	receipt, err := ledger.ParseReceipt([]byte(strings.TrimSpace(string(text))))
	if err != nil {
		return "", nil, err
	}
	r, err := receipt.Record()
	return r.ID, receipt.Leaf, err
}

// side is the port that the key at hand opens.
func (c *ledgerProveCmd) side(sh *shell) (func(ctx context.Context, name string) ([]byte, error), error) {
	if sh.getenv("GATEWRIGHT_ADMIN_KEY") != "" {
		a, err := (&controlPort{c.URL, c.AllowPlaintext, c.authority}).admin(sh)
		if err != nil {
			return nil, err
		}
		return a.Proof, nil
	}
	client, err := (&dataPort{c.URL, c.AllowPlaintext, c.authority}).client(sh)
	if err != nil {
		return nil, err
	}
	return client.Proof, nil
}

// leads refuses a proof of another record than the receipt's. Who signed it, verify looks at.
func leads(p *ledger.Proof, leaf []byte) error {
	cp, err := ledger.ReadCheckpoint(p.Checkpoint)
	if err == nil {
		err = merkle.VerifyInclusion(merkle.LeafHash(leaf), p.Index, cp.Size, p.Hashes, cp.Root)
	}
	if err != nil {
		return &hinted{fmt.Errorf("the gateway's proof is not of this receipt's record: %w", err), "keep receipt and proof: together they show that the ledger was changed"}
	}
	return nil
}

func (c *ledgerProveCmd) write(sh *shell, text []byte, p *ledger.Proof) error {
	cosigned := ""
	if len(p.Extra) > 0 {
		cosigned = ", cosigned"
	}
	if c.Out == "" {
		_, err := sh.out.Write(text)
		return err
	}
	f, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // proofs are for others to read
	if err != nil {
		return fmt.Errorf("write proof: %w", err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write proof: %w", err)
	}
	fmt.Fprintf(sh.out, "proof of record %d%s: %s\n", p.Index, cosigned, c.Out)
	fmt.Fprintln(sh.err, "hint: anybody verifies it offline: gatewright verify PROOF --record FILE --key FILE")
	return nil
}
