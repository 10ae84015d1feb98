package wal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle"
	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// state is all that the log needs to go on from a place in it. It holds no secret: MACs and roots are what a key made.
//
// Its file is stateMagic, the body, and the instance's Ed25519 signature over stateMagic || SHA-256(body), so that nobody
// who can only write the disk can make one. Body, big-endian:
//
//	kind u8 | instance length u8 | instance | generation u64 | segment u64 | offset u64 | previous end u64 | boot u64 |
//	clock u64 (unix us) | records u64 | unknown u64 | told u64 |
//	chains u32, in the order of their numbers: (name length u8 | name | mac 32 | frontier length u16 | frontier)... |
//	swept u64 | plans u32 | bytes u64 | plans' bytes | calls u32 | bytes u64 | calls' bytes
type state struct {
	kind       byte
	instance   string
	generation uint64
	at         place  // where the next frame goes; offset 0: at the start of a segment, before its header
	prevEnd    int64  // end of the data in the segment before
	boot       uint64 // highest seen
	clock      int64  // highest time seen
	records    uint64 // before the place, those that were pruned included
	unknown    uint64 // records of kinds of a newer version
	told       uint64 // generation that the records announced last
	chains     []chainState
	table      tableState
}

// chainState is a tenant's chain: after its last record.
type chainState struct {
	name string
	tree merkle.Frontier
	mac  [macBytes]byte
}

// Kinds of state.
const (
	stateSnapshot = 1 // of a place to go on from; what stands before is checked in the background
	stateBase     = 2 // of the start of the first segment that is kept
)

const (
	stateMagic = "gatewright/ledger-state/v1\n"
	// maxState bounds a state file in bytes: more than a table of uses that is full.
	maxState = 512 << 20
)

// errState is a state file that cannot be believed.
var errState = errors.New("stored state is not valid")

func (s *state) appendBody(b []byte) ([]byte, error) {
	be := binary.BigEndian
	b = append(b, s.kind, byte(len(s.instance)))
	b = append(b, s.instance...)
	for _, v := range [...]uint64{
		s.generation, s.at.segment, uint64(s.at.off), uint64(s.prevEnd), s.boot, uint64(s.clock), s.records, s.unknown, s.told,
	} {
		b = be.AppendUint64(b, v)
	}
	b = be.AppendUint32(b, uint32(len(s.chains)))
	for i := range s.chains {
		c := &s.chains[i]
		tree, err := c.tree.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		b = append(append(b, byte(len(c.name))), c.name...)
		b = append(b, c.mac[:]...)
		b = append(be.AppendUint16(b, uint16(len(tree))), tree...)
	}
	t := &s.table
	b = be.AppendUint64(b, uint64(t.swept))
	b = be.AppendUint64(be.AppendUint32(b, t.plans), uint64(len(t.planBytes)))
	b = append(b, t.planBytes...)
	b = be.AppendUint64(be.AppendUint32(b, t.calls), uint64(len(t.callBytes)))
	return append(b, t.callBytes...), nil
}

// text is the signed file.
func (s *state) text(key ed25519.PrivateKey) ([]byte, error) {
	room := 1 << 10
	for i := range s.chains {
		room += 128 + 32*len(s.chains[i].name)
	}
	room += len(s.table.planBytes) + len(s.table.callBytes)
	b, err := s.appendBody(append(make([]byte, 0, room), stateMagic...))
	if err != nil {
		return nil, err
	}
	if len(b)+ed25519.SignatureSize > maxState {
		return nil, fmt.Errorf("state of %d bytes, at most %d", len(b), maxState)
	}
	return append(b, ed25519.Sign(key, stateMessage(stateMagic, b[len(stateMagic):]))...), nil
}

// stateMessage is what is signed of a body. The context keeps the signature from serving anywhere else.
func stateMessage(context string, body []byte) []byte {
	sum := sha256.Sum256(body)
	return append([]byte(context), sum[:]...)
}

// opened checks that one of the keys signed a file, and returns its body. Without any key it is not checked.
func opened(b []byte, context string, keys []ed25519.PublicKey) ([]byte, error) {
	n := len(b) - ed25519.SignatureSize
	if n < len(context) || string(b[:len(context)]) != context {
		return nil, fmt.Errorf("%w: not of this version", errState)
	}
	body := b[len(context):n]
	for _, k := range keys {
		if len(k) == ed25519.PublicKeySize && ed25519.Verify(k, stateMessage(context, body), b[n:]) {
			return body, nil
		}
	}
	if len(keys) > 0 {
		return nil, fmt.Errorf("%w: signature", errState)
	}
	return body, nil
}

// readState reads a state file of a kind. It reports fs.ErrNotExist, or errState for what cannot be believed. Without
// any key nobody vouches for it.
func readState(on disk.FS, name string, kind byte, keys ...ed25519.PublicKey) (*state, error) {
	b, err := disk.ReadSmall(on, name, maxState)
	if err != nil {
		return nil, err
	}
	body, err := opened(b, stateMagic, keys)
	if err != nil {
		return nil, err
	}
	s, err := parseState(body)
	if err == nil && s.kind != kind {
		err = fmt.Errorf("%w: kind %d", errState, s.kind)
	}
	return s, err
}

func parseState(body []byte) (*state, error) {
	d := decoder{b: body}
	s := &state{kind: d.u8()}
	s.instance = string(d.bytes(int(d.u8())))
	var off, prev, clock uint64
	for _, v := range [...]*uint64{&s.generation, &s.at.segment, &off, &prev, &s.boot, &clock, &s.records, &s.unknown, &s.told} {
		*v = d.u64()
	}
	s.at.off, s.prevEnd, s.clock = int64(off), int64(prev), int64(clock)
	if err := s.parseChains(&d); err != nil {
		return nil, err
	}
	t := &s.table
	t.swept = int64(d.u64())
	t.plans = d.u32()
	t.planBytes = d.bytes(d.length())
	t.calls = d.u32()
	t.callBytes = d.bytes(d.length())
	switch {
	case d.bad || len(d.b) > 0:
		return nil, fmt.Errorf("%w: length", errState)
	case off > maxSegment || prev > maxSegment || s.clock < 0 || s.at.segment >= 1<<62 || s.generation == 0:
		return nil, fmt.Errorf("%w: out of range", errState)
	}
	return s, nil
}

func (s *state) parseChains(d *decoder) error {
	n := d.u32()
	if n > maxTenants || int(n) > len(d.b) {
		return fmt.Errorf("%w: %d chains", errState, n)
	}
	seen := make(map[string]bool, n)
	for range n {
		c := chainState{name: string(d.bytes(int(d.u8())))}
		c.mac = [macBytes]byte(d.bytes(macBytes))
		tree, err := merkle.ParseFrontier(d.bytes(int(d.u16())))
		if err != nil || !ledger.ValidTenant(c.name) || seen[c.name] || tree.Size() == 0 {
			return fmt.Errorf("%w: chain %q", errState, c.name)
		}
		c.tree, seen[c.name] = tree, true
		s.chains = append(s.chains, c)
	}
	return nil
}

// decoder reads big-endian values; past the end it notes that and goes on with zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) bytes(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.b, d.bad = nil, true
		return make([]byte, max(0, min(n, 1<<10)))
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

// length reads a length; one past the end is read as such by bytes.
func (d *decoder) length() int { return int(min(d.u64(), maxState)) }

func (d *decoder) u8() byte    { return d.bytes(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.bytes(2)) }
func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.bytes(4)) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.bytes(8)) }
