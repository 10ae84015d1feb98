package stages

// Keys counts the keys that are kept.
func (l *Limiter) Keys() (n int) {
	for i := range l.shards {
		n += len(l.shards[i].tat)
	}
	return n
}
