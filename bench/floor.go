package bench

import (
	"context"

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
