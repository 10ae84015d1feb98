package identity

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what people type. They keep rows far below the store's own and lists readable.
const (
	maxName   = 128 // bytes of a display name
	maxEmail  = 254 // RFC 5321, 4.5.3.1.3, as corrected
	maxWord   = 63  // bytes of a team, server or label
	maxTeams  = 32
	maxLabels = 32
	maxTalks  = 256 // the most servers an organisation may have
)

// checkName refuses a display name that is empty, long, padded, or that could deceive a reader: control and format
// characters (right-to-left overrides among them) are not printable.
func checkName(what, name string) error {
	if name == "" || len(name) > maxName {
		return fmt.Errorf("%s must have 1 to %d bytes: %w", what, maxName, ErrInvalid)
	}
	if !utf8.ValidString(name) || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fmt.Errorf("%s must be printable text without spaces around it: %w", what, ErrInvalid)
	}
	return nil
}

// checkEmail refuses what is not one bare address. Empty is allowed.
func checkEmail(email string) error {
	if email == "" {
		return nil
	}
	a, err := mail.ParseAddress(email)
	if err != nil || a.Address != email || len(email) > maxEmail {
		return fmt.Errorf("email must be one bare address of at most %d bytes: %w", maxEmail, ErrInvalid)
	}
	return nil
}

// words checks a list of teams, servers or labels, [a-z0-9][a-z0-9._:/-]{0,62} each and none twice, and sorts a copy.
func words(what string, list []string, most int) ([]string, error) {
	if len(list) > most {
		return nil, fmt.Errorf("%s: %d given, at most %d: %w", what, len(list), most, ErrInvalid)
	}
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	for i, w := range sorted {
		if !isWord(w) {
			return nil, fmt.Errorf("%s: each must match [a-z0-9][a-z0-9._:/-]{0,62}: %w", what, ErrInvalid)
		}
		if i > 0 && sorted[i-1] == w {
			return nil, fmt.Errorf("%s: one is given twice: %w", what, ErrInvalid)
		}
	}
	return sorted, nil
}

func isWord(w string) bool {
	if w == "" || len(w) > maxWord {
		return false
	}
	for i := range len(w) {
		c := w[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || strings.IndexByte("._:/-", c) < 0) {
			return false
		}
	}
	return true
}

func checkRole(r Role) error {
	switch r {
	case RoleAdmin, RoleManager, RoleMember, RoleViewer:
		return nil
	}
	return fmt.Errorf("role must be Admin, Manager, Member or Viewer: %w", ErrInvalid)
}
