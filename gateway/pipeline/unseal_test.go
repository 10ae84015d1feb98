package pipeline_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/gatewright/gatewright/gateway/pipeline"
	"github.com/gatewright/gatewright/merkle/ledger"
)

// sealedAs is what a line puts beside a record, with lengths as one likes.
func sealedAs(t *testing.T, id string, plain []byte) (cipher.AEAD, []byte) {
	t.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := make([]byte, aead.NonceSize())
	return aead, aead.Seal(nonce, nonce, plain, []byte(id))
}

func TestWhatWasSealedBesideARecordOpensForThatRecordOnly(t *testing.T) {
	plain := append(binary.BigEndian.AppendUint32(nil, 7), `{"a":1}{"ask":true}`...)
	aead, side := sealedAs(t, "rec_1", plain)
	args, ask, err := pipeline.Unseal(aead, &ledger.Record{ID: "rec_1", Side: side})
	if err != nil || string(args) != `{"a":1}` || string(ask) != `{"ask":true}` {
		t.Fatalf("%s %s %v", args, ask, err)
	}
	changed := append([]byte(nil), side...)
	changed[len(changed)-1] ^= 1
	for name, r := range map[string]ledger.Record{
		"another record": {ID: "rec_2", Side: side}, "changed": {ID: "rec_1", Side: changed}, "nothing": {ID: "rec_1"}, "a nonce": {ID: "rec_1", Side: side[:12]},
	} {
		if args, _, err := pipeline.Unseal(aead, &r); !errors.Is(err, pipeline.ErrSealed) {
			t.Errorf("%s: %q, %v", name, args, err)
		}
	}
	for _, plain := range [][]byte{nil, {0, 0, 0}, {0, 0, 0, 1}, {255, 255, 255, 255, 1}} {
		aead, side := sealedAs(t, "rec_1", plain)
		if args, _, err := pipeline.Unseal(aead, &ledger.Record{ID: "rec_1", Side: side}); !errors.Is(err, pipeline.ErrSealed) {
			t.Errorf("%v: %q, %v", plain, args, err)
		}
	}
	buf := make([]byte, 0, 256)
	for range 2 { // the second time over what the first left
		args, ask, next, err := pipeline.UnsealInto(buf, aead, &ledger.Record{ID: "rec_1", Side: side})
		if err != nil || string(args) != `{"a":1}` || string(ask) != `{"ask":true}` || &next[:1][0] != &buf[:1][0] {
			t.Errorf("in a buffer: %s %s %v", args, ask, err)
		}
		buf = next
	}
}

func TestTheSubjectIsThePersonOrElseTheAgent(t *testing.T) {
	if s := pipeline.SubjectOf(&ledger.Record{User: "usr_1", Agent: "agt_1"}); s != "usr_1" {
		t.Error(s)
	}
	if s := pipeline.SubjectOf(&ledger.Record{Agent: "agt_1"}); s != "agt_1" {
		t.Error(s)
	}
}
