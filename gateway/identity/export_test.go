package identity

// ParseKey is the parser alone, for fuzzing.
func ParseKey(text []byte) (id []byte, ok bool) { return parseKey(text) }

// Visits is how many verified tokens are remembered.
func (d *Directory) Visits() int {
	s := d.logins.Load().seen
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.now) + len(s.old)
}

// Remembered is how many proofs are remembered.
func (p *Proofs) Remembered() (n int) {
	for i := range p.shards {
		p.shards[i].mu.Lock()
		n += len(p.shards[i].until)
		p.shards[i].mu.Unlock()
	}
	return n
}
