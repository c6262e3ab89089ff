package redisstore_test

import "syscall"

// dieWithTest ends a server also when its test is killed.
func dieWithTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
