// Command referees judges a transparency log and its proofs with programs that others wrote: Tessera's fsck and client,
// the Go checksum database's note and tlog packages, and transparency-dev's formats. It shares no code with the gateway.
//
//	referees fsck FOLDER|URL ORIGIN VKEY        reads every entry, tile and the checkpoint
//	referees note VKEY... < NOTE                opens a signed note under every one of these keys
//	referees proof VKEY LEAFHASH < PROOF        verifies a C2SP tlog-proof: checkpoint, and inclusion of the leaf
//	referees consistency OLD NEW VKEY < PROOF   verifies that the note in file NEW continues the one in file OLD
//	referees log FOLDER NAME N [URL WVKEY]      writes a Tessera log of N entries, cosigned by a witness when one is named
//	referees hand FOLDER NAME N                 writes a log of N entries with sumdb/tlog alone, and prints its key
//
// It exits 0 when what it was given is right, 1 when it is refused, 2 on wrong usage. A bearer key for fsck over HTTP is
// read from REFEREES_KEY. Its caller has to end it when it takes too long: fsck is known to wait for ever on some logs
// that it refuses (seen with less than 16 workers), and that counts as refused.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

func main() {
	err := run(context.Background(), os.Args[1:], os.Stdin, os.Stdout)
	switch {
	case err == nil:
		return
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "usage: referees fsck|note|proof|consistency|log|hand ARGUMENTS; see the source")
		os.Exit(2)
	}
	fmt.Fprintln(os.Stderr, "refused:", err)
	os.Exit(1)
}

var errUsage = errors.New("wrong usage")

// maxInput bounds what is read from the standard input, in bytes.
const maxInput = 1 << 20

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 0 {
		return errUsage
	}
	verb, args := args[0], args[1:]
	text := []byte(nil)
	if verb == "note" || verb == "proof" || verb == "consistency" {
		var err error
		if text, err = io.ReadAll(io.LimitReader(in, maxInput)); err != nil {
			return fmt.Errorf("read input: %w", err)
		}
	}
	switch {
	case verb == "fsck" && len(args) == 3:
		return check(ctx, args[0], args[1], args[2], out)
	case verb == "note" && len(args) > 0:
		return openNote(text, args, out)
	case verb == "proof" && len(args) == 2:
		return verifyProof(text, args[0], args[1], out)
	case verb == "consistency" && len(args) == 3:
		return verifyConsistency(text, args[0], args[1], args[2], out)
	case verb == "log" && (len(args) == 3 || len(args) == 5):
		return writeLog(ctx, args, out)
	case verb == "hand" && len(args) == 3:
		return writeByHand(args[0], args[1], args[2], out)
	}
	return errUsage
}
