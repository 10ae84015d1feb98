package wal

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// Sealer does the CPU work of one record without a disk or a second goroutine.
type Sealer struct {
	l  *Log
	c  *chain
	it item
}

func NewSealer() *Sealer {
	s := &Sealer{l: &Log{opt: Options{Config: DefaultConfig(), Instance: "gw-1", Now: time.Now}}}
	s.l.w.size, s.l.w.off = s.l.opt.SegmentBytes, headerBytes
	s.c = &chain{name: "acme"}
	return s
}

func (s *Sealer) Seal(r *ledger.Record) error {
	if err := s.l.seal(r, &s.it); err != nil {
		return err
	}
	s.l.w.buf = s.l.w.buf[:0]
	s.l.layFrame(s.c, &s.it)
	return nil
}

// ParseFrame and AppendFrame open the frame's form to tests.
func ParseFrame(b []byte, segment uint64) (leaf, side []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errEnd
	}
	n, err := frameLen(b)
	if err != nil {
		return nil, nil, err
	}
	if n > len(b) {
		return nil, nil, errFrame
	}
	f, err := parseFrame(b[:n], frameSeed(segment))
	return f.leaf, f.side, err
}

func AppendFrame(dst []byte, segment uint64, tenant uint32, seq uint64, leaf, side []byte) []byte {
	f := frame{tenant: tenant, seq: seq, leaf: leaf, side: side, mac: make([]byte, macBytes), flags: flagBatch}
	if len(side) > 0 {
		f.flags |= flagSide
	}
	return appendFrame(dst, frameSeed(segment), &f)
}

// PublishNow publishes what changed, as the timer does.
func (l *Log) PublishNow() error { return l.publishHeads(context.Background()) }

// HeaderBytes is the size of a segment's header.
const HeaderBytes = headerBytes

// SumHeader renews the CRC of a header that a test changed.
func SumHeader(b []byte) {
	binary.BigEndian.PutUint32(b[headerCRC:], crc32.Checksum(b[:headerCRC], castagnoli))
}

// SumFrame renews the CRC of a frame that a test changed.
func SumFrame(b []byte, segment uint64) {
	binary.BigEndian.PutUint32(b[4:], frameSum(frameSeed(segment), b))
}

// NextKey is the key file of epoch 1.
func NextKey(k0 []byte) []byte { return chainKey{key: [32]byte(k0)}.next().text() }

// Tip is the end of the data in the current segment.
func Tip(l *Log) int64 {
	l.state.Lock()
	defer l.state.Unlock()
	return l.w.off
}

// SaveState stores the state, as the timer does.
func (l *Log) SaveState() error { return l.saveState() }

// WaitAudit waits for the check in the background.
func (l *Log) WaitAudit() { <-l.audited }

// SignState signs the body of a state file, as only the instance's key can.
func SignState(file []byte, key ed25519.PrivateKey) []byte {
	body := file[len(stateMagic) : len(file)-ed25519.SignatureSize]
	return append(file[:len(file)-ed25519.SignatureSize:len(file)-ed25519.SignatureSize], ed25519.Sign(key, stateMessage(stateMagic, body))...)
}

// UsesTable is a table of uses that nobody writes to a log.
type UsesTable struct{ u *uses }

func NewUsesTable() UsesTable { return UsesTable{newUses()} }

func (t UsesTable) Admit(id string, u Use, now int64) error { return t.u.admit(0, id, &u, now) }
func (t UsesTable) Settle(of, outcome string) error         { return t.u.settle(0, of, outcome) }
func (t UsesTable) Begin()                                  { t.u.begin() }
func (t UsesTable) Sweep(now int64) {
	t.u.mu.Lock()
	defer t.u.mu.Unlock()
	t.u.sweep(now)
}

// Finish returns the copy as a table of its own, and its length in bytes.
func (t UsesTable) Finish() (UsesTable, int, error) {
	s := t.u.finish()
	u, err := s.table(1)
	return UsesTable{u}, len(s.planBytes) + len(s.callBytes), err
}

// Plain is all that the table says, in a form that can be compared.
func (t UsesTable) Plain() string {
	t.u.mu.RLock()
	defer t.u.mu.RUnlock()
	var out []string
	for h, p := range t.u.plans {
		out = append(out, fmt.Sprint("plan ", h, p.tenant, p.expires, p.steps))
	}
	for id, c := range t.u.open {
		out = append(out, fmt.Sprint("call ", string(id[:]), c.tenant, c.step, c.of))
	}
	slices.Sort(out)
	return fmt.Sprint(t.u.swept, strings.Join(out, "\n"))
}

// BelieveState reads a state file as Open does.
func BelieveState(file []byte, keys ledger.VerifierKeys) error {
	body, err := opened(file, stateMagic, publicKeys(keys))
	if err == nil {
		_, err = parseState(body)
	}
	return err
}

// Recovered is what a log says of itself when it was read and nothing of it runs yet.
func Recovered(ctx context.Context, o Options) (Stats, error) {
	o.FS = disk.OS{}
	signer, err := ledger.NewSigner(ledger.Origin(o.Origin, ledger.InstanceTenant, o.Instance), o.Signer)
	if err != nil {
		return Stats{}, err
	}
	l := newLog(o, signer)
	defer func() { _ = l.closeFiles() }()
	err = l.recover(ctx)
	return l.stats, err
}

// Forget takes the segments before one out of sight, and tells the index of acme's first record that is kept.
func Forget(l *Log, before uint64) uint64 {
	l.forget(before)
	h, _ := l.holdingsOf("acme")
	return h.first
}

// SignGeneration signs the body of a generation file, as only the instance's key can.
func SignGeneration(file []byte, key ed25519.PrivateKey) []byte {
	body := file[len(generationMagic) : len(file)-ed25519.SignatureSize]
	return append(append([]byte(generationMagic), body...), ed25519.Sign(key, stateMessage(generationMagic, body))...)
}

// HoldCounts takes all places of counts until the function it returns is called.
func HoldCounts(l *Log) func() {
	for range maxCounts {
		l.counts <- struct{}{}
	}
	return func() {
		for range maxCounts {
			<-l.counts
		}
	}
}
