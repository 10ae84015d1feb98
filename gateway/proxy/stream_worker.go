package proxy

import "sync"

// keepWorkers is how many workers are kept while there is nothing to do.
const keepWorkers = 64

// workers run what may become a stream: goroutines that are kept, so that their stacks need not grow anew with each call.
type workers struct {
	mu   sync.Mutex // guards what follows
	free []chan *Stream
	over bool
}

// start has s worked on by a goroutine of its own.
func (w *workers) start(s *Stream) {
	w.mu.Lock()
	n := len(w.free)
	if n == 0 {
		w.mu.Unlock()
		go w.run(s)
		return
	}
	ch := w.free[n-1]
	w.free = w.free[:n-1]
	w.mu.Unlock()
	ch <- s // it has room for one
}

func (w *workers) run(s *Stream) {
	ch := make(chan *Stream, 1)
	for s != nil {
		s.perform()
		if !w.park(ch) {
			return
		}
		s = <-ch
	}
}

// park puts a worker among the free ones, unless there are enough.
func (w *workers) park(ch chan *Stream) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over || len(w.free) >= keepWorkers {
		return false
	}
	w.free = append(w.free, ch)
	return true
}

// stop ends the free workers, and each other one when it is done.
func (w *workers) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
	for _, ch := range w.free {
		ch <- nil
	}
	w.free = nil
}
