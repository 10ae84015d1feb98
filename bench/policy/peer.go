package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// peer is Open Policy Agent in a process of its own, built from the module in bench/peers, which the gateway's own module
// knows nothing of. It measures its own CPU time.
type peer struct {
	command *exec.Cmd
	in      io.WriteCloser
	write   *json.Encoder
	read    *json.Decoder
	dir     string
}

type question struct {
	Name   string            `json:"name"`
	Module string            `json:"module,omitempty"`
	Inputs []json.RawMessage `json:"inputs,omitempty"`
	Run    string            `json:"run,omitempty"`
	Time   time.Duration     `json:"time,omitempty"`
}

type answer struct {
	Version string  `json:"version"`
	Load    float64 `json:"load_s"`
	Allowed []bool  `json:"allowed"`
	Error   string  `json:"error"`
	Sample
}

// errNoPeer says that OPA could not be built here, and so is not compared with.
var errNoPeer = errors.New("OPA cannot be built here")

// startPeer builds and starts the peer. Errors that are errNoPeer leave everything else to be measured.
func startPeer(ctx context.Context) (_ *peer, err error) {
	source, err := peersFolder()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gatewright-peers-")
	if err != nil {
		return nil, err
	}
	p := &peer{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	binary := filepath.Join(dir, "peers")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, ".")
	build.Dir, build.Env = source, append(os.Environ(), "GOWORK=off", "GOFLAGS=") // which may speak of the gateway's own module
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w: %.200q", errNoPeer, err, strings.TrimSpace(string(text)))
	}
	p.command = exec.CommandContext(ctx, binary)
	p.command.Stderr = os.Stderr
	if p.in, err = p.command.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.write, p.read = json.NewEncoder(p.in), json.NewDecoder(out)
	return p, p.command.Start()
}

// peersFolder finds bench/peers from the working directory up.
func peersFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		at := filepath.Join(dir, "bench", "peers")
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("%w: no bench/peers above the working directory; run it from the repository", errNoPeer)
		}
		dir = up
	}
}

func (p *peer) ask(q question) (a answer, err error) {
	if err := p.write.Encode(q); err != nil {
		return a, fmt.Errorf("ask OPA: %w", err)
	}
	if err := p.read.Decode(&a); err != nil {
		return a, fmt.Errorf("hear from OPA: %w", err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("OPA: %q", a.Error)
	}
	return a, nil
}

// close ends the process, which stops when its input ends.
func (p *peer) close() error {
	return errors.Join(p.in.Close(), p.command.Wait(), os.RemoveAll(p.dir))
}
