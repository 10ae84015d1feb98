package identity

import (
	"crypto/ed25519"
	"fmt"
	"math/big"
)

// checkPublicKey refuses bytes that are no usable Ed25519 public key (RFC 8032, 5.1.3): another length, a coordinate not
// below p, a point off the curve, and the eight points of small order, under which one signature fits many messages.
func checkPublicKey(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize {
		return fmt.Errorf("public key must have %d bytes: %w", ed25519.PublicKeySize, ErrInvalid)
	}
	var big32 [32]byte
	for i, b := range key {
		big32[31-i] = b
	}
	odd := big32[0]&0x80 != 0
	big32[0] &= 0x7f
	y := new(big.Int).SetBytes(big32[:])
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	x := recoverX(y, p)
	switch {
	case y.Cmp(p) >= 0:
		return fmt.Errorf("public key is not in its canonical form: %w", ErrInvalid)
	case x == nil, x.Sign() == 0 && odd:
		return fmt.Errorf("public key is not a point of the curve: %w", ErrInvalid)
	case smallOrder(x, y, p):
		return fmt.Errorf("public key is a point of small order: %w", ErrInvalid)
	}
	return nil
}

// curveD is -121665/121666 mod p.
func curveD(p *big.Int) *big.Int {
	d := new(big.Int).ModInverse(big.NewInt(121666), p)
	d.Mul(d, big.NewInt(-121665))
	return d.Mod(d, p)
}

// recoverX solves -x^2 + y^2 = 1 + d x^2 y^2 for x, nil when there is none.
func recoverX(y, p *big.Int) *big.Int {
	one := big.NewInt(1)
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, one)
	v := new(big.Int).Mul(curveD(p), yy)
	v.Add(v, one)
	v.ModInverse(v.Mod(v, p), p) // d is no square, so 1 + d y^2 is never zero
	xx := u.Mul(u, v)
	return new(big.Int).ModSqrt(xx.Mod(xx, p), p)
}

// smallOrder tells whether eight times the point is the neutral one. Doubling needs only x and y.
func smallOrder(x, y, p *big.Int) bool {
	d := curveD(p)
	for range 3 {
		x, y = double(x, y, d, p)
	}
	return x.Sign() == 0 && y.Cmp(big.NewInt(1)) == 0
}

func double(x, y, d, p *big.Int) (*big.Int, *big.Int) {
	xx, yy := new(big.Int).Mul(x, x), new(big.Int).Mul(y, y)
	t := new(big.Int).Mul(d, xx)
	t.Mul(t, yy).Mod(t, p) // d x^2 y^2
	one := big.NewInt(1)
	x3 := new(big.Int).Mul(x, y)
	x3.Lsh(x3, 1).Mul(x3, inverse(new(big.Int).Add(one, t), p)).Mod(x3, p)
	y3 := new(big.Int).Add(yy, xx)
	y3.Mul(y3, inverse(new(big.Int).Sub(one, t), p)).Mod(y3, p)
	return x3, y3
}

func inverse(v, p *big.Int) *big.Int { return new(big.Int).ModInverse(v.Mod(v, p), p) }
