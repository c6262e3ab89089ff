//go:build !linux

package detect

func hugePages([]byte) {}
