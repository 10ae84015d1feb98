package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"

	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// workers is how many fetch and compare at once. With few, fsck can wait for ever on what it refuses.
const workers = 16

// check reads a whole log.
func check(ctx context.Context, where, origin, vkey string, out io.Writer) error {
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	src, err := source(where)
	if err != nil {
		return err
	}
	if err := fsck.New(origin, v, src, leafHashes, fsck.Opts{N: workers}).Check(ctx); err != nil {
		return err
	}
	cp, _, _, err := client.FetchCheckpoint(ctx, src.ReadCheckpoint, v, origin)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ok size=%d root=%x\n", cp.Size, cp.Hash)
	return nil
}

func source(where string) (fsck.Fetcher, error) {
	if !strings.HasPrefix(where, "http://") && !strings.HasPrefix(where, "https://") {
		return &client.FileFetcher{Root: where}, nil
	}
	u, err := url.Parse(strings.TrimSuffix(where, "/") + "/")
	if err != nil {
		return nil, err
	}
	f, err := client.NewHTTPFetcher(u, nil)
	if err != nil {
		return nil, err
	}
	if key := os.Getenv("REFEREES_KEY"); key != "" {
		f.SetAuthorizationHeader("Bearer " + key)
	}
	return f, nil
}

func leafHashes(bundle []byte) ([][]byte, error) {
	eb := &api.EntryBundle{}
	if err := eb.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	out := make([][]byte, 0, len(eb.Entries))
	for _, e := range eb.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(e))
	}
	return out, nil
}

// verifier reads a key text of type 0x01, 0x04 or 0x06.
func verifier(vkey string) (note.Verifier, error) {
	_, enc, ok := strings.Cut(vkey, "+")
	if _, enc, ok = strings.Cut(enc, "+"); !ok {
		return nil, fmt.Errorf("key %q: want name+hash+base64", vkey)
	}
	raw, err := base64.StdEncoding.DecodeString(enc)
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("key %q: not base64", vkey)
	}
	if raw[0] == 1 {
		return note.NewVerifier(vkey)
	}
	return fnote.NewVerifierForCosignatureV1(vkey)
}

// openNote demands that every one of the keys signed.
func openNote(text []byte, vkeys []string, out io.Writer) error {
	var all []note.Verifier
	for _, k := range vkeys {
		v, err := verifier(k)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	n, err := note.Open(text, note.VerifierList(all...))
	if err != nil {
		return err
	}
	if len(n.Sigs) != len(all) {
		return fmt.Errorf("%d of %d keys signed", len(n.Sigs), len(all))
	}
	for i, s := range n.Sigs {
		fmt.Fprintf(out, "signed by %s %08x", s.Name, s.Hash)
		if at, err := fnote.CoSigV1Timestamp(s); err == nil && len(vkeys) > 1 && i > 0 {
			fmt.Fprintf(out, " at %d", at.Unix())
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, n.Text)
	return nil
}

// tree reads a checkpoint's text.
func tree(text string) (tlog.Tree, error) {
	lines := strings.Split(text, "\n")
	if len(lines) < 4 {
		return tlog.Tree{}, fmt.Errorf("not a checkpoint: %q", text)
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	h, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: n, Hash: h}, err
}

// signedTree opens a checkpoint under one key.
func signedTree(text []byte, vkey string) (tlog.Tree, error) {
	v, err := verifier(vkey)
	if err != nil {
		return tlog.Tree{}, err
	}
	n, err := note.Open(text, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, err
	}
	return tree(n.Text)
}

// verifyProof verifies a tlog-proof with nothing but sumdb.
func verifyProof(text []byte, vkey, leaf string, out io.Writer) error {
	head, checkpoint, ok := bytes.Cut(text, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !ok || lines[0] != "c2sp.org/tlog-proof@v1" {
		return fmt.Errorf("not a tlog-proof")
	}
	lines = lines[1:]
	if len(lines) > 0 && strings.HasPrefix(lines[0], "extra ") {
		lines = lines[1:]
	}
	if len(lines) == 0 || !strings.HasPrefix(lines[0], "index ") {
		return fmt.Errorf("no index")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[0], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, l := range lines[1:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return err
		}
		proof = append(proof, h)
	}
	raw, err := hex.DecodeString(leaf)
	if err != nil || len(raw) != tlog.HashSize {
		return fmt.Errorf("leaf hash: want %d bytes in hex", tlog.HashSize)
	}
	t, err := signedTree(checkpoint, vkey)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, t.N, t.Hash, index, tlog.Hash(raw)); err != nil {
		return err
	}
	fmt.Fprintf(out, "ok index=%d size=%d\n", index, t.N)
	return nil
}

// verifyConsistency verifies a consistency proof, one hash in base64 a line.
func verifyConsistency(text []byte, older, newer, vkey string, out io.Writer) error {
	var trees [2]tlog.Tree
	for i, name := range []string{older, newer} {
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if trees[i], err = signedTree(b, vkey); err != nil {
			return err
		}
	}
	var proof tlog.TreeProof
	for l := range strings.FieldsSeq(string(text)) {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return err
		}
		proof = append(proof, h)
	}
	if err := tlog.CheckTree(proof, trees[1].N, trees[1].Hash, trees[0].N, trees[0].Hash); err != nil {
		return err
	}
	fmt.Fprintf(out, "ok %d to %d\n", trees[0].N, trees[1].N)
	return nil
}
