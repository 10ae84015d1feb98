package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/gateway/config"
	"github.com/gatewright/gatewright/gateway/datadir"
	"github.com/gatewright/gatewright/gateway/server"
)

// refuseStart starts a gateway that must not start, and one after it on the same folder that must.
func refuseStart(t *testing.T, o server.Options, wants ...string) error {
	t.Helper()
	g, err := server.Start(t.Context(), o)
	if err == nil {
		_ = g.Close()
		t.Fatal("it started")
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	return err
}

// startable shows that what was refused before left nothing behind.
func startable(t *testing.T, o server.Options) {
	t.Helper()
	g, err := server.Start(t.Context(), o)
	if err != nil {
		t.Fatalf("the next start: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestATakenPortIsAPlainErrorAndLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o, _, _ := options(t, nil)
	o.Config.Proxy.Listen = ln.Addr().String()
	refuseStart(t, o, ln.Addr().String(), "--listen", "address already in use")
	o.Config.Proxy.Listen, o.Config.Control.Listen = "127.0.0.1:0", ln.Addr().String()
	refuseStart(t, o, ln.Addr().String(), "--control", "address already in use")
	o.Config.Control.Listen = "127.0.0.1:0"
	startable(t, o)
}

func TestALockedFolderIsRefusedAndItsHolderUndisturbed(t *testing.T) {
	t.Parallel()
	o, out, log := options(t, nil)
	r := run(t, o, out, log)
	if err := refuseStart(t, o, "in use by another gateway"); !errors.Is(err, datadir.ErrLocked) {
		t.Error(err)
	}
	if got := r.tools(r.env["GATEWRIGHT_API_KEY"]); got != "" {
		t.Errorf("the one that holds it answers %q", got)
	}
	r.stop()
	startable(t, o)
}

func TestANewerOrBrokenFolderIsRefusedUntouched(t *testing.T) {
	t.Parallel()
	o, _, _ := options(t, nil)
	startable(t, o)
	version := filepath.Join(o.Config.Data.Dir, "VERSION")
	for _, text := range []string{"2\n", "banana\n", "0\n"} {
		if err := os.WriteFile(version, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refuseStart(t, o, "data folder")
	}
	if err := os.WriteFile(version, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(o.Config.Data.Dir, "keys", "pepper"), filepath.Join(o.Config.Data.Dir, "pepper")); err != nil {
		t.Fatal(err)
	}
	if err := refuseStart(t, o, "pepper"); !errors.Is(err, datadir.ErrKey) {
		t.Error(err)
	}
}

func TestOnlyTheRightWrappingKeyOpensAWrappedFolder(t *testing.T) {
	key := func(name, text string) string {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	o, _, _ := options(t, nil)
	right := key("right", strings.Repeat("ab", 32)+"\n")
	o.Config.Data.KeyFile = right
	startable(t, o)
	for _, name := range []string{"store", "pepper", "vault", "ledger", "intent-1"} {
		b, err := os.ReadFile(filepath.Join(o.Config.Data.Dir, "keys", name))
		if err != nil || !strings.Contains(string(b), "sealed") {
			t.Errorf("keys/%s is not wrapped: %v", name, err)
		}
	}
	for name, text := range map[string]string{"another": strings.Repeat("cd", 32), "short": "abcd", "empty": "", "blank": "\n"} {
		o.Config.Data.KeyFile = key(name, text)
		if err := refuseStart(t, o); !errors.Is(err, datadir.ErrKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o.Config.Data.KeyFile = filepath.Join(t.TempDir(), "none")
	refuseStart(t, o, "data.key_file")
	o.Config.Data.KeyFile = ""
	if err := refuseStart(t, o); !errors.Is(err, datadir.ErrKey) {
		t.Errorf("without a key: %v", err)
	}
	o.Config.Data.KeyEnv = "GATEWRIGHT_TEST_WRAP_KEY"
	refuseStart(t, o, "GATEWRIGHT_TEST_WRAP_KEY", "not set")
	t.Setenv("GATEWRIGHT_TEST_WRAP_KEY", strings.Repeat("ab", 32))
	startable(t, o)
}

func TestABundleThatDoesNotCompileIsNamedByFileAndLine(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"syntax":         {"permit (principal, action, resource);\npermit (principal action);\n", "own.cedar:2:"},
		"unknown action": {"\n\npermit (principal, action == Action::\"make_coffee\", resource);\n", "own.cedar:3:"},
		"unknown field":  {"permit (principal, action, resource)\nwhen { context.wind > 3 };\n", "own.cedar:2:"},
	} {
		if err := os.WriteFile(filepath.Join(folder, "own.cedar"), []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		o, _, _ := options(t, func(c *config.Config) { c.Policies.Bundle = folder })
		err := refuseStart(t, o, c.want)
		if strings.Count(err.Error(), "\n") > 3 {
			t.Errorf("%s: %v is not one clear message", name, err)
		}
	}
	o, _, _ := options(t, func(c *config.Config) { c.Policies.Bundle = filepath.Join(folder, "none") })
	refuseStart(t, o, "none")
}

// TestAFirstStartThatFailsLeavesAFolderThatTheNextOneTakes: a typo in a bundle or a server's tenant must not cost the
// folder.
func TestAFirstStartThatFailsLeavesAFolderThatTheNextOneTakes(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "own.cedar"), []byte("permit (principal action);\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o, _, _ := options(t, func(c *config.Config) { c.Policies.Bundle = folder })
	refuseStart(t, o, "own.cedar:1:")
	refuseStart(t, o, "own.cedar:1:")
	o.Config.Policies.Bundle = ""
	startable(t, o)
}

func TestConfiguredPartsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(*config.Config)
		want   string
	}{
		"server without address": {func(c *config.Config) { c.Servers = map[string]config.Server{"a": {Tenant: "demo", Era: "auto"}} }, "a"},
		"issuer is ourselves": {func(c *config.Config) {
			c.Issuers = map[string]config.Issuer{"x": {Issuer: c.Intent.Issuer, KeyID: "k", Key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}
		}, `issuer "x"`},
		"issuer's key is none": {func(c *config.Config) {
			c.Issuers = map[string]config.Issuer{"x": {Issuer: "https://x.example", KeyID: "k", Key: "AAAA"}}
		}, `issuer "x"`},
		"issuer's file is none": {func(c *config.Config) {
			c.Issuers = map[string]config.Issuer{"x": {Issuer: "https://x.example", JWKSFile: "/nowhere/jwks"}}
		}, "/nowhere/jwks"},
		"proxy is no address": {func(c *config.Config) { c.Proxy.TrustedProxies = []string{"10.0.0.0/99"} }, "10.0.0.0/99"},
		"certificate is none": {func(c *config.Config) { c.Proxy.TLSCert, c.Proxy.TLSKey = "/nowhere/cert", "/nowhere/key" }, "data port"},
		"control's is none":   {func(c *config.Config) { c.Control.TLSCert, c.Control.TLSKey = "/nowhere/cert", "/nowhere/key" }, "control port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, out, _ := options(t, c.change)
			if err := server.Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
			if strings.Contains(out.String(), "ready") {
				t.Errorf("it said %q", out)
			}
		})
	}
}

// TestAFileThatALoginNamesIsMissedAtItsPlace: in which file, which setting, and where it was looked for.
func TestAFileThatALoginNamesIsMissedAtItsPlace(t *testing.T) {
	t.Parallel()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	broken := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(broken, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, secret, jwks, want string }{
		{"gateway.hcl", "", "nope.json", `gateway.hcl: login "corp": jwks_file "nope.json": no such file or directory (it is looked for from the gateway's working folder, ` + here + `)`},
		{"gateway.hcl", "/nowhere/secret", "", `gateway.hcl: login "corp": secret_file "/nowhere/secret": no such file or directory`},
		{"", "/nowhere/secret", "", `login "corp": secret_file "/nowhere/secret": no such file or directory`},
		{"gateway.hcl", "", broken, `gateway.hcl: login "corp": jwks: `},
	} {
		o, _, _ := options(t, func(conf *config.Config) {
			conf.File = c.file
			conf.Logins = map[string]config.Login{"corp": {
				Tenant: "demo", Issuer: "https://login.example", Audience: "gatewright", Algorithm: "EdDSA", UserClaim: "email", AgentClaim: "azp",
				JWKSFile: c.jwks, SecretFile: c.secret, MaxAge: time.Hour,
			}}
		})
		err := refuseStart(t, o)
		if coded, ok := errors.AsType[interface {
			error
			ExitCode() int
		}](err); !ok || coded.ExitCode() != 2 || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%v\nwant %s", err, c.want)
		}
		o.Config.Logins = nil
		startable(t, o)
	}
}

func TestAnIssuerOfTheConfigurationIsPinned(t *testing.T) {
	t.Parallel()
	jwks := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(jwks, []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	o, _, _ := options(t, func(c *config.Config) {
		c.Issuers = map[string]config.Issuer{
			"file": {Issuer: "https://file.example", JWKSFile: jwks}, "key": {Issuer: "https://key.example", KeyID: "k", Key: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
		}
	})
	startable(t, o)
}

func TestAStartThatIsCalledOffLeavesAFolderThatStartsAgain(t *testing.T) {
	t.Parallel()
	o, out, _ := options(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.Run(ctx, o); err != nil && strings.Contains(out.String(), "ready") {
		t.Errorf("it said it was ready and failed: %v", err)
	}
	startable(t, o)
}

func TestLoadTakesFlagsOverVariablesOverTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "g.hcl")
	if err := os.WriteFile(file, []byte("proxy {\n  listen = \"127.0.0.1:1111\"\n  max_body = \"512KiB\"\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := server.Load(file, "", "127.0.0.1:3333", "", []string{"GATEWRIGHT_CFG_PROXY__LISTEN=127.0.0.1:2222", "GATEWRIGHT_CFG_LOG__LEVEL=error"})
	if err != nil || c.Proxy.Listen != "127.0.0.1:3333" || c.Proxy.MaxBody != 512<<10 || c.Log.Level != "error" {
		t.Errorf("%v, listen %s", err, c.Proxy.Listen)
	}
	for _, bad := range []string{"proxy {\n  lisen = \"x\"\n}\n", "nonsense = 1\n", "proxy {"} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Load(file, "", "", "", nil); err == nil || !strings.Contains(err.Error(), "g.hcl:") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := server.Load(filepath.Join(t.TempDir(), "none.hcl"), "", "", "", nil); err == nil {
		t.Error("a file that was named and is not there was passed over")
	}
	if _, err := server.Load("", "", "", "", []string{"GATEWRIGHT_CFG_PROXY__LISEN=x"}); err == nil {
		t.Error("an unknown variable was passed over")
	}
}

func TestTheLogKeepsToItsLevelAndForm(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "info": 3, "warn": 2, "error": 1} {
		for _, format := range []string{"text", "json"} {
			var b text
			log := server.Logger(config.Log{Level: level, Format: format}, &b)
			log.Debug("m")
			log.Info("m")
			log.Warn("m")
			log.Error("m")
			if n := strings.Count(b.String(), "\n"); n != want || strings.HasPrefix(b.String(), "{") != (format == "json") {
				t.Errorf("%s %s: %q", level, format, b.String())
			}
		}
	}
}
