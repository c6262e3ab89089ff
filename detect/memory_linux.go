package detect

import "golang.org/x/sys/unix"

// hugePages asks for 2 MiB pages: random access to 64 MiB of small ones misses the address cache on nearly every line. It is a
// wish; without it everything works, slower.
func hugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
