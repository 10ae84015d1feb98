package config

import "time"

// Filters are the WASM filters that every call's arguments and results pass.
type Filters struct {
	// Enabled are the built-in filters in force for all organisations, in their order. Default ["redact-secrets"]: what
	// looks like a key, a token or a card number is replaced on both ways. Danger: a tool whose very job is to hand out
	// such values is of no use behind it; a plan that fixes one as an argument is refused.
	Enabled []string `koanf:"enabled"`
	// Fuel is what one decision may spend, in units of about 1 ns, at most 15, and ByteFuel what each byte it is shown
	// adds; InitFuel is what loading may. Default 4000000, 512 and 50000000.
	Fuel     int `koanf:"fuel" min:"1000" max:"1000000000"`
	ByteFuel int `koanf:"byte_fuel" min:"0" max:"65536"`
	InitFuel int `koanf:"init_fuel" min:"1000" max:"10000000000"`
	// Memory bounds one instance's memory. Default 16MiB.
	Memory Size `koanf:"memory" min:"64KiB" max:"4GiB"`
	// Instances bounds the instances of one filter; 0 is twice the processors. A call waits up to Wait for one. Default
	// 0 and 100ms.
	Instances int           `koanf:"instances" min:"0" max:"4096"`
	Wait      time.Duration `koanf:"wait" min:"1ms" max:"10s"`
	// MaxContext bounds what a filter is shown, arguments or result included. Default 1MiB: more is refused, since a filter
	// that cannot see cannot judge.
	MaxContext Size `koanf:"max_context" min:"4KiB" max:"64MiB"`
	// MaxVerdict bounds what it answers beside a rewritten body. Default 16KiB.
	MaxVerdict Size `koanf:"max_verdict" min:"1KiB" max:"1MiB"`
	// Traps within TrapWindow break a filter: calls are refused at once for BreakFor. Default 5, 1m and 10s.
	Traps      int           `koanf:"traps" min:"1" max:"1000000"`
	TrapWindow time.Duration `koanf:"trap_window" min:"1s" max:"1h"`
	BreakFor   time.Duration `koanf:"break_for" min:"100ms" max:"1h"`
	// MaxFilters bounds the filters that an organisation may upload, MaxVersions those of one name, MaxBytes all their modules
	// together, and UploadsPerHour how often it may try. Default 32, 20, 64MiB and 60.
	MaxFilters     int  `koanf:"max_filters" min:"1" max:"1000"`
	MaxVersions    int  `koanf:"max_versions" min:"1" max:"1000"`
	MaxBytes       Size `koanf:"max_bytes" min:"64KiB" max:"1024GiB"`
	UploadsPerHour int  `koanf:"uploads_per_hour" min:"1" max:"1000000"`
	// Large lets modules of up to 8MiB in, as Go makes them. Default true: they are slow to compile, in a process of their own.
	Large bool `koanf:"large"`
	// TenantMemory bounds what an organisation's own filters hold (instances, code, images), TenantFuel what they may spend in a
	// second (0: 50000000 for each processor) and TenantCalls how many calls they judge at once (0: half of the processors).
	// Filters in shadow have the same once more. Default 256MiB, 0 and 0.
	TenantMemory Size `koanf:"tenant_memory" min:"1MiB" max:"1024GiB"`
	TenantFuel   int  `koanf:"tenant_fuel" min:"0" max:"1000000000000"`
	TenantCalls  int  `koanf:"tenant_calls" min:"0" max:"4096"`
	// LogLines of each filter are kept in memory. Default 200.
	LogLines int `koanf:"log_lines" min:"1" max:"10000"`
}
