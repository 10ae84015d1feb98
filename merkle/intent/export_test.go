package intent

// VerifySignature is the primitive under every token check.
var VerifySignature = verifySignature

// CompareDecimals orders two JSON numbers.
func CompareDecimals(a, b string) int {
	return parseDecimal([]byte(a)).compare(parseDecimal([]byte(b)))
}

// IsInteger tells whether a JSON number has no fraction.
func IsInteger(a string) bool { return parseDecimal([]byte(a)).isInteger() }

// CachedTokens counts the tokens a verifier remembers.
func CachedTokens(v *Verifier) int {
	n := 0
	for i := range v.tokens.slots {
		if v.tokens.slots[i].Load() != nil {
			n++
		}
	}
	return n
}

// Revocations counts what a verifier still refuses by name.
func Revocations(v *Verifier) int {
	v.revoked.mu.RLock()
	defer v.revoked.mu.RUnlock()
	return len(v.revoked.tokens) + len(v.revoked.plans)
}

// SignDelta signs what MintDelta would refuse.
func SignDelta(s Signer, c DeltaClaims) string {
	c.Issuer = s.Issuer
	return string(s.sign(nil, deltaType, c.appendJSON(nil)))
}
