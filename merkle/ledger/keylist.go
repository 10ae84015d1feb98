package ledger

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"strings"
)

// A key list is the file of the keys that receipts and checkpoints of an instance verify under, newest first, as
// ParseVerifierKeys reads it. The key in force signs the list when it names others: whoever can only write the file
// cannot make a key of his own one of the instance's.
const (
	keyListHead    = "# Receipts and checkpoints of this gateway verify under these keys (C2SP signed-note form), the newest first.\n"
	keyListContext = "gatewright/ledger-keys/v1\n"
	keyListSigned  = "# signed by the first: "
)

// KeyList returns the file: the signer's key and those before it, which it vouches for.
func KeyList(signer Signer, before VerifierKeys) []byte {
	var lines []byte
	lines = append(lines, signer.Public.String()+"\n"...)
	for _, k := range before {
		if !k.Key.Equal(signer.Public.Key) {
			lines = append(lines, k.String()+"\n"...)
		}
	}
	out := append([]byte(keyListHead), lines...)
	out = append(out, keyListSigned...)
	out = base64.StdEncoding.AppendEncode(out, ed25519.Sign(signer.Private, append([]byte(keyListContext), lines...)))
	return append(out, '\n')
}

// OpenKeyList returns the keys in a list that came before the key in force. A list that names others and is not signed by
// that key, or does not name it first, is ErrKey. Names are not compared: an origin may change.
func OpenKeyList(file []byte, now VerifierKey) (VerifierKeys, error) {
	keys, err := ParseVerifierKeys(file)
	if err != nil {
		return nil, err
	}
	if !keys[0].Key.Equal(now.Key) {
		return nil, fmt.Errorf("%w: the list does not begin with the key in force", ErrKey)
	}
	if len(keys) == 1 {
		return nil, nil
	}
	var lines, signature []byte
	for line := range strings.Lines(string(file)) {
		if text, ok := strings.CutPrefix(line, keyListSigned); ok {
			signature, err = base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(text, "\n"))
			if err != nil {
				return nil, fmt.Errorf("%w: the list's signature is malformed", ErrKey)
			}
		}
	}
	for _, k := range keys {
		lines = append(lines, k.String()+"\n"...)
	}
	if !ed25519.Verify(now.Key, append([]byte(keyListContext), lines...), signature) {
		return nil, fmt.Errorf("%w: the list names %q, and the key in force did not sign it", ErrKey, clip(keys[1].String()))
	}
	return keys[1:], nil
}
