//go:build amd64 || arm64

package detect

import "unsafe"

// prefetch asks for a cache line without waiting for it. A send touches about twenty lines in large tables; asked for together
// they arrive together.
//
//go:noescape
func prefetch(p unsafe.Pointer)
