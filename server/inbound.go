package server

import (
	"context"

	"github.com/sendgate/sendgate/consent/keyword"
	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// inbound does what a message from a person asks for.
func (s *service) inbound(ctx context.Context, in *sendgatev1.ReportInboundRequest) (*sendgatev1.ReportInboundResponse, *failure) {
	caller, f := s.let(ctx)
	if f != nil {
		return nil, f
	}
	defer s.inFlight.leave()
	message := gate.Inbound{Number: in.GetNumber(), Account: in.GetAccount(), Sender: in.GetSender(), Text: in.GetText(), Postback: in.GetPostback(),
		Reference: in.GetReference(), Caller: caller}
	if t := in.GetOccurredAt(); t != nil {
		message.OccurredAt = t.AsTime()
	}
	heard, err := s.gate.Hear(ctx, &message)
	if err != nil {
		f := failureOf(err, s.log)
		s.metrics.failed(f)
		return nil, f
	}
	return &sendgatev1.ReportInboundResponse{Action: toAction(heard.Action), Keyword: heard.Word, Language: heard.Language,
		Changed: heard.Changed, OptedOut: heard.Out, Reply: heard.Reply}, nil
}

func toAction(a keyword.Action) sendgatev1.InboundAction {
	switch a {
	case keyword.OptOut:
		return sendgatev1.InboundAction_INBOUND_ACTION_OPT_OUT
	case keyword.OptIn:
		return sendgatev1.InboundAction_INBOUND_ACTION_OPT_IN
	case keyword.Help:
		return sendgatev1.InboundAction_INBOUND_ACTION_HELP
	case keyword.Confirm:
		return sendgatev1.InboundAction_INBOUND_ACTION_CONFIRM
	}
	return sendgatev1.InboundAction_INBOUND_ACTION_UNSPECIFIED
}

// ReportInbound answers over gRPC.
func (g *grpcServer) ReportInbound(ctx context.Context, in *sendgatev1.ReportInboundRequest) (*sendgatev1.ReportInboundResponse, error) {
	out, f := g.inbound(ctx, in)
	if f != nil {
		return nil, f
	}
	return out, nil
}

// ReportInbound answers as JSON.
func (c *connectServer) ReportInbound(ctx context.Context, in *sendgatev1.ReportInboundRequest) (*sendgatev1.ReportInboundResponse, error) {
	out, f := c.inbound(ctx, in)
	if f != nil {
		return nil, f.connect()
	}
	return out, nil
}
