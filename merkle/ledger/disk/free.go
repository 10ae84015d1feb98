package disk

import "errors"

// Free returns the bytes that are free in the file system of a folder, for those who may not use what is reserved for
// root; an error where that is not known.
func Free(on FS, dir string) (int64, error) {
	if f, ok := on.(interface {
		Free(dir string) (int64, error)
	}); ok {
		return f.Free(dir)
	}
	return 0, errors.ErrUnsupported
}
