// Package manifest reads a bundle's manifest.json: what the bundle is called, and what it says about things that others
// own (filters, tool pins, connectors). It judges the form alone; whoever owns a section judges what it means.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Format is the newest format this program reads.
const Format = 1

// Bounds of a manifest.
const (
	maxName    = 128  // bytes of a name
	maxText    = 1024 // bytes of the description
	maxEntries = 10_000
	maxVersion = 1 << 53 // what every JSON reader holds exactly
)

// Manifest is a bundle's manifest.json. Only format is required; a member that is not here is refused, since somebody
// meant something by it.
type Manifest struct {
	Format      int    `json:"format"`
	Name        string `json:"name"`
	Description string `json:"description"`
	// Version counts a signed bundle's editions, from 1, so that an old one, whose signature stays good, is told from a new.
	Version uint64 `json:"version"`
	// Filters are the tenant's filters that calls pass, in this order.
	Filters []Filter `json:"filters"`
	// Pins are the tools whose schema may not change: "server/tool" and the digest.
	Pins map[string]string `json:"pins"`
	// Connectors are the connectors that may run, by digest.
	Connectors []Item `json:"connectors"`
	// Templates are the template files. When given they are all that there are.
	Templates []string `json:"templates"`

	sections map[string]json.RawMessage
}

// Item names a file by its digest: "sha256:" and 64 hex digits.
type Item struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Parse reads a manifest strictly.
func Parse(data []byte) (*Manifest, error) {
	if err := canon.Check(data, canon.DefaultLimits()); err != nil {
		return nil, err
	}
	m := &Manifest{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("%w (its members are format, name, description, version, filters, pins, connectors and templates; those of a filter are %s)", err, strings.Join(filterMembers, ", "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	if err := json.Unmarshal(data, &m.sections); err != nil {
		return nil, err
	}
	if err := m.exactly(); err != nil {
		return nil, err
	}
	return m, m.check()
}

// exactly refuses a member in other letters than its own: encoding/json takes "Pins" for "pins", and another reader not.
func (m *Manifest) exactly() error {
	for name := range m.sections {
		if !slices.Contains([]string{"format", "name", "description", "version", "filters", "pins", "connectors", "templates"}, name) {
			return fmt.Errorf("%q is no member of a manifest (write it in lower case)", name)
		}
	}
	for section, members := range map[string][]string{"filters": filterMembers, "connectors": {"name", "digest"}} {
		var items []map[string]json.RawMessage
		if data := m.sections[section]; data == nil {
			continue
		} else if err := json.Unmarshal(data, &items); err != nil {
			return err
		}
		for _, item := range items {
			for name, value := range item {
				if string(value) == "null" {
					return fmt.Errorf("%s: %.40q is null (leave it out)", section, name)
				}
				if !slices.Contains(members, name) {
					return fmt.Errorf("%s: %.40q is no member of an item (its members are %s, in lower case)", section, name, strings.Join(members, ", "))
				}
			}
		}
	}
	return nil
}

func (m *Manifest) check() error {
	switch {
	case m.Format < 1 || m.Format > Format:
		return fmt.Errorf("format %d is not one this version reads (1 to %d)", m.Format, Format)
	case len(m.Name) > maxName || !printable(m.Name) || strings.TrimSpace(m.Name) != m.Name:
		return fmt.Errorf("name %.40q: want at most %d bytes of printable text without blanks around it", m.Name, maxName)
	case len(m.Description) > maxText:
		return fmt.Errorf("description: longer than %d bytes", maxText)
	case m.Version > maxVersion:
		return fmt.Errorf("version %d: want at most %d", m.Version, uint64(maxVersion))
	case len(m.Pins) > maxEntries || len(m.Templates) > maxEntries:
		return fmt.Errorf("more than %d pins or templates", maxEntries)
	}
	if err := checkItems(m.Connectors); err != nil {
		return fmt.Errorf("connectors: %w", err)
	}
	if err := checkFilters(m.Filters); err != nil {
		return fmt.Errorf("filters: %w", err)
	}
	for tool, digest := range m.Pins {
		server, name, ok := strings.Cut(tool, "/")
		if !ok || server == "" || name == "" || len(tool) > 2*maxName || !printable(tool) {
			return fmt.Errorf("pins: %.40q: want \"server/tool\"", tool)
		}
		if !digestForm.MatchString(digest) {
			return fmt.Errorf("pins: %q: want \"sha256:\" and 64 hex digits in lower case", tool)
		}
	}
	return nil
}

var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func checkItems(items []Item) error {
	if len(items) > maxEntries {
		return fmt.Errorf("more than %d", maxEntries)
	}
	seen := map[string]bool{}
	for _, i := range items {
		switch {
		case i.Name == "" || len(i.Name) > maxName || !printable(i.Name):
			return fmt.Errorf("name %.40q: want 1 to %d bytes of printable text", i.Name, maxName)
		case seen[i.Name]:
			return fmt.Errorf("%q stands there twice", i.Name)
		case !digestForm.MatchString(i.Digest):
			return fmt.Errorf("digest of %q: want \"sha256:\" and 64 hex digits in lower case", i.Name)
		}
		seen[i.Name] = true
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// Section returns a member as it stands, for its owner; nil when it is not there.
func (m *Manifest) Section(name string) []byte { return slices.Clone(m.sections[name]) }
