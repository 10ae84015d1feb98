package ledger

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"testing"
)

func TestAKeyIsAmongTheInstancesOnlyByTheWordOfTheKeyInForce(t *testing.T) {
	signer := func(b byte) Signer {
		s, err := NewSigner("gate.example/ledger/_instance/main", ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, 32)))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old, now, evil := signer(1), signer(2), signer(3)
	list := KeyList(now, VerifierKeys{old.Public, now.Public})
	before, err := OpenKeyList(list, now.Public)
	if err != nil || len(before) != 1 || !before[0].Key.Equal(old.Public.Key) {
		t.Fatal(before, err)
	}
	if keys, err := ParseVerifierKeys(list); err != nil || len(keys) != 2 {
		t.Fatal("others read the same file:", keys, err)
	}
	if before, err := OpenKeyList([]byte(now.Public.String()+"\n"), now.Public); err != nil || before != nil {
		t.Fatal("a first key vouches for nobody:", before, err)
	}
	line := evil.Public.String() + "\n"
	for name, file := range map[string][]byte{
		"a line behind the signature": append(bytes.Clone(list), line...),
		"a line in front":             append([]byte(line), list...),
		"a line among the keys":       bytes.Replace(list, []byte(old.Public.String()), []byte(line+old.Public.String()), 1),
		"another in place of the old": bytes.Replace(list, []byte(old.Public.String()), []byte(evil.Public.String()), 1),
		"no signature":                []byte(now.Public.String() + "\n" + old.Public.String() + "\n"),
		"signed by the stranger":      KeyList(evil, VerifierKeys{now.Public}),
		"signed by the old key":       KeyList(old, VerifierKeys{now.Public, evil.Public}),
		"cut":                         list[:len(list)-9],
		"the list of another order":   KeyList(Signer{Public: now.Public, Private: evil.Private}, VerifierKeys{old.Public}),
		"nothing":                     nil,
	} {
		if keys, err := OpenKeyList(file, now.Public); !errors.Is(err, ErrKey) {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}
