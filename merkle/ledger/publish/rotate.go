package publish

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gatewright/gatewright/merkle/ledger"
	"github.com/gatewright/gatewright/merkle/ledger/disk"
)

// ErrRotation is a record of a rotation that does not say what it should, or that one of the keys did not sign.
var ErrRotation = errors.New("record of a key rotation is not valid")

// rotationContext begins what both keys sign of a rotation, so that it serves nowhere else.
const rotationContext = "gatewright/key-rotation/v1\n"

// rotation is the body of the record of kind key that stands in the instance's ledger for a rotation.
type rotation struct {
	Event        string `json:"event"`
	New          string `json:"new"` // C2SP verifier key
	NewSignature []byte `json:"new_signature"`
	Old          string `json:"old"`
	OldSignature []byte `json:"old_signature"`
}

func (r *rotation) message() []byte { return []byte(rotationContext + r.Old + "\n" + r.New + "\n") }

// RotationRecord makes the record that says, signed by both, that one key follows another. Both must have one name.
func RotationRecord(old, next ledger.Signer) (*ledger.Record, error) {
	r := rotation{Event: "rotated", New: next.Public.String(), Old: old.Public.String()}
	if old.Public.Name != next.Public.Name || bytes.Equal(old.Public.Key, next.Public.Key) {
		return nil, fmt.Errorf("%w: %s does not follow %s", ErrRotation, r.New, r.Old)
	}
	r.OldSignature, r.NewSignature = ed25519.Sign(old.Private, r.message()), ed25519.Sign(next.Private, r.message())
	body, err := json.Marshal(&r)
	if err != nil {
		return nil, fmt.Errorf("record key rotation: %w", err)
	}
	return &ledger.Record{Tenant: ledger.InstanceTenant, Kind: ledger.Key, Step: -1, Body: body}, nil
}

// ReadRotation checks the body of such a record and returns the keys. That the old one is believed is for the caller to
// know: the new one is then as good.
func ReadRotation(body []byte) (old, next ledger.VerifierKey, err error) {
	var r rotation
	if err = json.Unmarshal(body, &r); err != nil || r.Event != "rotated" {
		return old, next, fmt.Errorf("%w: not a rotation", ErrRotation)
	}
	if old, err = ledger.ParseVerifierKey(r.Old); err == nil {
		next, err = ledger.ParseVerifierKey(r.New)
	}
	switch {
	case err != nil:
		err = fmt.Errorf("%w: %w", ErrRotation, err)
	case old.Name != next.Name, bytes.Equal(old.Key, next.Key):
		err = fmt.Errorf("%w: one key does not follow the other", ErrRotation)
	case !ed25519.Verify(old.Key, r.message(), r.OldSignature), !ed25519.Verify(next.Key, r.message(), r.NewSignature):
		err = fmt.Errorf("%w: not signed by both keys", ErrRotation)
	}
	if err != nil {
		return ledger.VerifierKey{}, ledger.VerifierKey{}, err
	}
	return old, next, nil
}

// Resign signs every checkpoint that is published again, with the keys of now: the overlap of a rotation. Cosignatures
// of witnesses stay. It can be done again.
func (p *Publisher) Resign() error {
	p.tick.Lock()
	defer p.tick.Unlock()
	for tenant, cp := range p.published() {
		n, err := p.sign(cp)
		if err == nil {
			err = disk.ReplaceFile(p.opt.FS, checkpointName(p.opt.Dir, tenant), n.text)
		}
		if err != nil {
			return fmt.Errorf("sign checkpoint of %s again: %w", tenant, err)
		}
		p.mu.Lock()
		p.notes[tenant] = n
		p.mu.Unlock()
	}
	if err := p.resignLog(); err != nil {
		return fmt.Errorf("sign log of checkpoints again: %w", err)
	}
	return nil
}

// published returns the checkpoints as they are written.
func (p *Publisher) published() map[string]ledger.Checkpoint {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make(map[string]ledger.Checkpoint, len(p.notes))
	for tenant, n := range p.notes {
		out[tenant] = n.Checkpoint
	}
	return out
}

func (p *Publisher) resignLog() error {
	c := p.log
	c.files.Lock()
	defer c.files.Unlock()
	c.mu.RLock()
	cosigned, latest := c.cosigned, c.note
	c.mu.RUnlock()
	if cosigned != nil {
		n, err := p.resigned(cosigned)
		if err == nil {
			err = disk.ReplaceFile(p.opt.FS, cosignedName(p.opt.Dir), n.text)
		}
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.cosigned = n
		c.mu.Unlock()
	}
	if latest == nil {
		return nil
	}
	n, err := p.resigned(latest)
	if err != nil {
		return err
	}
	return p.writeLogNote(n)
}

// resigned signs a checkpoint again and keeps the signatures that are not the log's own.
func (p *Publisher) resigned(n *note) (*note, error) {
	again, err := p.sign(n.Checkpoint)
	if err != nil {
		return nil, err
	}
	_, sigs, err := ledger.ReadNote(n.text)
	if err != nil {
		return nil, err
	}
	_, ours, err := ledger.ReadNote(again.text)
	if err != nil {
		return nil, err
	}
	for _, s := range sigs {
		if s.Name != ours[0].Name && !signedBy(ours, s) {
			again.text = append(again.text, s.Line...)
		}
	}
	return again, nil
}

// signedBy reports whether the key of a line signed already.
func signedBy(sigs []ledger.NoteSignature, s ledger.NoteSignature) bool {
	for _, o := range sigs {
		if o.Name == s.Name && o.Hash == s.Hash {
			return true
		}
	}
	return false
}
