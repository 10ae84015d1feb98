package place

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/policies"
	"github.com/gatewright/gatewright/policies/manifest"
)

// Entries are a bundle's entries, their configs without blanks: how a manifest is laid out makes no difference.
func Entries(b *policies.Bundle) []manifest.Filter {
	list := slices.Clone(b.Manifest().Filters)
	for i := range list {
		list[i].Config = Compact(list[i].Config)
	}
	return list
}

// Compact is a config without blanks.
func Compact(config json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if config == nil || json.Compact(&b, config) != nil {
		return config
	}
	return b.Bytes()
}

// Find returns the entry of a name, in force or in shadow.
func Find(entries []manifest.Filter, name string, shadow bool) *manifest.Filter {
	for i, f := range entries {
		if f.Name == name && f.Shadowed() == shadow {
			return &entries[i]
		}
	}
	return nil
}

// With is the list with an entry in it: where one of its name and mode stands, or at its position, or at the end. What was in
// shadow of the same bytes ends when they are enforced.
func With(now []manifest.Filter, e manifest.Filter, position int) []manifest.Filter {
	at := -1
	var next []manifest.Filter
	for _, f := range now {
		switch {
		case f.Name == e.Name && f.Shadowed() == e.Shadowed():
			at = len(next)
		case f.Name == e.Name && !e.Shadowed() && f.Digest == e.Digest:
		default:
			next = append(next, f)
		}
	}
	switch {
	case position > 0:
		at = min(position-1, len(next))
	case at < 0:
		at = len(next)
	}
	return slices.Insert(next, at, e)
}

// Rewrite is a bundle's manifest with another section filters, and nothing else changed.
func Rewrite(b *policies.Bundle, next []manifest.Filter) ([]byte, error) {
	sections := map[string]json.RawMessage{"format": json.RawMessage("1")}
	if data, ok := b.File(policies.ManifestFile); ok {
		if err := json.Unmarshal(data, &sections); err != nil {
			return nil, fmt.Errorf("read %s: %w", policies.ManifestFile, err)
		}
	}
	delete(sections, "filters")
	if len(next) > 0 {
		data, err := json.Marshal(next)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", policies.ManifestFile, err)
		}
		sections["filters"] = data
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(sections); err != nil {
		return nil, fmt.Errorf("write %s: %w", policies.ManifestFile, err)
	}
	return out.Bytes(), nil
}
