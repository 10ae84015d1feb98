package importer

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// What somebody who says yes should know first.

// shells read their argument as a program.
var shells = map[string][]string{
	"sh": {"-c"}, "bash": {"-c"}, "zsh": {"-c"}, "dash": {"-c"}, "ksh": {"-c"}, "fish": {"-c"},
	"cmd": {"/c", "/k"}, "powershell": {"-command", "-c", "-encodedcommand"}, "pwsh": {"-command", "-c", "-encodedcommand"},
}

// program is the name of a program without its folder and what Windows adds to it.
func program(command string) string {
	name := strings.ToLower(path.Base(strings.ReplaceAll(command, `\`, "/")))
	for _, end := range []string{".exe", ".cmd", ".bat"} {
		name = strings.TrimSuffix(name, end)
	}
	return name
}

// warnCommand tells what a command line brings with it.
func warnCommand(words []string) (out []string) {
	name, args := program(words[0]), words[1:]
	for _, a := range args {
		if slices.Contains(shells[name], strings.ToLower(a)) || shells[name] != nil && strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.HasSuffix(a, "c") {
			out = append(out, "a shell reads its command: name the program itself, so that the line says what runs")
			break
		}
	}
	if pack, fetches := fetched(name, args); fetches && !pinned(pack) {
		out = append(out, fmt.Sprintf("%s fetches %s, and another version whenever there is one: pin it, as in %s@1.2.3, or install it", name, orThe(pack), orThe(pack)))
	}
	if (name == "docker" || name == "podman" || name == "nerdctl") && slices.Contains(args, "run") && !slices.ContainsFunc(args, func(a string) bool { return strings.Contains(a, "@sha256:") }) {
		out = append(out, "the image is not pinned: name it by its digest (IMAGE@sha256:...)")
	}
	if slices.ContainsFunc(args, func(a string) bool { return a == "mcp-remote" || strings.HasPrefix(a, "mcp-remote@") }) {
		out = append(out, "mcp-remote only leads to an HTTP server: a server with that url is reached natively, with its credential in the vault")
	}
	return out
}

func orThe(pack string) string {
	if pack == "" {
		return "a package"
	}
	return pack
}

// fetched finds the package that a launcher fetches and runs.
func fetched(name string, args []string) (pack string, fetches bool) {
	switch {
	case name == "npx" || name == "bunx" || name == "pnpx" || name == "uvx":
	case len(args) > 0 && (name == "pnpm" || name == "yarn") && args[0] == "dlx",
		len(args) > 0 && name == "npm" && (args[0] == "exec" || args[0] == "x"),
		len(args) > 0 && name == "bun" && args[0] == "x",
		len(args) > 0 && name == "pipx" && args[0] == "run":
		args = args[1:]
	case len(args) > 1 && name == "uv" && args[0] == "tool" && args[1] == "run":
		args = args[2:]
	default:
		return "", false
	}
	for i := 0; i < len(args); i++ {
		a := args[i]
		for _, flag := range []string{"--package", "--from", "--spec", "-p"} {
			if a == flag && i+1 < len(args) {
				return args[i+1], true
			}
			if v, ok := strings.CutPrefix(a, flag+"="); ok {
				return v, true
			}
		}
		if a == "--python" || a == "--with" || a == "--index-url" || a == "--registry" {
			i++
			continue
		}
		if !strings.HasPrefix(a, "-") {
			return a, true
		}
	}
	return "", true
}

var exactly = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(\.[0-9]+)*([-+.]?[0-9A-Za-z.-]+)?$`)

// pinned says whether a package is named with one version: NAME@1.2.3, or NAME==1.2.3 of Python, or a commit of git. What
// lies in a folder is what it is.
func pinned(pack string) bool {
	if strings.HasPrefix(pack, ".") || strings.HasPrefix(pack, "/") {
		return true
	}
	if _, version, ok := strings.Cut(pack, "=="); ok {
		return exactly.MatchString(version)
	}
	i := strings.LastIndex(pack, "@")
	return i > 0 && (exactly.MatchString(pack[i+1:]) || commit.MatchString(pack[i+1:]))
}

var commit = regexp.MustCompile(`^[0-9a-f]{40}$`)

// address judges a url: why it cannot be proposed, what to know of it, and whether it is private.
func address(text string) (hold string, warnings []string, private bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || len(text) > maxWord || !plainASCII(text):
		return "its url cannot be read", nil, false
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return "its url is not http or https with a host", nil, false
	case u.User != nil:
		return "its url holds a password: put it into the vault, and name it as the credential", nil, false
	case u.Fragment != "" || strings.Contains(text, "#"):
		return "its url has a fragment, which is never sent: leave it out", nil, false
	}
	if u.Scheme == "http" {
		warnings = append(warnings, "plain http: whoever is on the way reads and changes all of it, its credential too")
	}
	if private = isPrivate(u.Hostname()); private {
		warnings = append(warnings, "its address is private or on this machine: it is refused without allow_private (import --allow-private)")
	}
	return "", warnings, private
}

func plainASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// isPrivate says whether a host is one of an inner network, as far as its name says. Where a name leads is judged when it
// is dialed.
func isPrivate(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsUnspecified()
	}
	for _, end := range []string{".local", ".internal", ".localhost", ".lan", ".home.arpa"} {
		if strings.HasSuffix(host, end) {
			return true
		}
	}
	return net.ParseIP(host) == nil && !strings.Contains(host, ".")
}

// powers are variables by which a value becomes a program, or which mean something to the gateway itself.
var powers = regexp.MustCompile(`^(LD_.*|DYLD_.*|PATH|HOME|SHELL|IFS|ENV|BASH_ENV|NODE_OPTIONS|PYTHONPATH|PYTHONSTARTUP|PERL5OPT|RUBYOPT|JAVA_TOOL_OPTIONS|GODEBUG|GOGC|GOMEMLIMIT|SSL_CERT_.*|(?i:HTTPS?_PROXY|ALL_PROXY|NO_PROXY)|TMPDIR|GATEWRIGHT_.*|PLUGIN_.*)$`)
