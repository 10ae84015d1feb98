package wasm

// Spare makes an instance beside those of the pool, and returns what closes it.
func (f *Filter) Spare() (func() error, error) {
	in, err := f.spare()
	if err != nil {
		return nil, err
	}
	return in.close, nil
}

// Starve has the system give no memory to the instances to come.
func (f *Filter) Starve() { f.config.MemoryPages = 0 }

// Native is how many bytes of native code the filter has, as far as the engine lets it be seen.
func (f *Filter) Native() (int64, bool) { return native(f.pool.slots[0].in.module) }

// PerInstance is what an instance weighs at least.
const PerInstance = perInstance
