package bench

import (
	"context"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Floor is the least that a check over gRPC can cost: it reads the request, answers ALLOW and knows nothing.
type Floor struct {
	sendgatev1.UnimplementedSendGateServiceServer
}

// CheckSend allows everything.
func (Floor) CheckSend(context.Context, *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	return &sendgatev1.CheckSendResponse{Verdict: sendgatev1.Verdict_VERDICT_ALLOW}, nil
}

// CheckSendBatch allows every item.
func (Floor) CheckSendBatch(_ context.Context, in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
	out := &sendgatev1.CheckSendBatchResponse{Items: make([]*sendgatev1.CheckSendBatchItem, len(in.Items))}
	for i := range out.Items {
		out.Items[i] = &sendgatev1.CheckSendBatchItem{Response: &sendgatev1.CheckSendResponse{Verdict: sendgatev1.Verdict_VERDICT_ALLOW}}
	}
	return out, nil
}

// CheckSendStream allows whatever it reads.
func (Floor) CheckSendStream(stream grpc.BidiStreamingServer[sendgatev1.CheckSendStreamRequest, sendgatev1.CheckSendStreamResponse]) error {
	for {
		in, err := stream.Recv()
		if err != nil {
			return nil
		}
		answer := &sendgatev1.CheckSendStreamResponse{Sequence: in.Sequence, Response: &sendgatev1.CheckSendResponse{Verdict: sendgatev1.Verdict_VERDICT_ALLOW}}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}
