package main

import "testing"

func TestOnThisMachine(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:7070": true, "[::1]:7070": true, "localhost:7070": true, "unix:/run/sendgate": true, "127.9.9.9:1": true,
		"192.0.2.1:7070": false, "[2001:db8::1]:7070": false, "example.com:7070": false, "127.0.0.1.example.com:7070": false, "127.0.0.1": false, "": false,
	} {
		if onThisMachine(addr) != want {
			t.Errorf("%q: %v, want %v", addr, !want, want)
		}
	}
}
