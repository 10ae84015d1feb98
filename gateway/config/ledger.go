package config

import "time"

// Ledger is the record of what happened.
type Ledger struct {
	// Origin is the host part of the log's name in checkpoints and receipts (HOST/ledger/TENANT/INSTANCE).
	// Default "gatewright.local". Danger: changing it starts new logs for every verifier.
	Origin string `koanf:"origin"`
	// Instance is this gateway's part of that name; two gateways must differ. Default "main".
	Instance string `koanf:"instance"`
	// Sync is "sync" (an acknowledged record survives a power cut) or "write" (it survives the process
	// being killed, not the machine). Default sync. Danger: write can lose the last records, and with
	// them counted uses, in a power cut.
	Sync string `koanf:"sync" oneof:"sync,write"`
	// Segment is the size of one file of the log. Default auto: 64MiB, in development 4MiB; two spare
	// ones are allocated ahead, so that a full disk is known before it is met.
	Segment Size `koanf:"segment" auto:"true" min:"1MiB" max:"1GiB"`
	// Deadline is the longest a call waits for its record to be durable; later it is refused. Default 2s:
	// virtual and spinning disks stall a second while they flush others' writes, and shorter waits would
	// turn each stall into refused calls. Danger: long ones let callers pile up in front of a sick disk.
	Deadline time.Duration `koanf:"deadline" min:"10ms" max:"1m"`
	// Queue bounds the records that wait for the disk; a call beyond is refused. Default 16384.
	Queue int `koanf:"queue" min:"1" max:"1048576"`
	// CheckpointEvery is the time between signed checkpoints of a log that grew. Default 1s.
	CheckpointEvery time.Duration `koanf:"checkpoint_every" min:"100ms" max:"1h"`
	// Arguments is what a record keeps of a call's arguments: "sealed" (encrypted under the subject's
	// key, erasable, replayable) or "commit" (a salted hash only). Default sealed.
	Arguments string `koanf:"arguments" oneof:"sealed,commit"`
	// Receipts adds a signed receipt to every answer, refusals too. Default true; without them an answer
	// still names its record.
	Receipts bool `koanf:"receipts"`
	// Heartbeat is the time between records in the instance's own chain that say it is alive, and how long every
	// organisation's ledger is: where they stop, the log was cut or the gateway stood. Default 1m; 0s writes none.
	Heartbeat time.Duration `koanf:"heartbeat" min:"0s" max:"24h"`
	// Retention is how long records are kept before they may be pruned, which is then done daily; 0s keeps them for ever and
	// refuses to prune. Default 0s. Danger: what was pruned is gone; an organisation under legal hold is left out.
	Retention time.Duration `koanf:"retention" min:"0s" max:"876000h"`
	// Witnesses are others who cosign this ledger's checkpoints, by name. Default none: then nobody but this
	// gateway vouches that its ledger was not cut back. Where several keep one, they are asked at once.
	Witnesses map[string]LedgerWitness `koanf:"witness"`
	// WitnessEvery is the least time between two checkpoints that witnesses are asked to cosign; 0s asks for
	// each. Default 1s. Danger: a long one leaves that much of the ledger open to be cut back unseen.
	WitnessEvery time.Duration `koanf:"witness_every" min:"0s" max:"1h"`
	// MLDSA has every checkpoint signed with an ML-DSA-44 key (FIPS 204) besides, for those who must still believe it
	// when Ed25519 is broken. Default false: it adds 3.3 KB to each checkpoint and a fraction of a millisecond.
	MLDSA bool `koanf:"mldsa"`
	// WitnessTimeout is the longest a checkpoint, or a start, waits for witnesses. Default 2s: it holds up
	// the publishing of the next checkpoint, never a call.
	WitnessTimeout time.Duration `koanf:"witness_timeout" min:"100ms" max:"1m"`
}

// LedgerWitness is one witness of this ledger (C2SP tlog-witness).
type LedgerWitness struct {
	// URL is its prefix, below which add-checkpoint lies; required.
	URL string `koanf:"url"`
	// Key is its verifier key, of type 0x04 or 0x06: name+hash+base64; required. Nothing it says counts but
	// what this key signed.
	Key string `koanf:"key"`
	// Required refuses to start while it does not say what it saw of the ledger. Default false: its silence
	// is reported. Danger: its outage is then this gateway's.
	Required bool `koanf:"required"`
}

// Witness is what this gateway does for others' logs: it remembers how long it saw each, and cosigns only
// what continues it.
type Witness struct {
	// Name is the name of its cosignatures' keys. Default empty: HOST/witness/INSTANCE with origin and
	// instance of the ledger. Danger: under a new name it is another witness, which its logs' verifiers do
	// not know, and which does not read what it kept.
	Name string `koanf:"name"`
	// Rate and Burst bound the submissions of one address, a second and at once; 429 beyond. Default 10 and
	// 20: a log submits once a second, and each one accepted costs a write to the disk.
	Rate  float64 `koanf:"rate" min:"0.1" max:"10000"`
	Burst int     `koanf:"burst" min:"1" max:"100000"`
	// Logs are the logs that it watches, by name. Default none: then /witness/ answers 404.
	Logs map[string]WitnessedLog `koanf:"log"`
}

// WitnessedLog is a log that this gateway is a witness of.
type WitnessedLog struct {
	// Origin is the first line of its checkpoints; required.
	Origin string `koanf:"origin"`
	// Keys are its verifier keys, of type 0x01, 0x04 or 0x06: name+hash+base64; required. One of them must
	// have signed; several let it change its key.
	Keys []string `koanf:"keys"`
}
