//go:build !linux

package redisstore_test

import "syscall"

func dieWithTest() *syscall.SysProcAttr { return nil }
