//go:build !linux

package main

func resetPeak() {}

func peak() int64 { return 0 }

func childPeak() int64 { return 0 }
