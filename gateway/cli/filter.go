package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/policies/manifest"
)

type filterCmd struct {
	Check    filterCheckCmd    `cmd:"" help:"Judge a module as an upload would be, and say exactly what is wrong with it. Needs no gateway."`
	Push     filterPushCmd     `cmd:"" help:"Upload a module as a new version. It is judged and kept; nothing comes into force."`
	List     filterListCmd     `cmd:"" help:"List the filters, what is in force or tried of each, and what it did."`
	Shadow   filterShadowCmd   `cmd:"" help:"Try a version beside the calls: it is asked and counted, and never obeyed."`
	Activate filterActivateCmd `cmd:"" help:"Put a version in force."`
	Rollback filterRollbackCmd `cmd:"" help:"End what is tried of a filter, or put the version before in force again."`
	Remove   filterRemoveCmd   `cmd:"" help:"Take a filter out of force. Its versions stay."`
	Delete   filterDeleteCmd   `cmd:"" help:"Delete a version that is neither in force nor tried."`
	Logs     filterLogsCmd     `cmd:"" help:"Print the last lines a filter logged, and what the gateway noted about it."`
}

// moduleFiles are what an upload is made of.
type moduleFiles struct {
	Module  string `arg:"" help:"File of the module." placeholder:"FILE.wasm"`
	Config  string `help:"JSON file whose object the filter is shown once, when it starts." placeholder:"FILE"`
	Vectors string `help:"JSON file of calls, each with the verdict it has to get." placeholder:"FILE"`
}

// Bounds of the files, in bytes. The gateway's own are lower, and in its configuration.
const (
	maxModuleFile = 16 << 20
	maxFilterJSON = 4 << 20
)

// What to do about a file of a module.
const (
	moduleHint  = "wasm/guest in the source says how to build one in Go, Rust, AssemblyScript and C"
	missingHint = "give the path of the .wasm file that your compiler wrote"
	sizeHint    = "strip it (-s -w, wasm-opt -Oz --strip-debug): a gateway takes 8 MiB at most, or what its operator says"
	archiveHint = "OPA's bundle holds /policy.wasm: tar -xzf bundle.tar.gz /policy.wasm"
	configHint  = `the file holds an object, such as {"tables": ["salaries"]}`
)

// read returns the module, its configuration and its vectors; the latter two may be nil.
func (f *moduleFiles) read() (module []byte, config, vectors json.RawMessage, err error) {
	if module, err = readModule(f.Module); err != nil {
		return nil, nil, nil, err
	}
	if config, err = readConfig(f.Config); err != nil {
		return nil, nil, nil, err
	}
	vectors, err = readVectors(f.Vectors)
	return module, config, vectors, err
}

// readModule reads what may be a module.
func readModule(name string) ([]byte, error) {
	if at, err := os.Stat(name); err == nil && at.Size() > maxModuleFile {
		return nil, usage(sizeHint, "%s has %d MiB: the limit is %d MiB", name, at.Size()>>20, maxModuleFile>>20)
	} else if errors.Is(err, fs.ErrNotExist) {
		return nil, usage(missingHint, "%v", err)
	}
	b, err := readAtMost(name, maxModuleFile, moduleHint)
	if err != nil {
		return nil, err
	}
	if gzip, tar := bytes.HasPrefix(b, []byte{0x1f, 0x8b}), len(b) > 262 && string(b[257:262]) == "ustar"; gzip || tar {
		return nil, usage(archiveHint, "%s is an archive, not a module", name)
	}
	return b, nil
}

// readConfig reads what a filter is shown once.
func readConfig(name string) (json.RawMessage, error) {
	b, err := readJSON(name, configHint)
	if err == nil && b != nil && !strings.HasPrefix(strings.TrimLeft(string(b), " \t\r\n"), "{") {
		return nil, usage(configHint, "%s does not hold a JSON object", name)
	}
	return b, err
}

// readAtMost reads a file that is not larger than it may be.
func readAtMost(name string, most int64, hint string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, usage(hint, "%v", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, most+1))
	switch {
	case err != nil:
		return nil, usage(hint, "%v", err)
	case int64(len(b)) > most:
		return nil, usage(hint, "%s is larger than %d bytes", name, most)
	case len(b) == 0:
		return nil, usage(hint, "%s is empty", name)
	}
	return b, nil
}

func readJSON(name, hint string) (json.RawMessage, error) {
	if name == "" {
		return nil, nil
	}
	b, err := readAtMost(name, maxFilterJSON, hint)
	if err != nil {
		return nil, err
	}
	if !json.Valid(b) {
		return nil, usage(hint, "%s is not JSON", name)
	}
	return b, nil
}

const vectorsHint = `the file holds {"vectors": [{"name": "a password is refused", "tool": "query", "arguments": {"sql": "..."}, "want": {"verdict": "deny"}}]}`

// readVectors takes {"vectors": [...]} or the array alone.
func readVectors(name string) (json.RawMessage, error) {
	b, err := readJSON(name, vectorsHint)
	if err != nil || b == nil || strings.HasPrefix(strings.TrimLeft(string(b), " \t\r\n"), "[") {
		return b, err
	}
	var file struct {
		Vectors json.RawMessage `json:"vectors"`
	}
	if err := json.Unmarshal(b, &file); err != nil || file.Vectors == nil {
		return nil, usage(vectorsHint, "%s holds no vectors", name)
	}
	return file.Vectors, nil
}

type filterPushCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the filter: 1 to 64 of a-z, 0-9, '.', '_' and '-'."`
	moduleFiles
	JSON bool `help:"Print JSON." name:"json"`
}

// Run uploads the module and tells of each stage.
func (c *filterPushCmd) Run(sh *shell) error {
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	module, config, vectors, err := c.read()
	if err != nil {
		return err
	}
	v, err := a.PushFilter(sh.ctx, gatewright.NewFilter{Name: c.Name, Module: module, Config: config, Vectors: vectors}, func(s gatewright.FilterStep) {
		showStep(sh.err, s.Stage, s.OK, time.Duration(s.Microseconds)*time.Microsecond, s.Detail)
	})
	if r, ok := errors.AsType[*gatewright.FilterRejection](err); ok {
		return rejected(r.Stage, r.Reason, r.Offset, r.Hint)
	}
	if errors.Is(err, gatewright.ErrAnswer) {
		return &hinted{err, "`gatewright filter list` tells whether it was taken"}
	}
	if refused, ok := errors.AsType[*gatewright.Error](err); ok && refused.RetryAfter > 0 {
		return &hinted{err, fmt.Sprintf("try again in %s: %s", plural(uint64(refused.RetryAfter/time.Second), "second"), refused.Hint)}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(v)
	}
	fmt.Fprintf(sh.out, "%s version %d %s, digest %s\n", clean(c.Name), v.Number, clean(v.State), clean(v.Digest))
	if v.State == "idle" {
		fmt.Fprintf(sh.err, "it is not in force: `gatewright filter shadow %s` tries it, `gatewright filter activate %s` puts it in force\n", clean(c.Name), clean(c.Name))
	}
	return nil
}

// showStep prints one stage as a line of a table.
func showStep(w io.Writer, stage string, ok bool, took time.Duration, detail string) {
	mark := "ok"
	if !ok {
		mark = "no"
	}
	fmt.Fprintf(w, "  %-11s %s  %9s  %s\n", clean(stage), mark, took.Round(10*time.Microsecond), clean(oneLine(detail)))
}

// rejected is a module that did not pass: refused, with what to change.
func rejected(stage, reason string, offset *int64, hint string) error {
	at := ""
	if offset != nil {
		at = fmt.Sprintf(" at byte %d (0x%x)", *offset, *offset)
	}
	return &hinted{fmt.Errorf("rejected in stage %s%s: %s", clean(stage), at, clean(oneLine(reason))), clean(oneLine(hint))}
}

type filterListCmd struct {
	controlPort
	Name     string `arg:"" optional:"" help:"One filter, with all its versions."`
	Rejected bool   `help:"Uploads that did not pass, with the reason."`
	Manifest bool   `help:"What is in force, as the section of a bundle's manifest.json that says so."`
	JSON     bool   `help:"Print JSON." name:"json"`
}

// Run lists the filters, or the versions of one.
func (c *filterListCmd) Run(sh *shell) error {
	if c.Name != "" && !c.Rejected {
		return c.one(sh)
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	if c.Rejected {
		return showRejected(sh, a, c.JSON)
	}
	all, err := a.Filters(sh.ctx)
	if err != nil {
		return err
	}
	if c.Manifest {
		return sh.json(map[string]any{"filters": section(all)})
	}
	if c.JSON {
		return sh.json(all)
	}
	if len(all) == 0 {
		fmt.Fprintln(sh.err, "there are none: `gatewright filter push NAME FILE.wasm` uploads one")
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tIN FORCE\tSHADOW\tVERSIONS\tCALLS\tDENIED\tREWRITTEN\tTRAPS\tUS/CALL\tSTATE")
	for i := range all {
		f := &all[i]
		s, state := gatewright.FilterStats{}, "idle"
		switch {
		case f.Enforced != nil && f.Enforced.Stats.Broken:
			s, state = f.Enforced.Stats, "BROKEN: its calls are refused"
		case f.Enforced != nil:
			s, state = f.Enforced.Stats, "active"
		case f.Shadow != nil:
			s, state = f.Shadow.Stats, "shadow"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\n", clean(f.Name), versionIn(f.Enforced), versionIn(f.Shadow), len(f.Versions), s.Calls, s.Denied,
			s.Rewritten, traps(s), timed(&s, ""), state)
	}
	return w.Flush()
}

// one lists the versions of a filter.
func (c *filterListCmd) one(sh *shell) error {
	a, err := c.filterAdmin(sh, c.Name)
	if err != nil {
		return err
	}
	f, err := a.Filter(sh.ctx, c.Name)
	if err != nil {
		return noFilter(sh, a, c.Name, err)
	}
	if c.JSON {
		return sh.json(f)
	}
	return showFilter(sh.out, f)
}

// section is what a bundle's manifest says of these filters, in the order in which calls pass them.
func section(all []gatewright.Filter) []manifest.Filter {
	at := map[int]manifest.Filter{}
	for _, f := range all {
		for mode, e := range map[string]*gatewright.FilterInForce{manifest.Enforce: f.Enforced, manifest.Shadow: f.Shadow} {
			if e == nil {
				continue
			}
			m := manifest.Filter{Name: f.Name, Mode: mode, Servers: e.Servers, Tools: e.Tools, Direction: e.Direction, Config: e.Config}
			for i := range f.Versions {
				if f.Versions[i].Number == e.Version {
					m.Digest = f.Versions[i].Digest
				}
			}
			at[e.Position] = m
		}
	}
	out := []manifest.Filter{}
	for _, position := range slices.Sorted(maps.Keys(at)) {
		out = append(out, at[position])
	}
	return out
}

func versionIn(f *gatewright.FilterInForce) string {
	if f == nil {
		return "-"
	}
	return fmt.Sprint(f.Version)
}

// timed is how long a call takes: one of sixteen is timed, so that there may be none yet.
func timed(s *gatewright.FilterStats, unit string) string {
	if s.Microseconds == 0 {
		return "-" + unit
	}
	return fmt.Sprintf("%g%s", s.Microseconds, unit)
}

func traps(s gatewright.FilterStats) (n uint64) {
	for _, k := range s.Traps {
		n += k
	}
	return n
}

func showFilter(out io.Writer, f *gatewright.Filter) error {
	for _, at := range []struct {
		how string
		f   *gatewright.FilterInForce
	}{{"in force", f.Enforced}, {"in shadow", f.Shadow}} {
		if at.f == nil {
			continue
		}
		s := &at.f.Stats
		fmt.Fprintf(out, "version %d %s: %s\n", at.f.Version, at.how, placed(at.f))
		fmt.Fprintf(out, "  %s: %d passed, %d denied, %d rewritten, %d trapped; %s and at most %d units of fuel a call, %s\n",
			plural(s.Calls, "call"), s.Passed, s.Denied, s.Rewritten, traps(*s), timed(s, " us"), s.MostFuel, plural(s.Instances, "instance"))
		for _, kind := range slices.Sorted(maps.Keys(s.Traps)) {
			fmt.Fprintf(out, "  trap %s: %d\n", clean(kind), s.Traps[kind])
		}
		if s.Skipped > 0 {
			fmt.Fprintf(out, "  %s passed over, because the shadow was behind\n", plural(s.Skipped, "call"))
		}
		if s.Broken {
			fmt.Fprintf(out, "  BROKEN, its calls are refused for a while: %s\n", clean(oneLine(s.LastTrap)))
		}
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "N\tSTATE\tCREATED\tBY\tSIZE\tDIALECT\tMEMORY\tFUEL\tVECTORS\tDIGEST\tREJECTED")
	for i := range f.Versions {
		v := &f.Versions[i]
		number, why := fmt.Sprint(v.Number), "-"
		if v.Number == 0 {
			number = "-"
		}
		if v.Rejection != nil {
			why = orDash(v.Rejection.Error())
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%d\t%.19s\t%s\n", number, clean(v.State), moment(v.Created), orDash(v.By), v.Size, orDash(v.Dialect), v.Memory,
			v.Fuel, v.Vectors, clean(v.Digest), why)
	}
	return w.Flush()
}

// placed says where a filter looks.
func placed(f *gatewright.FilterInForce) string {
	text := map[string]string{"request": "requests", "response": "answers"}[f.Direction]
	if text == "" {
		text = "requests and answers"
	}
	if len(f.Tools) > 0 {
		text += " of " + clean(strings.Join(f.Tools, ", "))
	}
	if len(f.Servers) > 0 {
		text += " on " + clean(strings.Join(f.Servers, ", "))
	}
	return text
}

// placement are the flags that say where a filter is in force.
type placement struct {
	Name      string   `arg:"" help:"Name of the filter."`
	Version   uint64   `arg:"" optional:"" help:"Number of the version (default: the newest that passed)." placeholder:"N"`
	Server    []string `help:"Only calls to this server; a name, or its beginning with a * behind. Can be repeated; '*' is every server (default: where it looks now)." placeholder:"NAME"`
	Tool      []string `help:"Only calls of this tool; a name, or its beginning with a * behind. Can be repeated; '*' is every tool (default: where it looks now)." placeholder:"NAME"`
	Direction string   `help:"What it looks at: request, response or both (default: as now, or both)." placeholder:"WHICH"`
	Position  int      `help:"Where it stands among the organisation's filters, from 1 (default: where it stands, or the end)." placeholder:"N"`
	Config    string   `help:"JSON file whose object it is shown instead of the one it is shown now, or was uploaded with." placeholder:"FILE"`
}

func (p *placement) where() (gatewright.FilterPlacement, error) {
	if !slices.Contains([]string{"", "request", "response", "both"}, p.Direction) {
		return gatewright.FilterPlacement{}, usage("write --direction request, response or both", "--direction %q is none", p.Direction)
	}
	config, err := readConfig(p.Config)
	return gatewright.FilterPlacement{Servers: p.Server, Tools: p.Tool, Direction: p.Direction, Config: config, Position: p.Position}, err
}

// version is the one that is named, or the newest that passed.
func (p *placement) version(sh *shell, a *gatewright.Admin) (uint64, error) {
	f, err := a.Filter(sh.ctx, p.Name)
	if err != nil {
		return 0, noFilter(sh, a, p.Name, err)
	}
	if p.Version > 0 {
		return p.Version, nil
	}
	for i := range f.Versions {
		if f.Versions[i].Number > 0 {
			return f.Versions[i].Number, nil
		}
	}
	return 0, &hinted{fmt.Errorf("no version of %q has passed", p.Name), "`gatewright filter list " + clean(p.Name) + "` says why; `gatewright filter check` says it offline"}
}

type filterShadowCmd struct {
	controlPort
	placement
	JSON bool `help:"Print JSON." name:"json"`
}

// Run tries a version.
func (c *filterShadowCmd) Run(sh *shell) error {
	return place(sh, &c.controlPort, &c.placement, (*gatewright.Admin).ShadowFilter, c.JSON)
}

type filterActivateCmd struct {
	controlPort
	placement
	JSON bool `help:"Print JSON." name:"json"`
}

// Run puts a version in force.
func (c *filterActivateCmd) Run(sh *shell) error {
	return place(sh, &c.controlPort, &c.placement, (*gatewright.Admin).ActivateFilter, c.JSON)
}
