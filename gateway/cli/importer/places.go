package importer

import (
	"path/filepath"
)

// Machine is what the well-known places depend on.
type Machine struct {
	OS     string // as runtime.GOOS says it
	Home   string
	Work   string // the working directory: projects' files are looked for there
	Getenv func(string) string
}

// Places lists the files that the clients read on this machine, a project's before a person's, as the clients have them
// too. Sources: modelcontextprotocol.io (Claude Desktop; its path on Linux is that of community builds), cursor.com/docs,
// code.visualstudio.com/docs (mcp.json since 1.102, settings.json before).
func Places(m Machine) []File {
	var out []File
	add := func(client string, parts ...string) {
		if parts[0] != "" {
			out = append(out, File{Name: filepath.Join(parts...), Client: client, Home: m.Home})
		}
	}
	if m.Work != m.Home { // there it is the person's own
		add(Cursor, m.Work, ".cursor", "mcp.json")
	}
	add(VSCode, m.Work, ".vscode", "mcp.json")
	add(VSCode, m.Work, ".vscode", "settings.json")
	base := m.configFolder()
	add(Claude, base, "Claude", "claude_desktop_config.json")
	add(Cursor, m.Home, ".cursor", "mcp.json")
	for _, edition := range []string{"Code", "Code - Insiders"} {
		add(VSCode, base, edition, "User", "mcp.json")
		add(VSCode, base, edition, "User", "settings.json")
	}
	return out
}

// configFolder is where the system has programs keep settings; empty if it is not known.
func (m Machine) configFolder() string {
	switch m.OS {
	case "windows":
		return m.Getenv("APPDATA")
	case "darwin":
		if m.Home == "" {
			return ""
		}
		return filepath.Join(m.Home, "Library", "Application Support")
	}
	if dir := m.Getenv("XDG_CONFIG_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	if m.Home == "" {
		return ""
	}
	return filepath.Join(m.Home, ".config")
}
