package server

import "google.golang.org/grpc"

// streamWorkers answer calls on stacks that have grown already: a check needs some 12 KB, and a new goroutine for each call spent a
// quarter of the processor's time on copying its stack to a larger one. What comes while all are busy gets a goroutine of its own.
const streamWorkers = 64

// TransportOptions are the options of the gRPC listener that cost or save time on the wire. The empty handler that benchmarks compare
// with is served with the same ones.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.NumStreamWorkers(streamWorkers),
	}
}
