package importer

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/canon"
)

// Environment is what the server's program is to see, as NAME=value, as far as it is known here. It is secret.
func (s *Server) Environment(getenv func(string) string) (out []string) {
	for _, name := range s.PassEnv {
		for _, v := range s.env {
			if v.Name != name {
				continue
			}
			value := v.Value.value
			if from := v.Value.from(); from != "" {
				value = getenv(from)
			} else if len(v.Value.left) > 0 {
				continue
			}
			out = append(out, name+"="+value)
		}
	}
	return out
}

// Tools reads definitions as a server sent them, for people to look at. The catalogue of a gateway reads more strictly.
func Tools(raw []json.RawMessage) ([]Tool, error) {
	out := []Tool{}
	limits := canon.DefaultLimits()
	for _, def := range raw {
		var t struct {
			Name        string `json:"name"`
			Title       string `json:"title"`
			Annotations struct {
				ReadOnlyHint  bool  `json:"readOnlyHint"`
				OpenWorldHint *bool `json:"openWorldHint"`
			} `json:"annotations"`
		}
		digest, err := canon.Digest(def, limits)
		if err != nil {
			return nil, fmt.Errorf("a tool's definition: %w", err)
		}
		if err := json.Unmarshal(def, &t); err != nil || t.Name == "" {
			return nil, errors.New("a tool's definition is not one")
		}
		open := t.Annotations.OpenWorldHint
		out = append(out, Tool{t.Name, t.Title, t.Annotations.ReadOnlyHint, open == nil || *open, hex.EncodeToString(digest[:])})
	}
	return out, nil
}
