package witness

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// Client asks one witness. Its fields are not to be changed once it is used; it is safe for concurrent use.
type Client struct {
	Name string             // for people: errors and lists
	URL  string             // submission and monitoring prefix, http or https, without the slash at the end
	Key  ledger.VerifierKey // of type 0x04 or 0x06; nothing the witness says is believed but what this key signed
	HTTP *http.Client       // nil: one that gives up after 10 s
}

var (
	// ErrUnseen is a witness that never cosigned a checkpoint of the log, or does not know it.
	ErrUnseen = errors.New("the witness has not seen the log")
	// ErrAnswer is an answer that cannot be believed or understood.
	ErrAnswer = errors.New("the witness's answer is not valid")
	// ErrRefused is a witness that did not cosign. The text says why, as far as the witness did.
	ErrRefused = errors.New("the witness did not cosign")
	// ErrInconsistent is a checkpoint that does not continue what the witness cosigned, as it says. It is ErrRefused too.
	ErrInconsistent = errors.New("the witness finds another history (422)")
	// ErrBehind is a log that a witness has seen longer than it is now.
	ErrBehind = errors.New("the log is behind what was cosigned")
)

const (
	// maxAnswer bounds an answer in bytes: a checkpoint with some dozen signatures.
	maxAnswer = 128 << 10
	// clientTimeout is the longest a witness is waited for when nothing else was said.
	clientTimeout = 10 * time.Second
	// maxRedirects bounds redirects on one host.
	maxRedirects = 3
)

// Proof gives the consistency proof from a tree of old leaves, above 0 and below the checkpoint's size, to the
// checkpoint's. It is called by one goroutine at a time.
type Proof func(old uint64) ([]merkle.Hash, error)

// Cosignature is what a witness gave.
type Cosignature struct {
	Line []byte // one signature line under the pinned key, verified
	At   time.Time
	Size uint64 // of the checkpoint: what the witness now holds
}

// Submit sends a checkpoint with the proof from the size that the witness is believed to hold (0: unknown), and again
// with the one it names, once. Errors: ErrBehind (the witness holds a longer log), ErrRefused, ErrAnswer, and those of
// the network and of proof.
func (c *Client) Submit(ctx context.Context, note []byte, old uint64, proof Proof) (Cosignature, error) {
	cp, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return Cosignature{}, fmt.Errorf("submit to witness %q: %w", c.Name, err)
	}
	got, conflict, err := c.submit(ctx, cp, note, old, proof)
	if conflict != nil {
		got, conflict, err = c.submit(ctx, cp, note, *conflict, proof)
	}
	if conflict != nil {
		err = fmt.Errorf("%w: it named the size %d, and then did not take it", ErrRefused, *conflict)
	}
	if err != nil {
		return Cosignature{}, fmt.Errorf("witness %q: %w", c.Name, err)
	}
	return got, nil
}

// submit asks once. conflict is the size that the witness holds instead of old.
func (c *Client) submit(ctx context.Context, cp ledger.Checkpoint, note []byte, old uint64, proof Proof) (_ Cosignature, conflict *uint64, err error) {
	if old > cp.Size {
		return Cosignature{}, nil, fmt.Errorf("%w: it holds %d, the checkpoint is of %d", ErrBehind, old, cp.Size)
	}
	var hashes []merkle.Hash
	if old > 0 && old < cp.Size {
		if hashes, err = proof(old); err != nil {
			return Cosignature{}, nil, fmt.Errorf("make the consistency proof from %d: %w", old, err)
		}
	}
	status, kind, answer, err := c.do(ctx, http.MethodPost, "/add-checkpoint", appendSubmission(nil, old, hashes, note))
	if err != nil {
		return Cosignature{}, nil, err
	}
	switch {
	case status == http.StatusOK:
		got, err := c.verify(note, answer)
		got.Size = cp.Size
		return got, nil, err
	case status == http.StatusConflict && kind == sizeType:
		size, err := parseSize(strings.TrimSuffix(string(answer), "\n"))
		if err != nil {
			return Cosignature{}, nil, fmt.Errorf("%w: no size in a conflict", ErrAnswer)
		}
		return Cosignature{}, &size, nil
	case status == http.StatusNotFound:
		return Cosignature{}, nil, fmt.Errorf("%w: %w", ErrRefused, errUnknownLog)
	case status == http.StatusUnprocessableEntity:
		return Cosignature{}, nil, fmt.Errorf("%w: %w", ErrRefused, ErrInconsistent)
	}
	return Cosignature{}, nil, fmt.Errorf("%w: %w, %q", ErrRefused, statusError(status), clip(answer))
}

// verify finds the pinned key's signature among the lines of an answer. Lines of other keys are passed over.
func (c *Client) verify(note, lines []byte) (Cosignature, error) {
	body, _, err := ledger.ReadNote(note)
	if err != nil {
		return Cosignature{}, err
	}
	sigs, err := ledger.ReadSignatures(lines)
	if err != nil {
		return Cosignature{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	for _, s := range sigs {
		_, at, ok, err := ledger.VerifierKeys{c.Key}.Find(body, s)
		if err != nil {
			return Cosignature{}, fmt.Errorf("%w: %w", ErrAnswer, err)
		}
		if ok && !at.IsZero() {
			return Cosignature{Line: []byte(s.Line), At: at}, nil
		}
	}
	return Cosignature{}, fmt.Errorf("%w: no cosignature under the pinned key", ErrAnswer)
}

// Seen is what a witness holds of a log.
type Seen struct {
	ledger.Checkpoint
	Note []byte // as served: the text and the witness's cosignature are verified, who else signed is not
	At   time.Time
}

// Latest reads the newest checkpoint of a log that the witness cosigned. Errors: ErrUnseen, ErrAnswer, and those of the
// network. A witness can hold back what it saw; it cannot make a log longer than the log itself signed, which is for the
// caller to check.
func (c *Client) Latest(ctx context.Context, origin string) (Seen, error) {
	seen, err := c.latest(ctx, origin)
	if err != nil {
		return Seen{}, fmt.Errorf("witness %q: %w", c.Name, err)
	}
	return seen, nil
}

func (c *Client) latest(ctx context.Context, origin string) (Seen, error) {
	sum := sha256.Sum256([]byte(origin))
	status, _, note, err := c.do(ctx, http.MethodGet, "/"+hex.EncodeToString(sum[:])+"/checkpoint", nil)
	switch {
	case err != nil:
		return Seen{}, err
	case status == http.StatusNotFound:
		return Seen{}, ErrUnseen
	case status != http.StatusOK:
		return Seen{}, fmt.Errorf("%w: status %d, %q", ErrAnswer, status, clip(note))
	}
	cp, err := ledger.ReadCheckpoint(note)
	if err != nil {
		return Seen{}, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	if cp.Origin != origin {
		return Seen{}, fmt.Errorf("%w: a checkpoint of %q", ErrAnswer, clip([]byte(cp.Origin)))
	}
	_, sigs, ok := bytes.Cut(note, []byte("\n\n"))
	if !ok {
		return Seen{}, fmt.Errorf("%w: not a signed note", ErrAnswer)
	}
	got, err := c.verify(note, sigs)
	return Seen{Checkpoint: cp, Note: note, At: got.At}, err
}

// do makes one bounded request below the witness's prefix.
func (c *Client) do(ctx context.Context, method, path string, body []byte) (status int, kind string, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, fmt.Errorf("ask: %w", err)
	}
	res, err := c.client().Do(req)
	if err != nil {
		return 0, "", nil, fmt.Errorf("ask: %w", err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return 0, "", nil, fmt.Errorf("read answer: %w", err)
	}
	if len(answer) > maxAnswer {
		return 0, "", nil, fmt.Errorf("%w: more than %d bytes", ErrAnswer, maxAnswer)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), answer, nil
}

// client is the HTTP client with the rule about redirects: never to another host, never to another scheme.
func (c *Client) client() *http.Client {
	h := http.Client{Timeout: clientTimeout}
	if c.HTTP != nil {
		h = *c.HTTP
	}
	h.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if first := via[0].URL; req.URL.Host != first.Host || req.URL.Scheme != first.Scheme || len(via) > maxRedirects {
			return fmt.Errorf("%w: a redirect to another host, or one too many", ErrAnswer)
		}
		return nil
	}
	return &h
}

// clip keeps what a stranger sent short enough for one line of an error.
func clip(b []byte) []byte {
	const most = 100
	b = bytes.TrimSpace(b)
	return b[:min(len(b), most)]
}
