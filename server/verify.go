package server

import (
	"cmp"
	"context"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// fromVerify reads a CheckVerifyRequest.
func fromVerify(in *sendgatev1.CheckVerifyRequest, own *gate.Forwarded, caller gate.Caller) gate.VerifyRequest {
	req := gate.VerifyRequest{CheckID: in.GetCheckId(), Request: gate.Request{
		Number:          in.GetNumber(),
		ClientAddress:   in.GetClientAddress(),
		Forwarded:       own,
		Caller:          caller,
		Account:         in.GetAccount(),
		Subaccount:      in.GetSubaccount(),
		Endpoint:        in.GetEndpoint(),
		IdempotencyKey:  in.GetIdempotencyKey(),
		ChallengePassed: in.GetChallengePassed(),
		Attributes:      in.GetAttributes(),
	}}
	if f := in.GetForwarded(); f != nil {
		req.Forwarded = &gate.Forwarded{Peer: f.Peer, XForwardedFor: f.XForwardedFor, Forwarded: f.Forwarded, Custom: f.Custom}
	}
	return req
}

func toVerify(v *gate.Verdict) *sendgatev1.CheckVerifyResponse {
	return &sendgatev1.CheckVerifyResponse{
		Verdict: toVerdict(v.Kind), Reason: v.Reason, Rule: v.Rule, RetryAfter: toDuration(v.RetryAfter), Remaining: v.Remaining, Limit: v.Limit,
		PolicyVersion: v.PolicyVersion, Replayed: v.Replayed, SkippedRules: v.Skipped,
	}
}

// checkVerify answers one question about a code.
func (s *service) checkVerify(ctx context.Context, in *sendgatev1.CheckVerifyRequest, own ownCall) (gate.Verdict, *failure) {
	caller, f := s.let(ctx)
	if f != nil {
		return gate.Verdict{}, f
	}
	defer s.inFlight.leave()
	by := s.gate.Snapshot()
	var forwarded *gate.Forwarded
	if in.GetClientAddress() == "" && in.GetForwarded() == nil {
		forwarded = own(ctx, by.ClientHeader())
	}
	req := fromVerify(in, forwarded, caller)
	req.By = by
	v, err := s.gate.CheckVerify(ctx, &req)
	if err != nil {
		f := failureOf(err, s.log)
		s.metrics.failed(f)
		return gate.Verdict{}, f
	}
	s.metrics.verify.with(v.Kind.String(), cmp.Or(v.Reason, "none")).Inc()
	return v, nil
}

// CheckVerify answers whether a code may be compared.
func (g *grpcServer) CheckVerify(ctx context.Context, in *sendgatev1.CheckVerifyRequest) (*sendgatev1.CheckVerifyResponse, error) {
	v, f := g.checkVerify(ctx, in, grpcCall)
	if f != nil {
		return nil, f
	}
	return toVerify(&v), nil
}

func (c *connectServer) CheckVerify(ctx context.Context, in *sendgatev1.CheckVerifyRequest) (*sendgatev1.CheckVerifyResponse, error) {
	v, f := c.checkVerify(ctx, in, connectCall)
	if f != nil {
		return nil, f.connect()
	}
	return toVerify(&v), nil
}

// serveVerify is CheckVerify as JSON. The status is as for a check.
func (s *service) serveVerify(w http.ResponseWriter, r *http.Request) {
	body, f := readBody(w, r, maxBody)
	in := new(sendgatev1.CheckVerifyRequest)
	if f == nil {
		if err := protojson.Unmarshal(body, in); err != nil {
			f = &failure{code: codes.InvalidArgument, reason: "JSON_INVALID", message: jsonError(err) + `: write an object like {"checkId":"...","clientAddress":"203.0.113.7"}`}
		}
	}
	if f != nil {
		s.metrics.failed(f)
		writeFailure(w, f)
		return
	}
	v, f := s.checkVerify(r.Context(), in, func(_ context.Context, header string) *gate.Forwarded {
		return httpCall(r.RemoteAddr, r.Header, header)
	})
	if f != nil {
		writeFailure(w, f)
		return
	}
	if v.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(wholeSeconds(v.RetryAfter), 10))
	}
	writeMessageAs(w, statusOf(&v), toVerify(&v))
}
