package disk

// Forgetter is a file whose bytes the operating system can be told to keep no longer in its cache.
type Forgetter interface {
	// Forget drops n bytes at off, all behind off when n is 0. They must be durable: what is not is kept.
	Forget(off, n int64)
}

// Forget drops what the operating system keeps of a part of a file that is durable and that nobody will read soon: a
// ledger that only grows would fill the memory with its past, and each page that it takes anew costs more than one that
// it just gave back. Where that cannot be said nothing happens.
func Forget(f File, off, n int64) {
	if g, ok := f.(Forgetter); ok {
		g.Forget(off, n)
	}
}
