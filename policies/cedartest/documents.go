package cedartest

import (
	"fmt"
	"net/netip"
	"time"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

var documents = sort{words: documentWords, entities: documentEntities, request: documentRequest}

var documentWords = words{
	principals: []string{"principal", "principal", "principal", `principal == User::"u0"`, `principal == User::"u1"`, `principal in Group::"g0"`, `principal in Group::"g1"`,
		`principal in Group::"g3"`, `principal is User`, `principal is Group`, `principal is User in Group::"g2"`, `principal in User::"u0"`},
	actions: []string{"action", "action", `action == Store::Action::"read"`, `action == Store::Action::"write"`, `action in Store::Action::"any"`,
		`action in [Store::Action::"read", Store::Action::"share"]`, `action in [Store::Action::"any"]`, `action in []`},
	resources: []string{"resource", "resource", "resource", `resource == Store::Doc::"d0"`, `resource in Store::Folder::"f0"`, `resource in Store::Folder::"f1"`,
		`resource is Store::Doc`, `resource is Store::Doc in Store::Folder::"f1"`, `resource is Store::Folder`, `resource in Store::Doc::"d1"`},
	places: []place{
		{"context", record}, {"principal.name", text}, {"resource.title", text}, {"context.name", text}, {"principal.deep.inner.text", text},
		{`principal.deep["odd key"]`, text}, {"context.deep.inner.text", text}, {"principal.age", long}, {"context.age", long}, {"principal.deep.inner.number", long}, {"resource.size", long},
		{"principal.ok", boolean}, {"context.ok", boolean}, {"resource.public", boolean}, {"principal.tags", texts}, {"resource.tags", texts}, {"context.tags", texts},
		{"principal.best", entity}, {"resource.owner", entity}, {"resource.owner.best", entity}, {"resource.owner.name", text}, {"principal.friends", entities}, {"resource.readers", entities},
		{"context.from", address}, {"principal.home", address}, {"principal.score", decimal}, {"context.score", decimal}, {"context.at", moment}, {"resource.made", moment}, {"resource.kept", span},
		{"context.deep", record}, {"principal.deep", record}, {"principal.deep.inner", record}, {"context.nowhere", long}, {"resource.owner.nowhere", boolean},
	},
	ids: []string{`User::"u0"`, `User::"u1"`, `User::"gone"`, `Group::"g0"`, `Group::"g1"`, `Group::"g3"`, `Store::Doc::"d0"`, `Store::Folder::"f0"`, `Store::Folder::"f1"`,
		`Store::Action::"any"`, `Store::Action::"read"`, `User::"\u{1f642}"`},
	types:      []string{"User", "Group", "Store::Doc", "Store::Folder", "Nobody"},
	attributes: []string{"name", "age", "deep", "deep.inner", "deep.inner.text", `"odd key"`, "nowhere", "score", "inner", "number", "from"},
	tags:       true,
}

// documentEntities puts everything one floor above the next, so that groups are in groups and nothing is in itself.
func documentEntities(s *Source) types.EntityMap {
	m := types.EntityMap{}
	row := func(typ string, n int, attributes func() types.RecordMap, groups ...string) {
		for i := range n {
			u := uid(typ, documentID(typ, i))
			var parents []types.EntityUID
			for _, g := range groups {
				for k := range 4 {
					if g == typ && k <= i || !s.one(3) {
						continue
					}
					parents = append(parents, uid(g, documentID(g, k)))
				}
			}
			put(m, u, attributes(), parents...)
			tag(s, m, u)
		}
	}
	none := func() types.RecordMap { return nil }
	row("Group", 4, none, "Group")
	row("Store::Folder", 3, none, "Store::Folder")
	row("User", 3, func() types.RecordMap { return userAttributes(s) }, "Group")
	row("Store::Doc", 2, func() types.RecordMap { return docAttributes(s) }, "Store::Folder")
	for _, a := range []string{"read", "write", "share"} {
		put(m, uid("Store::Action", a), nil, uid("Store::Action", "any"))
	}
	return m
}

func documentID(typ string, i int) string {
	letters := map[string]string{"Group": "g", "Store::Folder": "f", "User": "u", "Store::Doc": "d"}
	return fmt.Sprint(letters[typ], i)
}

func tag(s *Source, m types.EntityMap, u types.EntityUID) {
	if s.one(2) {
		return
	}
	e := m[u]
	e.Tags = types.NewRecord(types.RecordMap{"level": types.Long(s.n(4)), "team": types.String(someText(s)), types.String(someText(s)): types.Long(1)})
	m[u] = e
}

// some keeps most of a record's attributes.
func some(s *Source, all types.RecordMap, order ...types.String) types.RecordMap {
	out := types.RecordMap{}
	for _, name := range order {
		if !s.one(6) {
			out[name] = all[name]
		}
	}
	return out
}

func userAttributes(s *Source) types.RecordMap {
	friends := types.NewSet(uid("User", "u1"), uid("User", pick(s, "u0", "gone")))
	return some(s, types.RecordMap{
		"name": types.String(someText(s)), "age": types.Long(s.n(20)), "ok": types.Boolean(s.one(2)), "tags": set(someText(s), "blue"), "deep": deep(s),
		"best": uid("User", pick(s, "u0", "u1", "gone")), "friends": friends, "home": someAddress(s), "score": someDecimal(s),
	}, "name", "age", "ok", "tags", "deep", "best", "friends", "home", "score")
}

func docAttributes(s *Source) types.RecordMap {
	return some(s, types.RecordMap{
		"title": types.String(someText(s)), "size": types.Long(s.n(5000)), "public": types.Boolean(s.one(2)), "tags": set("blue", someText(s)),
		"owner": uid("User", pick(s, "u0", "u1", "gone")), "readers": types.NewSet(uid("User", "u0"), uid("Group", "g1")), "made": someMoment(s),
		"kept": types.NewDurationFromMillis(int64(s.n(4)) * 3_600_500),
	}, "title", "size", "public", "tags", "owner", "readers", "made", "kept")
}

func deep(s *Source) types.Record {
	inner := some(s, types.RecordMap{"text": types.String(someText(s)), "number": types.Long(s.n(20))}, "text", "number")
	return types.NewRecord(some(s, types.RecordMap{"inner": types.NewRecord(inner), "odd key": types.String(someText(s))}, "inner", "odd key"))
}

func someAddress(s *Source) types.IPAddr {
	return types.IPAddr(netip.MustParsePrefix(pick(s, "10.1.2.3/32", "10.0.0.0/8", "192.0.2.0/24", "127.0.0.1/32", "::1/128", "2001:db8::/32", "ff02::1/128")))
}

func someDecimal(s *Source) types.Decimal { return must(types.NewDecimal(int64(s.n(40)-20), -1)) }

func someMoment(s *Source) types.Datetime {
	return types.NewDatetime(time.UnixMilli(int64(s.n(20)) * 86_400_123_45))
}

func documentRequest(s *Source) cedar.Request {
	ctx := some(s, types.RecordMap{
		"name": types.String(someText(s)), "age": types.Long(s.n(20)), "ok": types.Boolean(s.one(2)), "tags": set(someText(s)), "deep": deep(s),
		"from": someAddress(s), "score": someDecimal(s), "at": someMoment(s),
	}, "name", "age", "ok", "tags", "deep", "from", "score", "at")
	return cedar.Request{
		Principal: pick(s, uid("User", "u0"), uid("User", "u1"), uid("User", "u2"), uid("User", "gone"), uid("Group", "g1")),
		Action:    uid("Store::Action", pick(s, "read", "write", "share", "any", "unheard")),
		Resource:  pick(s, uid("Store::Doc", "d0"), uid("Store::Doc", "d1"), uid("Store::Folder", "f2"), uid("Store::Doc", "gone"), uid("User", "u1")),
		Context:   types.NewRecord(ctx),
	}
}

// DocumentSchema types the document store.
const DocumentSchema = `
type Inner = { text?: String, number?: Long };
type Deep = { inner?: Inner, "odd key"?: String };
entity Group in [Group] tags String;
entity User in [Group] = {
  name?: String, age?: Long, ok?: Bool, tags?: Set<String>, deep?: Deep, best?: User, friends?: Set<User>, home?: ipaddr, score?: decimal
} tags String;
namespace Store {
  entity Folder in [Folder] tags String;
  entity Doc in [Folder] = {
    title?: String, size?: Long, public?: Bool, tags?: Set<String>, owner?: User, readers?: Set<User>, made?: datetime, kept?: duration
  } tags String;
  action any;
  action read, write, share in [any] appliesTo { principal: [User], resource: [Doc, Folder], context: {
    name?: String, age?: Long, ok?: Bool, tags?: Set<String>, deep?: Deep, from?: ipaddr, score?: decimal, at?: datetime
  } };
}
`
