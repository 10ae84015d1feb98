package armoriq

import (
	"github.com/gatewright/gatewright/gateway/identity"
)

// Desk are the parts behind the routes that are not about calls and tokens.
type Desk struct {
	People    *identity.Directory
	Approvals Approvals
	Limits    map[string]string // the largest amount each role may approve; "" is none
}
