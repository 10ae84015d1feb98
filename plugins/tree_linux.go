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
	// maxUnsure bounds how many looks in a row may find nobody and yet not be
	// sure of it: on a busy machine others, too, begin and end all the time.
	maxUnsure = 200
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
	// strangers are those that kill has seen are not of the tree; nil before it.
	strangers map[int]bool
	caught    int // how many the last look killed whom nobody knew
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

// search takes in whoever belongs to the tree among all processes but the
// strangers. None can be older than the root. It is sure that it saw everybody
// unless one ended before it could be examined, which may have had a successor,
// or was about to execute a program, when none has an environment.
func (t *tree) search() (sure bool) {
	var others []stat
	sure = true
	for _, pid := range everybody() {
		if _, ok := t.known[pid]; ok || t.strangers[pid] {
			continue
		}
		s, ok := readStat(pid)
		if ok && (s.born < t.born || pid == os.Getpid()) {
			t.stranger(pid)
			continue
		}
		owned, known := t.owns(s)
		switch {
		case !ok || !known:
			sure = false
		case owned:
			t.take(s)
		default:
			t.stranger(pid)
			others = append(others, s)
		}
	}
	for found := true; found; {
		found = false
		others = slices.DeleteFunc(others, func(s stat) bool {
			_, child := t.known[s.parent]
			if child {
				t.take(s)
				found = true
			}
			return child
		})
	}
	return sure
}

// take remembers a process that belongs to the tree, and kills it at once when
// that is what it is looked for: later it may have a successor.
func (t *tree) take(s stat) {
	if t.known[s.pid] = s.born; t.killing() && !s.dead {
		killOne(s)
		t.caught++
	}
}

func (t *tree) killing() bool { return t.strangers != nil }

func (t *tree) stranger(pid int) {
	if t.killing() {
		t.strangers[pid] = true
	}
}

// owns says whether a process belongs to the tree, by what it is itself. That is
// not known of one that has ended meanwhile, or is just executing a program.
func (t *tree) owns(s stat) (owned, known bool) {
	if _, child := t.known[s.parent]; child || s.session == t.root {
		return true, true
	}
	environ, err := os.ReadFile(procPath(s.pid, "environ"))
	switch {
	case errors.Is(err, os.ErrPermission):
		return false, true // not ours to read: then it is not ours to kill
	case err != nil:
		return false, false
	case len(environ) == 0:
		return false, s.dead || s.kernel
	}
	return hasLine(environ, t.marker), true
}

// kill ends everybody but the root, which has ended, and returns how many could
// not be ended. It is done when twice in a row it was sure that nobody is alive.
// One look at all processes takes so long that a process can fork past it, so
// each look after the first goes through the new ones alone.
func (t *tree) kill() (left int) {
	_ = unix.Kill(-t.root, unix.SIGKILL) // ESRCH: the group is empty
	t.forget()
	pause, end := time.Millisecond, time.Now().Add(killTime)
	for quiet, unsure := 0, 0; quiet < 2 && unsure < maxUnsure; {
		alive, caught, sure := t.strike()
		switch left = max(alive, caught); {
		case left > 0 && time.Now().After(end):
			return left
		case caught > 0: // and their successors may have begun
			quiet, unsure = 0, 0
		case alive > 0: // they take their time to die
			quiet, unsure = 0, 0
			time.Sleep(pause)
			pause = min(2*pause, 20*time.Millisecond)
		case sure:
			quiet++
		default: // look again at once, or the successor is gone as well
			quiet, unsure = 0, unsure+1
		}
	}
	return left
}

// forget makes the next look examine everybody.
func (t *tree) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.strangers = make(map[int]bool)
}

// strike finds and kills everybody but the root. It returns how many were alive,
// how many it killed that nobody knew, and whether it is sure that this is all.
func (t *tree) strike() (alive, caught int, sure bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	t.caught = 0
	sure = t.search()
	for pid, born := range t.known {
		s, ok := readStat(pid)
		switch {
		case pid == t.root || !ok || s.born != born:
			sure = sure && (ok || pid == t.root)
		case !s.dead:
			alive++
			killOne(s)
		case s.parent == os.Getpid(): // orphans come to us when we are a reaper or number 1
			if n, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); n == 0 && err == nil {
				alive++ // it looks dead when its first thread is; it can be reaped when the last one is
			}
		}
	}
	return alive, t.caught, sure
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
	dead, kernel                bool   // kernel: a thread of the system's own
	born                        uint64 // ticks since the system's start
	memory                      int64  // resident bytes
}

// isKernel is PF_KTHREAD among a process's flags.
const isKernel = 0x00200000

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
	s.dead, s.kernel = f[0][0] == 'Z' || f[0][0] == 'X', number(f[6])&isKernel != 0
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

// everybody returns the numbers of all processes there are.
func everybody() (all []int) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// hasLine says whether one of the strings that end in a zero byte is this one.
func hasLine(b, line []byte) bool {
	for v := range bytes.SplitSeq(b, []byte{0}) {
		if bytes.Equal(v, line) {
			return true
		}
	}
	return false
}
