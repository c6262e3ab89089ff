// Package server is what callers reach: gRPC on grpc-go's own listener, JSON over HTTP on another, health, reflection and
// metrics. It owns the lifetimes: listeners, the bound on requests in flight, the drain.
//
// Each surface is one translator in one file, from its wire form to a [gate.Request] and from a [gate.Verdict] back; no
// decision is made here. Being limited is an answer, never an error.
package server
