package mapped

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve has the kernel set blocks aside.
func reserve(f *os.File, size int64) error { return unix.Fallocate(int(f.Fd()), 0, 0, size) }

// Huge asks for huge pages, where the kernel has them: a hint.
func Huge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
