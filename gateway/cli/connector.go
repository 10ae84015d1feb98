package cli

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"text/tabwriter"
	"time"
)

type connectorCmd struct {
	List    connectorListCmd    `cmd:"" help:"List connectors and how they do."`
	Restart connectorRestartCmd `cmd:"" help:"Start a connector anew; the old process works on until the new one serves."`
	Logs    connectorLogsCmd    `cmd:"" help:"Print the last lines a connector wrote to its standard error."`
	Check   connectorCheckCmd   `cmd:"" help:"Try a connector's program, without a gateway."`
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
		return err
	}
	fmt.Fprintf(sh.out, "%s %s\n", clean(v.Name), clean(v.State))
	return nil
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
		return err
	}
	if c.JSON {
		return sh.json(lines)
	}
	for _, l := range lines {
		fmt.Fprintf(sh.out, "%s %s\n", l.Time.UTC().Format("2006-01-02T15:04:05.000Z"), clean(l.Text))
	}
	return nil
}

type connectorCheckCmd struct {
	Command []string `arg:"" passthrough:"" help:"The program and its arguments, after --." placeholder:"PROGRAM"`
}

// Run starts the program as a gateway would and tries what the contract of connectors asks of it.
func (c *connectorCheckCmd) Run(sh *shell) error {
	if sh.runner.CheckConnector == nil {
		return errors.New("connector check: this build cannot start connectors")
	}
	path, args, err := c.program()
	if err != nil {
		return err
	}
	done, failed := 0, 0
	err = sh.runner.CheckConnector(sh.ctx, path, args, func(name string, err error, d time.Duration) {
		done++
		verdict, why := "ok", ""
		if err != nil {
			failed++
			verdict, why = "FAILED", "  "+oneLine(cleanText(err.Error()))
		}
		fmt.Fprintf(sh.out, "%-6s  %-36s %9s%s\n", verdict, clean(name), took(d), why)
	})
	switch {
	case failed > 0:
		return &hinted{fmt.Errorf("connector check: %d of %d checks failed", failed, done), "the lines that begin with FAILED say what was expected"}
	case err != nil:
		return &hinted{fmt.Errorf("connector check: %w", err), "run the program's own tests, and look at what it writes to standard error"}
	case done == 0:
		return errors.New("connector check: nothing was checked")
	}
	fmt.Fprintf(sh.out, "%d checks passed\n", done)
	return nil
}

// program finds what is to be checked, as a shell would.
func (c *connectorCheckCmd) program() (path string, args []string, err error) {
	hint := "gatewright connector check -- ./my-connector --its-flag"
	command := c.Command
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
