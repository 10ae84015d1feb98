package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

type connectorCmd struct {
	List    connectorListCmd    `cmd:"" help:"List connectors and how they do."`
	Restart connectorRestartCmd `cmd:"" help:"Start a connector anew; the old process works on until the new one serves."`
	Logs    connectorLogsCmd    `cmd:"" help:"Print the last lines a connector wrote to its standard error."`
	Check   connectorCheckCmd   `cmd:"" help:"Try a connector's program, without a gateway."`
	Login   connectorLoginCmd   `cmd:"" help:"Let the gateway use a server in your name: open an address, agree, type a word."`
	Logout  connectorLogoutCmd  `cmd:"" help:"Take that back."`
	Import  connectorImportCmd  `cmd:"" help:"Propose servers and policies from the MCP configurations of Claude Desktop, Cursor and VS Code."`

	Pins     connectorPinsCmd     `cmd:"" help:"List tools in quarantine: their definition is new, changed or rejected."`
	Diff     connectorDiffCmd     `cmd:"" help:"Show how a tool's definition differs from the approved one, and what was decided."`
	Approve  connectorApproveCmd  `cmd:"" help:"Approve a tool's definition."`
	Reject   connectorRejectCmd   `cmd:"" help:"Reject a tool's definition, or take its approval back."`
	Rollback connectorRollbackCmd `cmd:"" help:"Approve a tool's earlier definition again."`
}

type connectorListCmd struct {
	controlPort
	JSON bool `help:"Print JSON." name:"json"`
}

// Run lists the connectors.
func (c *connectorListCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	all, err := a.Connectors(sh.ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return sh.json(all)
	}
	w := tabwriter.NewWriter(sh.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tSINCE\tPID\tSTARTS\tCRASHES\tIN FLIGHT\tPROGRAM\tLAST ERROR")
	for i := range all {
		v := &all[i]
		since, pid := "-", "-"
		if !v.Since.IsZero() {
			since = v.Since.UTC().Format(time.RFC3339)
		}
		if v.PID > 0 {
			pid = fmt.Sprint(v.PID)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", clean(v.Name), clean(v.State), since, pid, v.Starts, v.Crashes, v.InFlight,
			orDash(v.Program+" "+v.Version), orDash(v.LastError))
	}
	return w.Flush()
}

// orDash keeps a column from being empty.
func orDash(s string) string {
	if s = oneLine(clean(s)); s == "" {
		return "-"
	}
	return s
}

type connectorRestartCmd struct {
	controlPort
	Name string `arg:"" help:"Name of the connector."`
}

// Run restarts the connector and says how it does now.
func (c *connectorRestartCmd) Run(sh *shell) error {
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	v, err := a.RestartConnector(sh.ctx, c.Name)
	if err != nil {
		return noConnector(sh, a, c.Name, err)
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(v.Name), clean(v.State))
	return nil
}

// noConnector says which connectors there are when the one asked for is none of them; any other error stays as it is.
func noConnector(sh *shell, a *gatewright.Admin, name string, err error) error {
	if refused, ok := errors.AsType[*gatewright.Error](err); !ok || refused.Code != "not_found" {
		return err
	}
	all, bad := a.Connectors(sh.ctx)
	if bad != nil {
		return err
	}
	names := make([]string, len(all))
	for i := range all {
		if names[i] = all[i].Name; names[i] == name {
			return err
		}
	}
	hint := "there are none; a server that is reached natively has no connector"
	if len(names) > 0 {
		hint = "there are: " + clean(strings.Join(names, ", ")) + "; a server that is reached natively has no connector"
	}
	return &hinted{fmt.Errorf("no connector %q", name), hint}
}

type connectorLogsCmd struct {
	controlPort
	Name  string `arg:"" help:"Name of the connector."`
	Lines int    `help:"How many lines at most, 1 to 1000." short:"n" default:"100"`
	JSON  bool   `help:"Print JSON." name:"json"`
}

// Run prints the lines, oldest first.
func (c *connectorLogsCmd) Run(sh *shell) error {
	if c.Lines < 1 || c.Lines > 1000 {
		return usage("write --lines 100", "--lines %d is not between 1 and 1000", c.Lines)
	}
	a, err := c.admin(sh)
	if err != nil {
		return err
	}
	lines, err := a.ConnectorLogs(sh.ctx, c.Name, c.Lines)
	if err != nil {
		return noConnector(sh, a, c.Name, err)
	}
	if c.JSON {
		return sh.json(lines)
	}
	if len(lines) == 0 {
		fmt.Fprintf(sh.err, "%s has written nothing\n", clean(c.Name))
	}
	for _, l := range lines {
		fmt.Fprintf(sh.out, "%s %s\n", l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), clean(l.Text))
	}
	return nil
}

type connectorCheckCmd struct {
	Command bool     `help:"The program is no connector but an MCP server on standard streams, which a gateway runs by its setting command."`
	Call    []string `help:"Call this tool too, once; it must answer without an error." placeholder:"TOOL=JSON" sep:"none"`
	Program []string `arg:"" passthrough:"" help:"The program and its arguments, after --." placeholder:"PROGRAM"`
}

// Run starts the program as a gateway would and tries what the contract of connectors asks of it.
func (c *connectorCheckCmd) Run(sh *shell) error {
	if sh.runner.CheckConnector == nil {
		return errors.New("connector check: this build cannot start connectors")
	}
	v := &verdicts{sh: sh}
	check := ConnectorCheck{
		Command: c.Command, Begins: v.begins, Ends: v.ends, Listed: func(tools, uncalled int) { v.tools, v.uncalled = tools, uncalled },
	}
	var err error
	if check.Calls, err = c.calls(); err != nil {
		return err
	}
	if check.Path, check.Args, err = c.program(); err != nil {
		return err
	}
	return v.sum(sh.runner.CheckConnector(sh.ctx, check), c.Command)
}

// verdicts are what the checks came to.
type verdicts struct {
	sh              *shell
	done, failed    int
	silent          bool // the program spoke no handshake
	tools, uncalled int
}

func (v *verdicts) begins(name string, limit time.Duration) {
	fmt.Fprintf(v.sh.err, "%s ... (up to %s)\n", clean(name), limit)
}

func (v *verdicts) ends(name string, err error, d time.Duration) {
	v.done++
	verdict, why := "ok", ""
	if err != nil {
		v.failed++
		verdict, why = "FAILED", "  "+oneLine(cleanText(err.Error()))
	}
	fmt.Fprintf(v.sh.out, "%-6s  %-36s %9s%s\n", verdict, clean(name), took(d), why)
	var silent interface{ NoHandshake() bool }
	v.silent = v.silent || errors.As(err, &silent) && silent.NoHandshake()
}

// sum ends the checks with one line; err is why they could not be finished.
func (v *verdicts) sum(err error, command bool) error {
	switch {
	case v.failed > 0:
		err = fmt.Errorf("connector check: %d of %d checks failed", v.failed, v.done)
		if v.silent && !command {
			return &hinted{err, "a connector writes its handshake to standard output first, and everything else to standard error; " +
				"an MCP server on standard streams belongs in `command`: gatewright connector check --command -- PROGRAM"}
		}
		return &hinted{err, "the lines that begin with FAILED say what was expected"}
	case err != nil:
		return &hinted{fmt.Errorf("connector check: %w", err), "run the program's own tests, and look at what it writes to standard error"}
	case v.done == 0:
		return errors.New("connector check: nothing was checked")
	}
	fmt.Fprintf(v.sh.out, "%d checks passed", v.done)
	if v.uncalled > 0 {
		fmt.Fprintf(v.sh.out, "; %d of %d tools were not called: --call TOOL=JSON calls one", v.uncalled, v.tools)
	}
	fmt.Fprintln(v.sh.out)
	return nil
}

// calls reads TOOL=JSON.
func (c *connectorCheckCmd) calls() (all []ConnectorCall, err error) {
	for _, s := range c.Call {
		tool, args, ok := strings.Cut(s, "=")
		if !ok || tool == "" || args == "" {
			return nil, usage(`quote it for the shell: --call 'read_file={"path":"/a"}'`, "--call %q is not TOOL=JSON", s)
		}
		whole, err := arguments(nil, args)
		if err != nil {
			return nil, usage(`quote it for the shell: --call 'read_file={"path":"/a"}'`, "--call %s: the arguments are not one strict JSON object", clean(tool))
		}
		all = append(all, ConnectorCall{Tool: tool, Arguments: string(whole)})
	}
	return all, nil
}

// program finds what is to be checked, as a shell would.
func (c *connectorCheckCmd) program() (path string, args []string, err error) {
	hint := "gatewright connector check -- ./my-connector --its-flag"
	command := c.Program
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) == 0 {
		return "", nil, usage(hint, "no program to check")
	}
	if path, err = exec.LookPath(command[0]); err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "", nil, usage(hint, "no program to check: %v", err)
	}
	return path, command[1:], nil
}

// took writes a duration for people: three digits are what a table has room for.
func took(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d us", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}

type connectorServeCmd struct {
	Kind string `arg:"" help:"stdio, http or demo."`
}

// Run is the whole life of a built-in connector: a gateway starts this program again under this verb. Its exit code is
// the connector's, which has said on standard error why it ends.
func (c *connectorServeCmd) Run(sh *shell) error {
	if sh.runner.ConnectorServe == nil {
		return errors.New("connector-serve: this build has no connectors in it")
	}
	sh.release() // what a signal means is the connector's to decide
	if code := sh.runner.ConnectorServe(c.Kind); code != exitDone {
		return exitStatus(code)
	}
	return nil
}

// exitStatus ends the program with a code and without another word.
type exitStatus int

func (e exitStatus) Error() string { return "exit status " + strconv.Itoa(int(e)) }
