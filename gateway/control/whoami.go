package control

import "context"

type whoamiOut struct {
	Body struct {
		Organisation string   `json:"organisation" doc:"id of the key's organisation"`
		User         string   `json:"user,omitempty"`
		Agent        string   `json:"agent,omitempty"`
		Key          string   `json:"key" doc:"id of the key, not the key"`
		Kind         string   `json:"kind"`
		Role         string   `json:"role"`
		May          []string `json:"may" doc:"operation ids that the key may call"`
	}
}

func (m *mounting) whoami() {
	handle(m, "whoami", func(_ context.Context, c *call, _ *none) (*whoamiOut, error) {
		out := &whoamiOut{}
		b := &out.Body
		b.Organisation, b.User, b.Agent, b.Key = c.caller.Tenant(), c.caller.User(), c.caller.Agent(), c.caller.KeyID()
		b.Kind, b.Role, b.May = string(c.caller.Kind()), string(c.caller.Role()), []string{}
		for i := range routes {
			if permitted(&routes[i], c.caller) == nil {
				b.May = append(b.May, routes[i].Op)
			}
		}
		return out, nil
	})
}
