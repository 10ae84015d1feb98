package plugins

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	// maxHandshake bounds the first line of stdout in bytes; go-plugin's holds a
	// path and a certificate, about 1 KiB.
	maxHandshake = 8 << 10
	// pipeTime is how long output may trail behind the end of a process. Only one
	// that escaped with the pipe in hand needs it.
	pipeTime = time.Second
	// ioChunk is how much of a pipe is read at once, in bytes. A reader that is
	// always given this much pauses for floodPause, which bounds what a process
	// that floods us costs.
	ioChunk    = 32 << 10
	floodPause = time.Millisecond
)

// pipes are the three descriptors a process gets, and our ends of two.
type pipes struct{ null, outR, outW, errR, errW *os.File }

func openPipes() (*pipes, error) {
	var (
		p   pipes
		err error
	)
	if p.null, err = os.Open(os.DevNull); err == nil {
		if p.outR, p.outW, err = os.Pipe(); err == nil {
			p.errR, p.errW, err = os.Pipe()
		}
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("open pipes: %w", err)
	}
	return &p, nil
}

// highest is the highest descriptor that will be given to the process.
func (p *pipes) highest() int {
	return int(max(p.null.Fd(), p.outW.Fd(), p.errW.Fd()))
}

// closeChild closes the process's ends, so that ours end with it.
func (p *pipes) closeChild() { closeAll(p.null, p.outW, p.errW) }

// close closes all; closing again does nothing.
func (p *pipes) close() { closeAll(p.null, p.outR, p.outW, p.errR, p.errW) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// listen hands the first line of stdout to go-plugin, which takes everything up
// to the end of the file, and discards what follows.
func (p *process) listen(r io.Reader) {
	b := bufio.NewReaderSize(r, maxHandshake)
	line, err := b.ReadSlice('\n')
	if len(line) > 0 {
		p.mu.Lock()
		p.line, p.whole = string(line), err == nil
		p.mu.Unlock()
		if err == nil {
			_, _ = p.helloW.Write(line) // fails when go-plugin has given up
		}
	}
	_ = p.helloW.Close()
	pour(io.Discard, b)
}

// record keeps what the process writes on stderr.
func (p *process) record(r io.Reader) {
	w := &lineWriter{journal: p.journal, pid: p.pid()}
	pour(w, r)
	w.flush()
}

// pour copies until the end, slowly when flooded.
func pour(w io.Writer, r io.Reader) {
	buf := make([]byte, ioChunk)
	for {
		n, err := r.Read(buf)
		_, _ = w.Write(buf[:n]) // ours never fail
		if err != nil {
			return
		}
		if n == len(buf) {
			time.Sleep(floodPause)
		}
	}
}
