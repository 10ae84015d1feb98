package plugins

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// How often a look does more than to see after those already known, counted
	// in looks: ask them for children, search all of /proc.
	lookForChildren = 4
	lookEverywhere  = 240
	// killTime bounds how long the last processes may outrun their killer.
	killTime = 5 * time.Second
	// maxKnown bounds how many processes are remembered; Config.Processes ends a
	// connector long before.
	maxKnown = 1 << 16
)

// tree finds the processes that came from one: its descendants, those of its
// session, and those that carry its marker, however they detached. One that
// was seen once stays known, by its number and the time it began. Only one that
// left the session, scrubbed its environment and lost its parent between two
// looks is not found.
type tree struct {
	root   int
	born   uint64
	marker []byte

	mu     sync.Mutex     // guards what follows
	known  map[int]uint64 // number: time of its beginning
	closed bool           // the root is reaped, its number may be another's
}

// newTree begins with a child of ours that has not been reaped.
func newTree(root int, marker string) *tree {
	s, _ := readStat(root)
	return &tree{root: root, born: s.born, marker: []byte(marker), known: map[int]uint64{root: s.born}}
}

// check refuses a root that cannot be watched.
func (t *tree) check() error {
	if t.born == 0 {
		return errors.New("/proc does not show it, so that it cannot be watched")
	}
	return nil
}

// look brings the tree up to date and returns what it takes. The n-th look of
// many goes as far as it is due; n = 0 asks for children too.
func (t *tree) look(n int) usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return usage{}
	}
	u := t.refresh()
	if n%lookForChildren == 0 {
		t.adopt()
	}
	if n > 0 && n%lookEverywhere == 0 {
		t.search()
	}
	return u
}

// refresh forgets those that are gone.
func (t *tree) refresh() (u usage) {
	for pid, born := range t.known {
		s, ok := readStat(pid)
		if !ok || s.born != born {
			delete(t.known, pid)
			continue
		}
		u.processes++
		u.memory += s.memory
	}
	return u
}

// adopt takes in the children of those known, and theirs.
func (t *tree) adopt() {
	queue := slices.Collect(maps.Keys(t.known))
	for len(queue) > 0 && len(t.known) < maxKnown {
		for _, pid := range children(queue[0]) {
			if _, ok := t.known[pid]; ok {
				continue
			}
			if s, ok := readStat(pid); ok {
				t.known[pid] = s.born
				queue = append(queue, pid)
			}
		}
		queue = queue[1:]
	}
}

// search takes in whoever belongs to the tree among all processes. None can be
// older than the root.
func (t *tree) search() {
	others := slices.DeleteFunc(everybody(), func(s stat) bool {
		_, ok := t.known[s.pid]
		return ok || s.born < t.born || s.pid == os.Getpid()
	})
	for found := true; found; {
		found = false
		others = slices.DeleteFunc(others, func(s stat) bool {
			if !t.owns(s) {
				return false
			}
			t.known[s.pid], found = s.born, true
			return true
		})
	}
}

func (t *tree) owns(s stat) bool {
	_, child := t.known[s.parent]
	return child || s.session == t.root || marked(s.pid, t.marker)
}

// kill ends everybody but the root, which has ended, and returns how many could
// not be ended. It is done when twice in a row nobody was found alive: while
// one look goes through the numbers a process can fork past it.
func (t *tree) kill() (left int) {
	_ = unix.Kill(-t.root, unix.SIGKILL) // ESRCH: the group is empty
	pause, end := time.Millisecond, time.Now().Add(killTime)
	for quiet := 0; quiet < 2; {
		if left = t.strike(); left == 0 {
			quiet++
			continue
		}
		if quiet = 0; time.Now().After(end) {
			return left
		}
		time.Sleep(pause)
		pause = min(2*pause, 20*time.Millisecond)
	}
	return 0
}

// strike finds and kills everybody but the root and returns how many were alive.
func (t *tree) strike() (alive int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	t.search()
	for pid, born := range t.known {
		s, ok := readStat(pid)
		switch {
		case pid == t.root || !ok || s.born != born:
		case !s.dead:
			alive++
			killOne(s)
		case s.parent == os.Getpid(): // orphans come to us when we are a reaper or number 1
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
	return alive
}

// killOne kills a process and its group, which like itself came from the root:
// one joins only groups of its own session.
func killOne(s stat) {
	fd, err := unix.PidfdOpen(s.pid, 0)
	if err != nil {
		if err == unix.ENOSYS { // before Linux 5.3
			_ = unix.Kill(s.pid, unix.SIGKILL)
		}
		return // or it is gone
	}
	defer func() { _ = unix.Close(fd) }()
	if again, ok := readStat(s.pid); !ok || again.born != s.born {
		return // its number went to another
	}
	if s.group > 1 && s.group != unix.Getpgrp() {
		_ = unix.Kill(-s.group, unix.SIGKILL)
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// close forgets everything; the root may be reaped then.
func (t *tree) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed, t.known = true, nil
}

// stat is what /proc tells of a process.
type stat struct {
	pid, parent, group, session int
	dead                        bool
	born                        uint64 // ticks since the system's start
	memory                      int64  // resident bytes
}

// readStat returns false when there is no such process.
func readStat(pid int) (s stat, ok bool) {
	b, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return s, false
	}
	// The name in parentheses may hold anything.
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 22 {
		return s, false
	}
	s.pid, s.parent, s.group, s.session = pid, number(f[1]), number(f[2]), number(f[3])
	s.dead = f[0][0] == 'Z' || f[0][0] == 'X'
	s.born, s.memory = uint64(number(f[19])), int64(number(f[21])*os.Getpagesize())
	return s, true
}

func number(b []byte) int {
	n, _ := strconv.Atoi(string(b)) // the kernel wrote it
	return n
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// children returns a process's own; none when the kernel does not tell.
func children(pid int) (all []int) {
	files, _ := filepath.Glob(procPath(pid, "task/*/children"))
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for n := range bytes.FieldsSeq(b) {
			all = append(all, number(n))
		}
	}
	return all
}

// everybody returns all processes there are.
func everybody() (all []stat) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			if s, ok := readStat(pid); ok {
				all = append(all, s)
			}
		}
	}
	return all
}

// marked says whether a process carries the marker in its environment.
func marked(pid int, marker []byte) bool {
	b, err := os.ReadFile(procPath(pid, "environ"))
	if err != nil {
		return false // gone, or not ours to read: then it is not ours to kill
	}
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.Equal(v, marker) {
			return true
		}
	}
	return false
}
