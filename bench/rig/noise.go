package rig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Weather is a look at the machine: how fast it computes now and how much of its time went elsewhere.
type Weather struct {
	SHA256 float64 `json:"sha256_us"` // CPU microseconds of SHA-256 over 1 KiB, the yardstick between machines
	Sign   float64 `json:"sign_us"`   // CPU microseconds of an Ed25519 signature over 300 bytes, for what does not hash
	Spin   float64 `json:"spin_us"`   // CPU microseconds of a fixed piece of work
	Steal  float64 `json:"steal"`     // share of all CPU time that the host gave to others since the look before
	Load   float64 `json:"load"`      // load average of the last minute

	made uint64 // what the work computed, so that the compiler cannot leave it out
}

// Watch looks at the machine again and again.
type Watch struct{ total, steal uint64 }

// NewWatch starts looking.
func NewWatch() *Watch {
	w := &Watch{}
	w.total, w.steal = stolen()
	return w
}

// Look measures the machine. It takes some hundred milliseconds of every core.
func (w *Watch) Look() (Weather, error) {
	total, steal := stolen()
	out := Weather{Load: loadAverage()}
	if total > w.total {
		out.Steal = float64(steal-w.steal) / float64(total-w.total)
	}
	w.total, w.steal = total, steal
	var spins, hashes, signs []float64
	for range looks {
		spin, err := out.everyCore(spin)
		if err != nil {
			return out, err
		}
		hash, err := out.everyCore(func() uint64 { return hashMany(hashesALook) })
		if err != nil {
			return out, err
		}
		sign, err := out.everyCore(func() uint64 { return signMany(signsALook) })
		if err != nil {
			return out, err
		}
		spins, hashes, signs = append(spins, micros(spin)), append(hashes, micros(hash)/hashesALook), append(signs, micros(sign)/signsALook)
	}
	slices.Sort(spins)
	slices.Sort(hashes)
	slices.Sort(signs)
	out.Spin, out.SHA256, out.Sign = spins[looks/2], hashes[looks/2], signs[looks/2]
	return out, nil
}

// A look is the median of several short ones: one that another process interrupts says little.
const (
	looks       = 15
	hashesALook = 1000
	signsALook  = 40
)

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// everyCore does the work on every core at once, so that cores that share one body are all as busy as under load, and
// gives the mean CPU time of a share. CPU time and not the clock: other processes are no change of the machine.
func (w *Weather) everyCore(work func() uint64) (time.Duration, error) {
	n := runtime.GOMAXPROCS(0)
	times, errs, made := make([]time.Duration, n), make([]error, n), make([]uint64, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			start, err := threadCPU()
			if err == nil {
				made[i] = work()
				var end time.Duration
				end, err = threadCPU()
				times[i] = end - start
			}
			errs[i] = err
		})
	}
	all.Wait()
	sum := time.Duration(0)
	for i := range n {
		if errs[i] != nil {
			return 0, errs[i]
		}
		sum += times[i]
		w.made += made[i]
	}
	return sum / time.Duration(n), nil
}

// spin is a fixed piece of integer work and memory traffic, about 4 ms long.
func spin() uint64 {
	var table [4096]uint64
	x := uint64(88172645463325252)
	for range 1_200_000 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		table[x&4095] += x
	}
	return table[17]
}

func hashMany(n int) uint64 {
	block := make([]byte, 1024)
	for range n {
		sum := sha256.Sum256(block)
		copy(block, sum[:])
	}
	return uint64(block[0])
}

func signMany(n int) uint64 {
	key, message := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), make([]byte, 300)
	for range n {
		copy(message, ed25519.Sign(key, message))
	}
	return uint64(message[0])
}

// Off says by which share two weathers compute at different speeds.
func (w Weather) Off(other Weather) float64 {
	if other.Spin == 0 {
		return math.Inf(1)
	}
	return math.Abs(w.Spin/other.Spin - 1)
}

// stolen reads all time and stolen time of all CPUs from /proc/stat, in ticks; zeros where there is none.
func stolen() (total, steal uint64) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(line))
	const stealAt = 8 // cpu user nice system idle iowait irq softirq steal; guest time is in user time already
	for i, f := range fields {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > stealAt {
			continue
		}
		total += n
		if i == stealAt {
			steal = n
		}
	}
	return total, steal
}

func loadAverage() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	var one float64
	if _, err := fmt.Sscan(string(b), &one); err != nil {
		return 0
	}
	return one
}
