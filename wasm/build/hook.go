package build

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"
)

// command is the hidden first argument. Behind it stand the child's bounds: CPU seconds, bytes of memory, bytes of code,
// and the engine's limit of pages.
const command = "wasm-compile"

// hooked is whether Hook was called. A program whose main does not would start itself over and over.
var hooked atomic.Bool

// Hook must be called first of all in main. In a process that was started to compile a module it does that and exits;
// otherwise it returns at once.
func Hook() {
	hooked.Store(true)
	if len(os.Args) != 6 || os.Args[1] != command {
		return
	}
	os.Exit(serve(os.Args[2:], os.Stdin, os.Stdout, os.Stderr))
}

// What a child can answer with.
const (
	answerCode = iota + 1
	answerEngine
	answerTooMuch
)

// answerHead is the length of an answer's fixed part: what it is, the child's peak memory, the slot, and how many bytes
// follow, which are native code or words.
const answerHead = 1 + 8 + slotSize + 8

// mostInput bounds what a child reads: beyond it no module is.
const mostInput = 1 << 28

// serve is the child's whole life.
func serve(args []string, in io.Reader, out, errs io.Writer) int {
	var n [4]uint64
	for i, a := range args {
		var err error
		if n[i], err = strconv.ParseUint(a, 10, 63); err != nil {
			fmt.Fprintln(errs, "this command is the gateway's own")
			return 64
		}
	}
	peak, err := confine(n[0], n[1])
	if err != nil {
		fmt.Fprintln(errs, "confine:", err)
		return 1
	}
	module, err := io.ReadAll(io.LimitReader(in, mostInput))
	if err != nil {
		fmt.Fprintln(errs, "read the module:", err)
		return 1
	}
	what, slot, body := answer(module, n[2], uint32(n[3])) //nolint:gosec // the gateway's own argument
	head := binary.BigEndian.AppendUint64([]byte{what}, uint64(peak()))
	head = binary.BigEndian.AppendUint64(append(head, slot[:]...), uint64(len(body)))
	for _, b := range [][]byte{head, body} {
		if _, err := out.Write(b); err != nil {
			return 1
		}
	}
	return 0
}

func answer(module []byte, most uint64, pages uint32) (what byte, slot [slotSize]byte, body []byte) {
	defer func() {
		if p := recover(); p != nil {
			what, body = answerEngine, fmt.Appendf(nil, "panic: %.300v", p)
		}
	}()
	c, err := compile(context.Background(), module, pages)
	switch {
	case err != nil:
		return answerEngine, slot, fmt.Appendf(nil, "%.300s", err)
	case uint64(len(c.code)) > most:
		return answerTooMuch, slot, fmt.Appendf(nil, "%d bytes of native code, at most %d", len(c.code), most)
	}
	return answerCode, c.slot, c.code
}
