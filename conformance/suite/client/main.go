// Command client is what the official suite of MCP starts for each scenario of its client legs: it boots the built gateway in
// front of the suite's server, which is its last argument, and calls that server through it as an agent does. The client that
// the suite judges is the gateway's own.
//
// GATEWRIGHT_BINARY names the gateway. What a person would do in a browser is done here, by its three addresses.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	gatewright "github.com/gatewright/gatewright/gateway/sdk/go"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second) // the suite kills after 30s
	defer cancel()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		cancel()
		os.Exit(1) //nolint:gocritic // cancel was called
	}
}

func run(ctx context.Context) error {
	if len(os.Args) != 2 {
		return errors.New("usage: client SERVER_URL, with GATEWRIGHT_BINARY and MCP_CONFORMANCE_SCENARIO set")
	}
	j := &job{scenario: os.Getenv("MCP_CONFORMANCE_SCENARIO"), version: os.Getenv("MCP_CONFORMANCE_PROTOCOL_VERSION")}
	if text := os.Getenv("MCP_CONFORMANCE_CONTEXT"); text != "" {
		if err := json.Unmarshal([]byte(text), &j.told); err != nil {
			return fmt.Errorf("MCP_CONFORMANCE_CONTEXT: %w", err)
		}
	}
	stop, err := j.boot(ctx, os.Args[1])
	if err != nil {
		return err
	}
	defer stop()
	if err := j.prepare(ctx); err != nil {
		return err
	}
	if strings.HasPrefix(j.scenario, "auth/") {
		return j.authorize(ctx)
	}
	return j.call(ctx)
}

// job is one scenario.
type job struct {
	scenario, version string
	told              struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		PrivateKey   string `json:"private_key_pem"`
		Calls        []struct {
			Name      string         `json:"name"`
			Arguments map[string]any `json:"arguments"`
		} `json:"toolCalls"`
	}
	url, key string
	admin    *gatewright.Admin
	agent    *gatewright.Client
}

const (
	server = "fixture"
	secret = "suite"
	// document is the address of client metadata that the suite knows.
	document = "https://conformance-test.local/client-metadata.json"
)

// config is the gateway's, with the suite's server behind it.
func (j *job) config(address string) string {
	auth := ""
	switch {
	case strings.HasPrefix(j.scenario, "auth/client-credentials"):
		auth = "auth = \"client_credentials\""
	case strings.HasPrefix(j.scenario, "auth/"):
		auth = "auth = \"authorization_code\""
	}
	if j.told.ClientID != "" {
		auth += fmt.Sprintf("\n  client_id = %q", j.told.ClientID)
	}
	switch {
	case j.told.ClientSecret != "":
		auth += fmt.Sprintf("\n  client_secret = %q", secret)
	case j.told.PrivateKey != "":
		auth += fmt.Sprintf("\n  client_key = %q", secret)
	}
	return fmt.Sprintf(`
demo {
  server = false
}
oauth {
  client_document = %q
}
server %q {
  tenant        = "demo"
  url           = %q
  allow_private = true
  %s
}
`, document, server, address, auth)
}

// boot starts the gateway in a folder of its own, which stop removes.
func (j *job) boot(ctx context.Context, address string) (stop func(), err error) {
	dir, err := os.MkdirTemp("", "gatewright-suite")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "gateway.hcl")
	if err := os.WriteFile(file, []byte(j.config(address)), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, os.Getenv("GATEWRIGHT_BINARY"), "--data", filepath.Join(dir, "data"), "--config", file, "--listen", "127.0.0.1:0", "--control", "127.0.0.1:0") //nolint:gosec // the test names it
	cmd.Dir, cmd.Stderr, cmd.Env = dir, os.Stderr, append(os.Environ(), "GATEWRIGHT_CFG_LEDGER__DEADLINE=1m")
	dieTogether(cmd) // the suite kills this program
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}
	control := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "gatewright ready listen=%s control=%s", &j.url, &control); err == nil {
			break
		}
	}
	if control == "" {
		stop()
		return nil, errors.New("the gateway did not come up")
	}
	go func() { // what it says later is not read, and must not stop it
		for b := make([]byte, 4096); err == nil; {
			_, err = out.Read(b)
		}
	}()
	return stop, j.keys(filepath.Join(dir, "data", "demo.env"), control)
}

// keys reads the agent's and the admin's.
func (j *job) keys(file, control string) error {
	text, err := os.ReadFile(file) //nolint:gosec // it lies in the data folder
	if err != nil {
		return err
	}
	env := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		env[name] = value
	}
	j.key = env["GATEWRIGHT_API_KEY"]
	if j.admin, err = gatewright.NewAdmin(gatewright.Config{URL: control, Key: env["GATEWRIGHT_ADMIN_KEY"]}); err != nil {
		return err
	}
	j.agent, err = gatewright.New(gatewright.Config{URL: j.url, Key: j.key})
	return err
}

// prepare puts into the vault what the scenario hands out.
func (j *job) prepare(ctx context.Context) error {
	value := j.told.ClientSecret
	if value == "" {
		value = j.told.PrivateKey
	}
	if value == "" {
		return nil
	}
	return j.admin.PutSecret(ctx, secret, value)
}
