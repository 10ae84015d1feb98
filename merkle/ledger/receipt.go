package ledger

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/merkle"
)

// Receipt is what a caller takes home: the bytes of one record and the proof that they stood in a
// batch of records whose Merkle root the instance signed. The leaf is the very leaf of the tenant's
// tree, so the receipt and the ledger speak of one object. The zero value verifies under no key.
//
// Binary form, big-endian:
//
//	"GWR" | version u8 | key hash u32 | index u32 | size u32 | n u8 | n*32 proof | signature 64 | origin length u16 | origin | leaf
//
// The signature covers "gatewright/receipt/v1\n" origin "\n" size "\n" base64(root) "\n". Size is
// signed because two trees of different size may share a path; with the size fixed, the index
// follows from the path.
type Receipt struct {
	Origin    string // name of the signing key: HOST/ledger/_instance/INSTANCE
	KeyHash   uint32
	Index     uint32 // place in the batch, not in the ledger
	Size      uint32 // records in the batch
	Proof     []merkle.Hash
	Signature [ed25519.SignatureSize]byte
	Leaf      []byte
}

const (
	receiptMagic   = "GWR\x01"
	receiptContext = "gatewright/receipt/v1\n"
	// receiptFixed counts every byte of a receipt but proof, origin and leaf.
	receiptFixed = len(receiptMagic) + 3*4 + 1 + ed25519.SignatureSize + 2
	// maxProof is the longest path of a tree whose size fits 32 bits.
	maxProof = 32
	// maxReceipt bounds the binary form.
	maxReceipt = receiptFixed + maxProof*merkle.HashSize + maxKeyName + MaxLeaf
)

// ErrReceipt is a receipt that is malformed or does not verify.
var ErrReceipt = errors.New("receipt is not valid")

// receiptText is strict so that no two texts stand for one receipt.
var receiptText = base64.RawURLEncoding.Strict()

// AppendReceiptMessage appends what is signed for a batch of size records with that root.
func AppendReceiptMessage(dst []byte, origin string, size uint32, root merkle.Hash) []byte {
	dst = append(dst, receiptContext...)
	dst = append(dst, origin...)
	dst = append(dst, '\n')
	dst = strconv.AppendUint(dst, uint64(size), 10)
	dst = append(dst, '\n')
	dst = base64.StdEncoding.AppendEncode(dst, root[:])
	return append(dst, '\n')
}

// AppendBinary appends the binary form. It never fails for a receipt within the bounds of a record.
func (r *Receipt) AppendBinary(dst []byte) ([]byte, error) {
	if len(r.Proof) > maxProof || len(r.Origin) > maxKeyName || len(r.Leaf) > MaxLeaf {
		return dst, fmt.Errorf("%w: too large", ErrReceipt)
	}
	dst = append(dst, receiptMagic...)
	dst = binary.BigEndian.AppendUint32(dst, r.KeyHash)
	dst = binary.BigEndian.AppendUint32(dst, r.Index)
	dst = binary.BigEndian.AppendUint32(dst, r.Size)
	dst = append(dst, byte(len(r.Proof)))
	for i := range r.Proof {
		dst = append(dst, r.Proof[i][:]...)
	}
	dst = append(dst, r.Signature[:]...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Origin)))
	dst = append(dst, r.Origin...)
	return append(dst, r.Leaf...), nil
}

// AppendText appends the receipt as one base64url string without padding. A receipt out of bounds appends nothing.
func (r *Receipt) AppendText(dst []byte) []byte {
	raw, err := r.AppendBinary(make([]byte, 0, receiptFixed+len(r.Proof)*merkle.HashSize+len(r.Origin)+len(r.Leaf)))
	if err != nil {
		return dst
	}
	return AppendReceiptText(dst, raw)
}

// AppendReceiptText appends the text form of a binary receipt.
func AppendReceiptText(dst, raw []byte) []byte { return appendBase64(dst, raw) }

// ParseReceipt reads the text form. It checks the form only: what it returns proves nothing before Verify.
func ParseReceipt(text []byte) (*Receipt, error) {
	if len(text) > receiptText.EncodedLen(maxReceipt) {
		return nil, fmt.Errorf("%w: too large", ErrReceipt)
	}
	// The decoder would pass over line ends.
	if bytes.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("%w: line end in text", ErrReceipt)
	}
	raw, err := receiptText.AppendDecode(nil, text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	return parseReceipt(raw)
}

func parseReceipt(raw []byte) (*Receipt, error) {
	if len(raw) < receiptFixed || len(raw) > maxReceipt || string(raw[:3]) != receiptMagic[:3] {
		return nil, fmt.Errorf("%w: not a receipt", ErrReceipt)
	}
	if raw[3] != receiptMagic[3] {
		return nil, fmt.Errorf("%w: version %d is not known", ErrReceipt, raw[3])
	}
	u32 := binary.BigEndian.Uint32
	r := &Receipt{KeyHash: u32(raw[4:]), Index: u32(raw[8:]), Size: u32(raw[12:])}
	n, rest := int(raw[16]), raw[17:]
	if n > maxProof || len(rest) < n*merkle.HashSize+ed25519.SignatureSize+2 {
		return nil, fmt.Errorf("%w: truncated", ErrReceipt)
	}
	r.Proof = make([]merkle.Hash, n)
	for i := range r.Proof {
		rest = rest[copy(r.Proof[i][:], rest):]
	}
	rest = rest[copy(r.Signature[:], rest):]
	named := int(binary.BigEndian.Uint16(rest))
	rest = rest[2:]
	if named > maxKeyName || named > len(rest) || len(rest)-named > MaxLeaf {
		return nil, fmt.Errorf("%w: truncated", ErrReceipt)
	}
	r.Origin, r.Leaf = string(rest[:named]), rest[named:]
	return r, nil
}

// Record reads the record the receipt carries. It says nothing about the receipt: call Verify first.
func (r *Receipt) Record() (Record, error) { return ParseRecord(r.Leaf) }

// LeafHash is the record's leaf in the tenant's tree.
func (r *Receipt) LeafHash() merkle.Hash { return merkle.LeafHash(r.Leaf) }

// Verify checks that a pinned key signed a batch that holds exactly this leaf. It hashes the bytes
// as they are and needs nothing but the standard library and package merkle.
func (r *Receipt) Verify(keys VerifierKeys) error {
	if len(r.Leaf) == 0 {
		return fmt.Errorf("%w: no record", ErrReceipt)
	}
	root, err := merkle.RootFromInclusion(r.LeafHash(), uint64(r.Index), uint64(r.Size), r.Proof)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrReceipt, err)
	}
	message := AppendReceiptMessage(nil, r.Origin, r.Size, root)
	if !keys.verify(r.Origin, r.KeyHash, message, r.Signature[:]) {
		return fmt.Errorf("%w: no pinned key of %q signed it", ErrReceipt, clip(r.Origin))
	}
	return nil
}
