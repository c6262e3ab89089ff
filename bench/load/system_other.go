//go:build !linux

package main

import (
	"syscall"
	"time"
)

func sleep(d time.Duration) { time.Sleep(d) }

func childAttributes() *syscall.SysProcAttr { return nil }
