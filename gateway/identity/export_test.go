package identity

// ParseKey is the parser alone, for fuzzing.
func ParseKey(text []byte) (id []byte, ok bool) { return parseKey(text) }

// Visits is how many verified tokens are remembered.
func (d *Directory) Visits() int { return d.logins.Load().seen.Len() }

// Remembered is how many proofs are remembered.
func (p *Proofs) Remembered() int {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return len(p.memory.names)
}

// Shares is how many keys, agents and tenants are counted.
func (p *Proofs) Shares() int {
	p.memory.mu.Lock()
	defer p.memory.mu.Unlock()
	return len(p.memory.shares)
}

// CallerOf is one that was authenticated as this agent.
func CallerOf(tenant, agent string) Caller { return Caller{&who{tenant: tenant, agent: agent}} }
