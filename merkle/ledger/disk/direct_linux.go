package disk

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Alignment implements Director, by what the file system says (statx(2), STATX_DIOALIGN; Linux 6.1 and later).
func (f osFile) Alignment() int {
	var st unix.Statx_t
	err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err != nil || st.Mask&unix.STATX_DIOALIGN == 0 || st.Dio_offset_align == 0 || max(st.Dio_offset_align, st.Dio_mem_align) > pageBytes {
		return 0
	}
	return pageBytes
}

// Direct implements Director.
func (f osFile) Direct(on bool) error {
	fd := f.Fd()
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if flags |= unix.O_DIRECT; !on {
		flags &^= unix.O_DIRECT
	}
	if err == nil {
		_, err = unix.FcntlInt(fd, unix.F_SETFL, flags)
	}
	if errors.Is(err, unix.EINVAL) {
		return errors.ErrUnsupported
	}
	return os.NewSyscallError("fcntl", err)
}
