package wal

import "github.com/gatewright/gatewright/merkle"

// Done counts the steps of a plan that have been settled with outcome ok.
func (l *Log) Done(plan merkle.Hash) int {
	l.uses.mu.RLock()
	defer l.uses.mu.RUnlock()
	p := l.uses.plans[plan]
	if p == nil {
		return 0
	}
	n := 0
	for i := range p.steps {
		if p.steps[i].Done {
			n++
		}
	}
	return n
}
