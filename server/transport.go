package server

import "google.golang.org/grpc"

// TransportOptions are the options of the gRPC listener that cost or save time on the wire. The empty handler that benchmarks compare
// with is served with the same ones.
func TransportOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxConcurrentStreams(maxStreams),
	}
}
