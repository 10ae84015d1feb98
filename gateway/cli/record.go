package cli

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/merkle/ledger"
)

type ledgerShowCmd struct {
	controlPort
	Record string `arg:"" help:"Id of the record, as an answer or a refusal names it, or its index." placeholder:"ID|INDEX"`
	JSON   bool   `help:"Print JSON." name:"json"`
}

// Run shows one record of a gateway that runs.
func (c *ledgerShowCmd) Run(sh *shell) error {
	if _, err := strconv.ParseUint(c.Record, 10, 53); err != nil && !ledger.ValidID(c.Record) {
		return usage("an id is rec_ and 26 characters, an index counts from 0", "%q names no record", c.Record)
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	v, err := a.Record(sh.ctx, c.Record)
	if refused, ok := errors.AsType[*gatewright.Error](err); ok && refused.Code == "not_found" {
		return &hinted{err, "a management key sees its own organisation's records only, and another gateway's not at all"}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(v)
	}
	r, err := v.Parse()
	if err != nil {
		return fmt.Errorf("read record: %w", err)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	for _, f := range recordFacts(v, &r) {
		if f[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", f[0], oneLine(plainly(f[1])))
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if r.Kind == ledger.Settled || r.Kind == ledger.Refused {
		fmt.Fprintln(sh.err, "hint: the receipt that came with the answer proves this record to anybody: gatewright verify RECEIPT --key FILE")
	}
	return nil
}

// recordFacts are the lines about a record. Those without a value are not shown.
func recordFacts(v *gatewright.FoundRecord, r *ledger.Record) [][2]string {
	place := fmt.Sprintf("%s at %d", r.ID, v.Index)
	if v.Sealed {
		place += ", with sealed bytes beside it"
	}
	return [][2]string{
		{"record", place},
		{"kind", r.Label()},
		{"time", time.UnixMicro(r.Time).UTC().Format("2006-01-02T15:04:05.000000Z07:00")},
		{"who", recordWho(r)},
		{"what", recordWhat(r)},
		{"verdict", r.Verdict},
		{"code", r.Code},
		{"detail", r.Detail},
		{"outcome", recordOutcome(r)},
		{"stages", recordStages(r)},
		{"plan", recordPlan(r)},
		{"token", r.Token},
		{"policies", strings.Join(r.Policies, ", ")},
		{"labels", strings.Join(r.Labels, ", ")},
		{"about", string(r.Body)},
		recordLeads(v, r),
		{"leaf", v.Leaf},
	}
}

// phrase joins what is there of pairs of a word and a value.
func phrase(pairs ...[2]string) string {
	var out []string
	for _, p := range pairs {
		if p[1] != "" {
			out = append(out, strings.TrimSpace(p[0]+" "+p[1]))
		}
	}
	return strings.Join(out, ", ")
}

func recordWho(r *ledger.Record) string {
	return phrase([2]string{"agent", r.Agent}, [2]string{"user", r.User}, [2]string{"key", r.Key}, [2]string{"from", r.Addr}, [2]string{"organisation", r.Tenant})
}

func recordWhat(r *ledger.Record) string {
	tool := r.Tool
	if r.Server != "" {
		tool = r.Server + "/" + r.Tool
	}
	return phrase([2]string{"", tool}, [2]string{"", r.Op}, [2]string{"over", r.Route})
}

func recordOutcome(r *ledger.Record) string {
	status, took := "", ""
	if r.Status != 0 {
		status = strconv.Itoa(r.Status)
	}
	if r.Micros != 0 {
		took = (time.Duration(r.Micros) * time.Microsecond).String()
	}
	return phrase([2]string{"", r.Outcome}, [2]string{"status", status}, [2]string{"after", took})
}

func recordStages(r *ledger.Record) string {
	out := make([]string, len(r.Stages))
	for i, s := range r.Stages {
		out[i] = s.Name + " " + (time.Duration(s.Micros) * time.Microsecond).String()
	}
	return strings.Join(out, ", ")
}

func recordPlan(r *ledger.Record) string {
	step, uses, until := "", "", ""
	if !r.Plan.IsZero() && r.Step >= 0 {
		step = strconv.Itoa(int(r.Step))
	}
	if r.Uses > 0 {
		uses = strconv.FormatUint(uint64(r.Uses), 10)
	}
	if r.PlanExpires > 0 {
		until = moment(time.Unix(r.PlanExpires, 0))
	}
	id := r.PlanID
	if id == "" && !r.Plan.IsZero() {
		id = "with root " + r.Plan.String()
	}
	return phrase([2]string{"", id}, [2]string{"step", step}, [2]string{"uses at most", uses}, [2]string{"until", until})
}

// recordLeads names the counterpart, or says why there is none.
func recordLeads(v *gatewright.FoundRecord, r *ledger.Record) [2]string {
	name := "became"
	if r.Of != "" {
		name = "of"
	}
	switch {
	case v.Counterpart != nil:
		return [2]string{name, fmt.Sprintf("%s at %d", v.Counterpart.ID, v.Counterpart.Index)}
	case r.Of != "":
		return [2]string{name, r.Of}
	case v.Open:
		return [2]string{name, "nothing yet: the call is not settled"}
	case r.Kind == ledger.Admitted:
		return [2]string{name, "not found: too many records came after it"}
	}
	return [2]string{}
}
