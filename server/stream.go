package server

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// converse answers the questions of a stream in order, for as long as the caller asks, or until the drain begins. It reads on a
// goroutine of its own, so that an idle stream does not hold the drain up; answering and ending exclude each other, so that no
// question is charged and then not answered.
func converse[In, Out any](g *grpcServer, stream grpc.BidiStreamingServer[In, Out], answer func(context.Context, *In) *Out) error {
	var answering sync.Mutex
	ended := false
	done := make(chan error, 1)
	go func() {
		defer g.catch(func(err error) { done <- err })
		for {
			in, err := stream.Recv()
			if err != nil {
				done <- ignoreEOF(err)
				return
			}
			answering.Lock()
			if ended {
				answering.Unlock()
				return
			}
			if _, f := callerOf(stream.Context()); f != nil {
				err = f // his key was removed: not a wrong question, the end
			} else {
				err = stream.Send(answer(stream.Context(), in))
			}
			answering.Unlock()
			if err != nil {
				done <- err
				return
			}
		}
	}()
	select {
	case err := <-done:
		return err
	case <-g.draining:
		answering.Lock()
		defer answering.Unlock()
		ended = true
		return status.Error(codes.Unavailable, "the service is shutting down: ask again on a new stream what was not answered")
	}
}
