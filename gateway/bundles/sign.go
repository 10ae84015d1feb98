package bundles

import (
	"fmt"
	"time"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/policies"
)

// noteHead begins the text that a bundle's signature is over; its name and its digest follow, a line each. The signature
// is a C2SP signed note in the file bundle.sig.
const noteHead = "gatewright bundle v1\n"

func noteText(b *policies.Bundle) (string, error) {
	if b.Name() == "" || b.Manifest().Version == 0 {
		return "", fmt.Errorf("manifest.json gives no name or no version (a signed bundle has both: {\"format\": 1, \"name\": \"acme\", \"version\": 1}, and every edition a higher version)")
	}
	return noteHead + b.Name() + "\n" + b.Digest().String() + "\n", nil
}

// Sign makes the content of a bundle's bundle.sig.
func Sign(b *policies.Bundle, by ledger.Signer) ([]byte, error) {
	text, err := noteText(b)
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	sig, err := by.SignNote([]byte(text), time.Time{})
	if err != nil {
		return nil, fmt.Errorf("sign bundle: %w", err)
	}
	return ledger.AppendSignature([]byte(text+"\n"), by.KeyName(), by.KeyHash(), sig), nil
}

// Verify checks that one of the keys signed the bundle, and returns that key's name.
func Verify(b *policies.Bundle, keys ledger.VerifierKeys) (string, error) {
	text, err := noteText(b)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnsigned, err)
	}
	if b.Signature() == nil {
		return "", fmt.Errorf("%w: it has no %s (sign it with `gatewright policy sign`)", ErrUnsigned, policies.SignatureFile)
	}
	body, sigs, err := ledger.ReadNote(b.Signature())
	if err != nil {
		return "", fmt.Errorf("%w: %s is no signed note: %w", ErrUnsigned, policies.SignatureFile, err)
	}
	if string(body) != text {
		return "", fmt.Errorf("%w: %s is over another bundle (files were changed after it was signed: sign it again)", ErrUnsigned, policies.SignatureFile)
	}
	for _, sig := range sigs {
		key, _, ok, err := keys.Find(body, sig)
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrUnsigned, err)
		}
		if ok {
			return key.Name, nil
		}
	}
	return "", fmt.Errorf("%w: none of the configured keys signed it (policies.keys in the configuration names them)", ErrUnsigned)
}

// signed is Verify if the tenant's bundles have to be signed. What ships with the gateway need not be.
func (s *Service) signed(tenant string, b *policies.Bundle, from Source) (signer string, required bool, err error) {
	keys := s.deps.Keys(tenant)
	if len(keys) == 0 || from.Kind == BuiltIn {
		return "", false, nil
	}
	signer, err = Verify(b, keys)
	return signer, true, err
}

// newer refuses a signed bundle that was overtaken: its signature stays good for ever, and whoever can put files into the
// source could bring an old one back.
func newer(b *policies.Bundle, highest uint64, known bool) error {
	v := b.Manifest().Version
	switch {
	case v > highest:
		return nil
	case v == highest && known:
		return nil
	case v == highest:
		return fmt.Errorf("%w: version %d in manifest.json was another bundle (raise it and sign again)", ErrOld, v)
	}
	return fmt.Errorf("%w: version %d in manifest.json was overtaken by %d (to go back on purpose: `gatewright policy rollback` or `activate N`)", ErrOld, v, highest)
}
