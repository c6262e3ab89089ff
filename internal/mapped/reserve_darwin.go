package mapped

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve has the kernel set blocks aside. F_PREALLOCATE counts from the end of what is allocated.
func reserve(f *os.File, size int64) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	if more := size - st.Blocks*512; more > 0 {
		s := unix.Fstore_t{Flags: unix.F_ALLOCATEALL, Posmode: unix.F_PEOFPOSMODE, Length: more}
		if err := unix.FcntlFstore(f.Fd(), unix.F_PREALLOCATE, &s); err != nil {
			return err
		}
	}
	return f.Truncate(max(size, st.Size))
}

// Huge asks for huge pages, where the kernel has them: a hint.
func Huge([]byte) {}
