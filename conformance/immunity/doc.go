// Package immunity holds the built gateway to what hurt its peers: each known weakness of another gateway, SDK or server
// is a named test, and a corpus of raw requests shows that nothing reaches a server in another form than it was judged in.
package immunity
