package wal

import (
	"fmt"
	"time"
)

// Config is the part of gateway.hcl that the ledger reads.
type Config struct {
	// Sync is "sync" (default: a record is on the disk before it is acknowledged) or "write" (it is in
	// the operating system's memory: survives a killed process, not a power cut). Danger: with
	// "write" a power cut may lose records that receipts were given for.
	Sync string `koanf:"sync"`
	// SegmentBytes is the size of one segment file in bytes, preallocated. Default 64 MiB; 4 MiB suits
	// development. At most 1 GiB; small ones waste a rotation per few records.
	SegmentBytes int64 `koanf:"segment_bytes"`
	// Deadline bounds a commit: a call that waited longer is refused with ErrDeadline. Default 250 ms.
	// It is kept to a quarter: the refusal comes between 1 and 1.25 deadlines. Danger: a long one
	// lets callers pile up behind a sick disk.
	Deadline time.Duration `koanf:"deadline"`
	// Checkpoint is how often a changed tenant's tree is signed and published. Default 1 s. Records
	// after the last checkpoint are protected from truncation only by the receipts that were given.
	Checkpoint time.Duration `koanf:"checkpoint"`
	// QueueRecords bounds the records that wait for the disk; more are refused with ErrBusy. Default 16384.
	QueueRecords int `koanf:"queue_records"`
}

// Values of Config.Sync.
const (
	SyncDisk  = "sync"
	SyncWrite = "write"
)

// Bounds on a segment's size: the lower holds a header and a small record, the upper keeps offsets in 32 bits.
const (
	minSegment = 4 << 10
	maxSegment = 1 << 30
)

// DefaultConfig is what an empty configuration means.
func DefaultConfig() Config {
	return Config{
		Sync: SyncDisk, SegmentBytes: 64 << 20, Deadline: 250 * time.Millisecond,
		Checkpoint: time.Second, QueueRecords: 16 << 10,
	}
}

// Validate refuses a configuration that cannot work.
func (c Config) Validate() error {
	switch {
	case c.Sync != SyncDisk && c.Sync != SyncWrite:
		return fmt.Errorf("sync %q: want %q or %q", c.Sync, SyncDisk, SyncWrite)
	case c.SegmentBytes < minSegment || c.SegmentBytes > maxSegment:
		return fmt.Errorf("segment_bytes %d: want %d to %d", c.SegmentBytes, minSegment, maxSegment)
	case c.Deadline < time.Millisecond || c.Deadline > time.Minute:
		return fmt.Errorf("deadline %v: want 1ms to 1m", c.Deadline)
	case c.Checkpoint < 10*time.Millisecond || c.Checkpoint > time.Hour:
		return fmt.Errorf("checkpoint %v: want 10ms to 1h", c.Checkpoint)
	case c.QueueRecords < 1 || c.QueueRecords > 1<<20:
		return fmt.Errorf("queue_records %d: want 1 to %d", c.QueueRecords, 1<<20)
	}
	return nil
}
