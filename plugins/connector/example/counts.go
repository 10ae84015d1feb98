package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"sync"
)

// counts says how often each conversion was made, and keeps that in a file.
// Calls come from several goroutines at once. There are never more entries than
// pairs of units.
type counts struct {
	path string // empty: nothing is kept

	mu sync.Mutex // guards what follows
	n  map[string]int
}

func openCounts(path string) (*counts, error) {
	c := &counts{path: path, n: map[string]int{}}
	if path == "" {
		return c, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &c.n)
	}
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	return c, nil
}

// add counts one conversion. The file is replaced as a whole, so that a crash
// leaves the old one or the new one. (While a connector is restarted the old
// process and the new one run side by side for a moment; a count may be lost
// then. What must not be lost belongs into a database.)
func (c *counts) add(conversion string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[conversion]++
	if c.path == "" {
		return nil
	}
	b, err := json.Marshal(c.n)
	if err == nil {
		err = replace(c.path, b)
	}
	if err != nil {
		return fmt.Errorf("keep counts: %w", err)
	}
	return nil
}

func (c *counts) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}

// replace writes a file beside path under a name of this process's own, and then
// gives it path's name.
func replace(path string, b []byte) error {
	temp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(temp, b, 0o600); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return os.Rename(temp, path)
}
