package manifest

import (
	"encoding/json"
	"fmt"
	"strings"
)

// How a filter takes part.
const (
	Enforce = "enforce" // it may refuse and rewrite
	Shadow  = "shadow"  // it is asked, and what it would have done is counted
)

// Which way a filter looks.
const (
	Request  = "request"
	Response = "response"
	Both     = "both"
)

// Filter says that a filter is in force, and where. The order of the list is the order in which calls pass; answers pass
// it the other way round. A name may stand there once in each mode: the version in force, and the one that is tried.
type Filter struct {
	Name   string `json:"name"`   // 1 to 64 of a-z, 0-9, '.', '_' and '-'
	Digest string `json:"digest"` // SHA-256 of the module: "sha256:" and 64 hex digits
	// Mode is Enforce, also when it is left out, or Shadow.
	Mode string `json:"mode,omitempty"`
	// Servers and Tools narrow where it looks: names, or beginnings of names with a "*" behind them. Left out: everywhere.
	Servers []string `json:"servers,omitempty"`
	Tools   []string `json:"tools,omitempty"`
	// Direction is Request, Response or Both, also when it is left out.
	Direction string `json:"direction,omitempty"`
	// Config is an object, shown to the filter once, when it starts. Left out: what its version was uploaded with.
	Config json.RawMessage `json:"config,omitempty"`
}

var filterMembers = []string{"name", "digest", "mode", "servers", "tools", "direction", "config"}

// Bounds of the section.
const (
	MaxFilters      = 64       // entries
	maxPatterns     = 256      // servers or tools of one filter
	maxFilterName   = 64       // bytes
	MaxFilterConfig = 64 << 10 // bytes of one filter's config
)

// Shadowed tells whether the filter is only tried.
func (f Filter) Shadowed() bool { return f.Mode == Shadow }

// Asks tells whether the filter is asked in a direction, Request or Response.
func (f Filter) Asks(direction string) bool {
	return f.Direction == "" || f.Direction == Both || f.Direction == direction
}

// CheckFilterName refuses what may not stand in records, logs and metrics without a quote.
func CheckFilterName(name string) error {
	ok := len(name) >= 1 && len(name) <= maxFilterName && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	})
	if !ok || name == "." || name == ".." {
		return fmt.Errorf("name %.40q: want 1 to %d of a-z, 0-9, '.', '_' and '-', and not \".\" or \"..\" alone", name, maxFilterName)
	}
	return nil
}

// checkFilters judges the section's form.
func checkFilters(all []Filter) error {
	if len(all) > MaxFilters {
		return fmt.Errorf("more than %d (let one filter do the work of several)", MaxFilters)
	}
	seen := map[[2]string]bool{}
	for _, f := range all {
		if err := f.Check(); err != nil {
			return err
		}
		place := [2]string{f.Name, Enforce}
		if f.Shadowed() {
			place[1] = Shadow
		}
		if seen[place] {
			return fmt.Errorf("%q stands there twice with mode %q (a name stands once in each mode; give the other filter another name)", f.Name, place[1])
		}
		seen[place] = true
	}
	return nil
}

// Check judges one entry.
func (f Filter) Check() error {
	if err := CheckFilterName(f.Name); err != nil {
		return err
	}
	switch {
	case !digestForm.MatchString(f.Digest):
		return fmt.Errorf("digest of %q: want \"sha256:\" and 64 hex digits in lower case (`gatewright filter list` shows it)", f.Name)
	case f.Mode != "" && f.Mode != Enforce && f.Mode != Shadow:
		return fmt.Errorf("mode of %q: %.40q: want \"enforce\" or \"shadow\"", f.Name, f.Mode)
	case f.Direction != "" && f.Direction != Request && f.Direction != Response && f.Direction != Both:
		return fmt.Errorf("direction of %q: %.40q: want \"request\", \"response\" or \"both\"", f.Name, f.Direction)
	case len(f.Config) > MaxFilterConfig:
		return fmt.Errorf("config of %q: larger than %d bytes", f.Name, MaxFilterConfig)
	case f.Config != nil && f.Config[0] != '{':
		return fmt.Errorf("config of %q: want an object", f.Name)
	}
	if err := checkPatterns(f.Servers); err != nil {
		return fmt.Errorf("servers of %q: %w", f.Name, err)
	}
	if err := checkPatterns(f.Tools); err != nil {
		return fmt.Errorf("tools of %q: %w", f.Name, err)
	}
	return nil
}

// checkPatterns refuses an empty list: whether it means everything or nothing, somebody would read it the other way.
func checkPatterns(list []string) error {
	if list != nil && len(list) == 0 {
		return fmt.Errorf("an empty list (leave it out for all)")
	}
	if len(list) > maxPatterns {
		return fmt.Errorf("more than %d", maxPatterns)
	}
	for _, p := range list {
		if p == "" || len(p) > maxName || !printable(p) || strings.Contains(strings.TrimSuffix(p, "*"), "*") {
			return fmt.Errorf("%.40q: want a name, or the beginning of one with a \"*\" at its end", p)
		}
	}
	return nil
}

// Covers tells whether the filter looks at calls of this tool. It does not allocate.
func (f *Filter) Covers(server, tool string) bool {
	return covered(f.Servers, server) && covered(f.Tools, tool)
}

func covered(patterns []string, name string) bool {
	if patterns == nil {
		return true
	}
	for _, p := range patterns {
		if begin, ok := strings.CutSuffix(p, "*"); p == name || ok && strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}
