package plugins

// usage is what a process and its offspring take together.
type usage struct {
	processes int
	memory    int64 // resident bytes
}
