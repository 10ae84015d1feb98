// Package cli is the command line of gatewright: it reads arguments and environment, does one thing, and
// says how it went in an exit code.
//
// Commands that talk to a gateway use the Go client and nothing else; those that verify (verify, ledger
// verify) open no connection at all. What a script needs goes to standard output, everything meant for
// people to standard error. An error is one line, or one for each mistake in a bundle, and, where something can be
// done about it, a hint line.
// The package is the only door to kong.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
	"github.com/gatewright/gatewright/policies"
)

// Exit codes.
const (
	exitDone        = 0
	exitRefused     = 1 // refused, failed, or not verified
	exitUsage       = 2 // the command line, a file or a variable is at fault
	exitUnreachable = 3 // no gateway answered
)

// Runner is what the program does that is not this package's: the wiring of a gateway.
type Runner struct {
	// Serve runs a gateway until ctx ends. An error may carry an exit code of its own (ExitCode() int).
	Serve func(ctx context.Context, o ServeOptions) error
	// ConnectorServe is the whole life of a built-in connector of that kind (stdio, http, demo): a gateway starts this
	// program again under a hidden verb. It returns the exit code.
	ConnectorServe func(kind string) int
	// CheckConnector starts a connector's program as a gateway would, and tells how each check went. Its error is why the
	// checks could not be finished.
	CheckConnector func(ctx context.Context, c ConnectorCheck) error
	// Servers reads the servers of a configuration: of the text doc, or where it is nil of the file (none: gateway.hcl in
	// the working directory, which may be missing).
	Servers func(file string, doc []byte) ([]ConfiguredServer, error)
	// ListTools starts or reaches one server as a gateway would and reads its tools, as it sent them.
	ListTools func(ctx context.Context, l ToolListing) ([]json.RawMessage, error)
	// Getenv reads the environment; nil is os.Getenv.
	Getenv func(string) string
}

// ServeOptions are the flags of serve. Empty means not given.
type ServeOptions struct {
	// Alone makes the file and the flags the whole configuration: GATEWRIGHT_CFG_* variables are not read. The guided
	// tour asks for it, since they are about another gateway.
	Alone   bool
	Config  string // --config FILE
	Data    string // --data DIR
	Listen  string // --listen ADDR
	Control string // --control ADDR
	Stdout  io.Writer
	Stderr  io.Writer
}

// ConnectorCheck is a program to check, and who hears how it goes.
type ConnectorCheck struct {
	Path string
	Args []string
	// Command says that the program is an MCP server on standard streams, to be run below the built-in connector.
	Command bool
	Calls   []ConnectorCall

	// Begins is told before a check that may take long, with the longest it waits for the program to start.
	Begins func(name string, limit time.Duration)
	// Ends is told when a check has ended: why it failed or nil, and how long it took. An error with NoHandshake() bool
	// says whether the program spoke no handshake.
	Ends func(name string, err error, d time.Duration)
	// Listed is told how many tools there are, and how many of them are not called.
	Listed func(tools, uncalled int)
}

// ConnectorCall is a call that a check makes; Arguments is a JSON object.
type ConnectorCall struct{ Tool, Arguments string }

// ConfiguredServer is a server block as a gateway reads it.
type ConfiguredServer struct {
	Name, Tenant, URL          string
	Command, PassEnv           []string
	Dir                        string
	AllowPrivate               bool
	Credential, Header, Prefix string
}

// ToolListing says which server of which configuration to ask for its tools.
type ToolListing struct {
	// Doc is the text of a configuration, and Name a server in it.
	Doc  []byte
	Name string
	// Env is what a program sees beside PATH and HOME, as NAME=value, and Credential what goes in the server's header.
	// Both are secret.
	Env        []string
	Credential string
}

// commands is the whole tree. serve is what happens without a command.
type commands struct {
	Serve          serveCmd          `cmd:"" default:"withargs" help:"Run the gateway (the default)."`
	Demo           demoCmd           `cmd:"" help:"Take a guided tour, with a gateway of its own."`
	Plan           planCmd           `cmd:"" help:"Capture a plan: what the agent may do."`
	Token          tokenCmd          `cmd:"" help:"Take a token for a captured plan."`
	Call           callCmd           `cmd:"" help:"Call a tool, showing a token."`
	Verify         verifyCmd         `cmd:"" help:"Verify a receipt, an export or a proof offline."`
	Ledger         ledgerCmd         `cmd:"" help:"Look after a ledger."`
	Connector      connectorCmd      `cmd:"" help:"Look after connectors (control port), or check one."`
	Filter         filterCmd         `cmd:"" help:"Look after the organisation's own WASM filters (control port), or check one."`
	Policy         policyCmd         `cmd:"" help:"Check, test and explain policies."`
	Approval       approvalCmd       `cmd:"" help:"Decide about calls that policy holds (control port)."`
	Proposal       proposalCmd       `cmd:"" help:"Decide about profiles and servers that agents propose (control port)."`
	Profile        profileCmd        `cmd:"" help:"Look after the profile that narrows the organisation's calls (control port)."`
	Organisation   organisationCmd   `cmd:"" help:"Make organisations (control port; with a key of the gateway's own)."`
	Agent          agentCmd          `cmd:"" help:"Manage agents and their keys (control port)."`
	Seal           sealCmd           `cmd:"" help:"Look after the keys that seal session ids, cursors and states (control port)."`
	User           userCmd           `cmd:"" help:"Manage people and their management keys (control port)."`
	Version        versionCmd        `cmd:"" help:"Print the version."`
	ConnectorServe connectorServeCmd `cmd:"" hidden:"" name:"connector-serve" help:"Run a built-in connector."`
}

// shell is what a command may touch.
type shell struct {
	ctx    context.Context //nolint:containedctx // lives as long as the one command
	in     io.Reader
	out    io.Writer
	err    io.Writer
	getenv func(string) string
	runner Runner

	release func() // gives signals back their default effect
}

// Main runs one command and returns the exit code. It ends early on SIGINT and SIGTERM.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer, r Runner) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, stop, args, stdin, stdout, stderr, r)
}

// Run is Main under a context of the caller's.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, r Runner) int {
	return run(ctx, func() {}, args, stdin, stdout, stderr, r)
}

func run(ctx context.Context, release func(), args []string, stdin io.Reader, stdout, stderr io.Writer, r Runner) int {
	sh := &shell{ctx: ctx, in: stdin, out: stdout, err: stderr, getenv: r.Getenv, runner: r, release: release}
	if sh.getenv == nil {
		sh.getenv = os.Getenv
	}
	err := sh.run(args)
	if err == nil {
		return exitDone
	}
	if code, ok := errors.AsType[exitStatus](err); ok {
		return int(code)
	}
	return sh.report(err)
}

// helped ends parsing after kong printed a help text.
type helped struct{}

func (sh *shell) run(args []string) (err error) {
	var c commands
	parser, err := kong.New(&c, kong.Name("gatewright"), kong.Description("The gate that AI agents pass to reach tools."),
		kong.Writers(sh.out, sh.err), kong.Exit(func(int) { panic(helped{}) }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}))
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(helped); !ok {
				panic(p)
			}
			err = nil
		}
	}()
	if len(args) > 0 && args[0] == "help" { // what people type who have not met --help
		args = append(append([]string{}, args[1:]...), "--help")
	}
	k, err := parser.Parse(args)
	if own, is := errors.AsType[*usageError](err); is { // an argument's own
		return own
	}
	if err != nil {
		return &usageError{text: err.Error(), hint: "gatewright --help lists commands and flags"}
	}
	return sought(k.Command(), k.Run(sh))
}

// lists say where the ids are that a command takes, by the command's first word or its first two.
var lists = map[string]string{
	"agent approve": "a code is good for a few minutes; let the program ask again",
	"agent deny":    "a code is good for a few minutes; let the program ask again",
	"agent":         "`gatewright agent list` and `gatewright agent keys` show what there is",
	"connector":     "`gatewright connector pins --all` shows servers and their tools, `gatewright connector list` those that are processes",
	"approval":      "`gatewright approval list --state all` shows what there is",
	"proposal":      "`gatewright proposal list --state all` shows what there is",
	"profile":       "no profile is in force; `gatewright proposal list` shows what is proposed",
	"user":          "`gatewright user list` shows who there is",
}

// sought adds to what was not found where to look, for the ledger has no reason for that, to a key that is not taken where it
// comes from, and to a value of the wrong type how the shell writes the right one.
func sought(command string, err error) error {
	refused, ok := errors.AsType[*gatewright.Error](err)
	if ok && refused.Code == "unauthenticated" {
		return &hinted{err, "GATEWRIGHT_API_KEY (agents) or GATEWRIGHT_ADMIN_KEY (people) is not, or no more, a key of this gateway; in development source demo.env again, its keys are new at each start"}
	}
	if ok && strings.Contains(refused.Error(), " breaks type") && (refused.Code == "invalid_plan" || refused.Code == "invalid_arguments") {
		return &hinted{err, "give the value the type that the tool's schema wants; --arg reads JSON where it can, so a string of digits is --arg 'NAME=\"7\"'"}
	}
	if !ok || refused.Code != "not_found" || refused.Hint != "" {
		return err
	}
	if _, done := errors.AsType[*hinted](err); done {
		return err
	}
	words := append(strings.Fields(command), "", "")
	for _, name := range []string{words[0] + " " + words[1], words[0]} {
		if hint := lists[name]; hint != "" {
			return &hinted{err, hint}
		}
	}
	return err
}

// usageError is a mistake on the command line, in a file named there or in a variable.
type usageError struct{ text, hint string }

func (e *usageError) Error() string { return e.text }

func usage(hint, format string, args ...any) error {
	return &usageError{text: fmt.Sprintf(format, args...), hint: hint}
}

// hinted is any other error with something to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// report writes an error with its hint and returns the exit code for it.
func (sh *shell) report(err error) int {
	code, hint := exitRefused, ""
	var (
		use   *usageError
		ref   *gatewright.Error
		h     *hinted
		coded interface{ ExitCode() int }
	)
	switch {
	case errors.As(err, &coded):
		code = coded.ExitCode()
	case errors.As(err, &use):
		code, hint = exitUsage, use.hint
	case errors.As(err, &ref):
		hint = ref.Hint
		if hint == "" {
			hint = "`gatewright ledger show RECORD` tells the reason, with a management key"
		}
	case errors.Is(err, gatewright.ErrUntrusted):
		code, hint = exitUnreachable, "name the authority that vouches for the gateway: --ca FILE, or GATEWRIGHT_CA"
	case errors.Is(err, gatewright.ErrUnreachable):
		code, hint = exitUnreachable, "is the gateway running, and is the address right (GATEWRIGHT_URL, GATEWRIGHT_CONTROL_URL)?"
	case errors.Is(err, gatewright.ErrAnswer):
		code, hint = exitUnreachable, "does the address belong to a gateway (GATEWRIGHT_URL: data port, GATEWRIGHT_CONTROL_URL: control port)?"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		hint = "the command was interrupted; what it asked for may have happened"
	}
	if errors.As(err, &h) {
		hint = h.hint
	}
	for i, line := range mistakes(err) {
		fmt.Fprintf(sh.err, "%s%s\n", [...]string{"gatewright: ", "  "}[min(i, 1)], line)
	}
	if hint != "" {
		fmt.Fprintf(sh.err, "hint: %s\n", plainly(oneLine(hint)))
	}
	return code
}

// mistakes are the lines of an error: one, or one for each of the mistakes in a bundle or its tests.
func mistakes(err error) []string {
	lines := []string{err.Error()}
	if _, ok := errors.AsType[policies.Problems](err); ok {
		lines = strings.Split(strings.TrimSpace(err.Error()), "\n")
	} else if several, ok := errors.AsType[interface {
		error
		Lines() []string
	}](err); ok {
		lines = several.Lines()
	}
	for i, line := range lines {
		lines[i] = plainly(oneLine(line))
	}
	return lines
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

type serveCmd struct {
	Config  string `help:"Configuration file (default: gateway.hcl in the working directory, if there is one)." placeholder:"FILE"`
	Data    string `help:"Data folder." placeholder:"DIR"`
	Listen  string `help:"Address of the data port; port 0 takes a free one." placeholder:"ADDR"`
	Control string `help:"Address of the control port; port 0 takes a free one." placeholder:"ADDR"`
}

// Run serves until the context ends.
func (c *serveCmd) Run(sh *shell) error {
	if sh.runner.Serve == nil {
		return errors.New("serve: this build has no gateway in it")
	}
	return sh.runner.Serve(sh.ctx, ServeOptions{Config: c.Config, Data: c.Data, Listen: c.Listen, Control: c.Control, Stdout: sh.out, Stderr: sh.err})
}

type versionCmd struct{}

// Run prints name, version, revision and Go version on one line.
func (versionCmd) Run(sh *shell) error {
	revision, goVersion := "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
	}
	_, err := fmt.Fprintf(sh.out, "gatewright %s%s %s\n", Version(), revision, goVersion)
	return err
}

// Version is the version this binary was built from: a release's, or "devel".
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
