package git

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/storage/memory"
)

// remote is a conversation with a server, begun: it has said what it has.
type remote struct {
	session transport.UploadPackSession
	refs    *packp.AdvRefs
	commit  plumbing.Hash
}

func (r *remote) close() { _ = r.session.Close() }

// connect asks a server what it has and finds the commit that is meant.
func (s *Source) connect(ctx context.Context) (*remote, error) {
	end, err := transport.NewEndpoint(s.url.String())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	var auth transport.AuthMethod
	if s.cfg.Token != "" {
		auth = s.auth()
	}
	client := *s.client()
	client.Transport = bounded{client.Transport}
	session, err := githttp.NewClient(&client).NewUploadPackSession(end, auth)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	r := &remote{session: session}
	if r.refs, err = session.AdvertisedReferencesContext(ctx); err != nil {
		r.close()
		return nil, fmt.Errorf("%w: %w", ErrFetch, err)
	}
	if r.commit, err = s.advertised(r.refs); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// advertised finds the commit among what a server says it has.
func (s *Source) advertised(refs *packp.AdvRefs) (plumbing.Hash, error) {
	if s.cfg.Commit != "" {
		return plumbing.NewHash(s.cfg.Commit), nil
	}
	for _, name := range s.names() {
		if h, ok := refs.Peeled[name.String()]; ok { // an annotated tag's commit
			return h, nil
		}
		if h, ok := refs.References[name.String()]; ok {
			return h, nil
		}
	}
	return plumbing.ZeroHash, s.noRef()
}

// fetch brings one commit with its files, without its history, into memory.
func (s *Source) fetch(ctx context.Context) (storer.EncodedObjectStorer, plumbing.Hash, error) {
	r, err := s.connect(ctx)
	if err != nil {
		return nil, plumbing.ZeroHash, err
	}
	defer r.close()
	req := packp.NewUploadPackRequest()
	req.Wants = []plumbing.Hash{r.commit}
	for _, c := range []capability.Capability{capability.OFSDelta, capability.Shallow} {
		if !r.refs.Capabilities.Supports(c) {
			continue
		}
		if err := req.Capabilities.Set(c); err != nil {
			return nil, plumbing.ZeroHash, fmt.Errorf("%w: %w", ErrFetch, err)
		}
	}
	if req.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(1)
	}
	answer, err := r.session.UploadPack(ctx, req)
	if err != nil {
		return nil, plumbing.ZeroHash, fmt.Errorf("%w: fetch commit %s: %w", ErrFetch, r.commit, err)
	}
	defer func() { _ = answer.Close() }()
	pack, err := io.ReadAll(io.LimitReader(answer, maxPack+1))
	if err != nil {
		return nil, plumbing.ZeroHash, fmt.Errorf("%w: fetch commit %s: %w", ErrFetch, r.commit, err)
	}
	st, err := unpack(pack)
	return st, r.commit, err
}

// unpack reads a pack whose sizes were looked at first.
func unpack(pack []byte) (storer.EncodedObjectStorer, error) {
	if len(pack) > maxPack {
		return nil, fmt.Errorf("%w: the commit is larger than %d bytes, packed (keep policies in a repository of their own)", ErrContent, maxPack)
	}
	if err := weigh(pack); err != nil {
		return nil, err
	}
	st := memory.NewStorage()
	p, err := packfile.NewParserWithStorage(packfile.NewScanner(bytes.NewReader(pack)), st)
	if err == nil {
		_, err = p.Parse()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: unpack: %w", ErrFetch, err)
	}
	return st, nil
}

// weigh adds up what a pack unpacks to, before anything that large is made of it: what each object says of itself, and
// what each delta says of what it makes.
func weigh(pack []byte) error {
	s := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := s.Header()
	if err != nil {
		return fmt.Errorf("%w: no pack: %w", ErrFetch, err)
	}
	if count > maxObjects {
		return tooLarge()
	}
	total := int64(0)
	for range count {
		h, err := s.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("%w: pack: %w", ErrFetch, err)
		}
		if total += h.Length; h.Length < 0 || h.Length > maxUnpacked || total > maxUnpacked {
			return tooLarge()
		}
		head := &head{}
		if _, _, err := s.NextObject(head); err != nil {
			return fmt.Errorf("%w: pack: %w", ErrFetch, err)
		}
		if h.Type != plumbing.OFSDeltaObject && h.Type != plumbing.REFDeltaObject {
			continue
		}
		made, ok := head.makes()
		if total += made; !ok || made < 0 || made > maxUnpacked || total > maxUnpacked {
			return tooLarge()
		}
	}
	return nil
}

func tooLarge() error {
	return fmt.Errorf("%w: the commit unpacks to more than %d bytes or %d objects (keep policies in a repository of their own)", ErrContent, maxUnpacked, maxObjects)
}

// head keeps the beginning of what is written to it.
type head struct {
	b [2 * binary.MaxVarintLen64]byte
	n int
}

func (h *head) Write(p []byte) (int, error) {
	h.n += copy(h.b[h.n:], p)
	return len(p), nil
}

// makes reads the size of what a delta makes: the second of the two numbers it begins with.
func (h *head) makes() (int64, bool) {
	_, n := binary.Uvarint(h.b[:h.n])
	if n <= 0 {
		return 0, false
	}
	size, n := binary.Uvarint(h.b[n:h.n])
	return int64(min(size, 1<<62)), n > 0 //nolint:gosec // below 1<<62
}

// bounded cuts off answers that do not end.
type bounded struct{ http.RoundTripper }

// RoundTrip asks, and gives as much of the answer as a pack may have.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	inner := b.RoundTripper
	if inner == nil {
		inner = http.DefaultTransport
	}
	resp, err := inner.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if loc := resp.Header.Get("Location"); resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("the server points to %.80q: give that as the url if it is meant", strings.ToValidUTF8(loc, "?"))
	}
	resp.Body = &cut{resp.Body, maxPack + 1<<20}
	return resp, nil
}

var errEndless = errors.New("the answer does not end")

type cut struct {
	io.ReadCloser
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errEndless
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
