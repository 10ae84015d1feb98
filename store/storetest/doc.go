// Package storetest is the contract of package store as a suite that every engine runs, with faults injected:
//
//	storetest.Run(t, open)           // the contract
//	storetest.RunReopen(t, open)     // what must outlive a restart
//
// Run drives the engine bare, then under Faulty in both flavours: commits that failed, and commits that failed but
// persisted. Faulty and Memory are also what the packages above test themselves with.
package storetest
