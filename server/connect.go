package server

import (
	"context"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/protoadapt"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/proto/sendgate/v1/sendgatev1connect"
)

// connectServer serves the contract's unary calls over the HTTP port, for browsers and generated JSON clients. It costs
// several times what the gRPC port does; streams are only there.
type connectServer struct {
	sendgatev1connect.UnimplementedSendGateServiceHandler
	*service
}

func newConnect(s *service) (string, http.Handler) {
	return sendgatev1connect.NewSendGateServiceHandler(&connectServer{service: s}, connect.WithReadMaxBytes(maxMessage))
}

func (c *connectServer) CheckSend(ctx context.Context, in *sendgatev1.CheckSendRequest) (*sendgatev1.CheckSendResponse, error) {
	v, f := c.check(ctx, in, connectCall, c.metrics.http)
	if f != nil {
		return nil, f.connect()
	}
	return toCheck(&v), nil
}

func (c *connectServer) CheckSendBatch(ctx context.Context, in *sendgatev1.CheckSendBatchRequest) (*sendgatev1.CheckSendBatchResponse, error) {
	out, err := c.batch(ctx, in, connectCall)
	if err != nil {
		return nil, failureOf(err, c.log).connect()
	}
	return out, nil
}

func (f *failure) connect() error {
	err := connect.NewError(connect.Code(f.code), f)
	for _, d := range f.details() {
		if detail, e := connect.NewErrorDetail(protoadapt.MessageV2Of(d)); e == nil {
			err.AddDetail(detail)
		}
	}
	return err
}

func connectCall(ctx context.Context, header string) *gate.Forwarded {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return nil
	}
	return httpCall(info.Peer().Addr, info.RequestHeader(), header)
}
