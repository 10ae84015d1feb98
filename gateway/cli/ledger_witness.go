package cli

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type ledgerWitnessCmd struct {
	controlPort
	Now  bool `help:"Ask every witness to cosign the next checkpoint, and wait for it."`
	JSON bool `help:"Print JSON." name:"json"`
}

// Run shows who cosigns the ledger, and whose ledgers this gateway cosigns. It fails when a witness did not cosign.
func (c *ledgerWitnessCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	ask := a.Witnesses
	if c.Now {
		ask = a.CosignNow
	}
	w, err := ask(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		err = sh.json(w)
	} else {
		err = sh.showWitnesses(w)
		c.showBlocks(sh, w)
	}
	if err != nil {
		return err
	}
	for _, x := range w.Witnesses {
		if x.Error != "" {
			return &hinted{fmt.Errorf("witness %s: %s", clean(x.Name), clean(oneLine(x.Error))), "the gateway's log has the whole cause; a management key of the instance sees it here (production mode prints one at its first start)"}
		}
	}
	return nil
}

// showBlocks prints what two gateways paste into their gateway.hcl so that one witnesses the other.
func (c *ledgerWitnessCmd) showBlocks(sh *shell, w *gatewright.Witnesses) {
	if w.Origin == "" || len(w.LogKeys) == 0 || len(w.Keys) == 0 {
		return // an earlier version answered
	}
	url := c.URL
	if url == "" {
		url = sh.getenv("GATEWRIGHT_CONTROL_URL")
	}
	fmt.Fprintln(sh.out, "\ngive this to a witness: with it in its gateway.hcl it cosigns this gateway's ledger")
	printLogBlock(sh.out, w.Origin, w.LogKeys[:1])
	fmt.Fprintln(sh.out, "\ngive this to a log: with it in its gateway.hcl it is cosigned here (url: as that machine reaches this control port)")
	fmt.Fprintf(sh.out, "ledger {\n  witness %q {\n    url = %q\n    key = %q\n  }\n}\n",
		blockName(w.Keys[0]), clean(strings.TrimSuffix(url, "/"))+"/witness", clean(w.Keys[0]))
}

// printLogBlock prints what a witness has to know of a log.
func printLogBlock(out io.Writer, origin string, keys []string) {
	fmt.Fprintf(out, "witness {\n  log %q {\n    origin = %q\n    keys = [", blockName(origin), clean(origin))
	for i, k := range keys {
		if i > 0 {
			fmt.Fprint(out, ", ")
		}
		fmt.Fprintf(out, "%q", clean(k))
	}
	fmt.Fprintln(out, "]\n  }\n}")
}

// blockName makes a name for a block of the host that an origin or a key's name begins with.
func blockName(text string) string {
	host, _, _ := strings.Cut(text, "/")
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(host)), "-")
	return cmp.Or(name[:min(len(name), 63)], "peer")
}

// longKey is the length from which a key is not shown whole to people: that of ML-DSA-44 has 1,800 characters.
const longKey = 400

func (sh *shell) showWitnesses(w *gatewright.Witnesses) error {
	fmt.Fprintln(sh.out, "this gateway as a witness has the keys (one of them is what a log is given):")
	for _, k := range w.Keys {
		if len(k) > longKey {
			k = keyName(k) + "+... (ML-DSA-44; --json has it whole)"
		}
		fmt.Fprintln(sh.out, " ", clean(k))
	}
	out := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	if len(w.Witnesses) == 0 {
		fmt.Fprintln(out, "no witness cosigns this gateway's ledger: nobody else could say that it was cut back")
	} else {
		fmt.Fprintln(out, "WITNESS\tCOSIGNED\tAT\tLAST ASKED\tPROBLEM\tKEY")
	}
	for _, x := range w.Witnesses {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", clean(x.Name), leaves(x.Size, x.At), orNever(x.At), orNever(x.Asked), orNone(x.Error), keyName(x.Key))
	}
	if len(w.Logs) > 0 {
		fmt.Fprintln(out, "WITNESSED LOG\tCOSIGNED\tAT\tPROBLEM")
	}
	for _, l := range w.Logs {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", clean(l.Origin), leaves(l.Size, l.At), orNever(l.At), orNone(l.Error))
	}
	return out.Flush()
}

// leaves is the size of what was cosigned, if anything was.
func leaves(n uint64, at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return strconv.FormatUint(n, 10)
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return moment(t)
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return clean(oneLine(s))
}

// keyName shortens a verifier key to name and hash.
func keyName(key string) string {
	plus := 0
	for i := range len(key) {
		if key[i] == '+' {
			if plus++; plus == 2 {
				return clean(key[:i])
			}
		}
	}
	return clean(key)
}
