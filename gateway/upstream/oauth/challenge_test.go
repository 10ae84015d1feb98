package oauth

import (
	"reflect"
	"testing"
)

func TestChallengesAreHeardAsTheyAreWritten(t *testing.T) {
	const at = "https://rs.example/about"
	full := challenge{at, []string{"a", "b"}, true}
	for _, c := range []struct {
		headers []string
		want    challenge
	}{
		{nil, challenge{}},
		{[]string{`Bearer`}, challenge{}},
		{[]string{`Bearer resource_metadata="` + at + `", scope="a b", error="insufficient_scope"`}, full},
		{[]string{`bearer Scope="a b",ERROR=insufficient_scope ,resource_metadata="https:\/\/rs.example/about"`}, full},
		{[]string{`Basic realm="x, Bearer scope=evil", Bearer scope="a b", error="insufficient_scope", resource_metadata="` + at + `"`}, full},
		{[]string{`Basic scope="evil"`, `Bearer scope="a b", error="insufficient_scope"`, `Bearer resource_metadata="` + at + `"`}, full},
		{[]string{`DPoP algs="ES256", error="insufficient_scope", scope="evil"`}, challenge{}},
		{[]string{`Bearer scope="a", scope="b"`}, challenge{scopes: []string{"a"}}},
		{[]string{`Bearer scope="a` + "\x01" + ` b\" c"`}, challenge{scopes: []string{"c"}}},
		{[]string{`Bearer scope="a`, `Bearer =x`, `Bearer scope=`, `"`, `,,,=`}, challenge{}},
	} {
		got := hear(c.headers)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, want %+v", c.headers, got, c.want)
		}
	}
}

func FuzzChallenge(f *testing.F) {
	f.Add(`Basic realm="x", Bearer scope="a b", error="insufficient_scope"`)
	f.Add(`Bearer a=b,"`)
	f.Fuzz(func(t *testing.T, header string) {
		if c := hear([]string{header}); len(c.scopes) > maxScopes || len(c.metadata) > len(header) {
			t.Errorf("%+v", c)
		}
	})
}
