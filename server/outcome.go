package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// fromReport reads a ReportOutcomeRequest. An outcome that this version does not know keeps its number and is refused by the
// gate.
func fromReport(in *sendgatev1.ReportOutcomeRequest, caller gate.Caller) gate.Report {
	rep := gate.Report{CheckID: in.GetCheckId(), Outcome: outcomeOf(in.GetOutcome()), Caller: caller, Account: in.GetAccount(), Detail: in.GetDetail()}
	if t := in.GetOccurredAt(); t != nil {
		rep.OccurredAt = t.AsTime()
	}
	return rep
}

func outcomeOf(o sendgatev1.Outcome) gate.Outcome {
	switch o {
	case sendgatev1.Outcome_OUTCOME_SENT:
		return gate.Sent
	case sendgatev1.Outcome_OUTCOME_NOT_SENT:
		return gate.NotSent
	case sendgatev1.Outcome_OUTCOME_DELIVERED:
		return gate.Delivered
	case sendgatev1.Outcome_OUTCOME_UNDELIVERED:
		return gate.Undelivered
	case sendgatev1.Outcome_OUTCOME_VERIFIED:
		return gate.Verified
	case sendgatev1.Outcome_OUTCOME_FAILED:
		return gate.Failed
	case sendgatev1.Outcome_OUTCOME_EXPIRED:
		return gate.Expired
	case sendgatev1.Outcome_OUTCOME_VERIFIED_OTHER_WAY:
		return gate.VerifiedOtherWay
	}
	return 0
}

func toReport(c gate.Counted) *sendgatev1.ReportOutcomeResponse {
	if c == gate.News {
		return &sendgatev1.ReportOutcomeResponse{Result: sendgatev1.OutcomeResult_OUTCOME_RESULT_COUNTED}
	}
	return &sendgatev1.ReportOutcomeResponse{Result: sendgatev1.OutcomeResult_OUTCOME_RESULT_DUPLICATE}
}

// report counts one outcome. The caller has been let in.
func (s *service) report(ctx context.Context, in *sendgatev1.ReportOutcomeRequest, caller gate.Caller) (*sendgatev1.ReportOutcomeResponse, *failure) {
	rep := fromReport(in, caller)
	counted, err := s.gate.Report(ctx, &rep)
	if err != nil {
		f := failureOf(err, s.log)
		s.metrics.failed(f)
		return nil, f
	}
	s.metrics.reported(rep.Outcome, counted)
	return toReport(counted), nil
}

// reports counts many outcomes. It is one call in flight.
func (s *service) reports(ctx context.Context, items []*sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeBatchResponse, *failure) {
	if n := len(items); n < 1 || n > maxItems {
		f := invalid("items", "a batch has 1 to 10,000 items: split it")
		s.metrics.failed(f)
		return nil, f
	}
	caller, f := s.let(ctx)
	if f != nil {
		return nil, f
	}
	defer s.inFlight.leave()
	out := &sendgatev1.ReportOutcomeBatchResponse{Items: make([]*sendgatev1.ReportOutcomeBatchItem, len(items))}
	for i, item := range items {
		answer, f := s.report(ctx, item, caller)
		if f != nil && ctx.Err() != nil {
			return nil, f // nobody waits for the rest
		}
		out.Items[i] = &sendgatev1.ReportOutcomeBatchItem{Response: answer}
		if f != nil {
			out.Items[i] = &sendgatev1.ReportOutcomeBatchItem{Error: f.item()}
		}
	}
	return out, nil
}

// reportOne counts one outcome that came in a call of its own.
func (s *service) reportOne(ctx context.Context, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, *failure) {
	caller, f := s.let(ctx)
	if f != nil {
		return nil, f
	}
	defer s.inFlight.leave()
	return s.report(ctx, in, caller)
}

// let lets a call in and finds who makes it. Unless it fails, the caller of let says inFlight.leave.
func (s *service) let(ctx context.Context) (gate.Caller, *failure) {
	if !s.inFlight.enter() {
		s.metrics.shed.Inc()
		return gate.Caller{}, errBusy
	}
	caller, f := callerOf(ctx)
	if f != nil {
		s.inFlight.leave()
		s.metrics.failed(f)
	}
	return caller, f
}

// ReportOutcome counts one outcome.
func (g *grpcServer) ReportOutcome(ctx context.Context, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error) {
	out, f := g.reportOne(ctx, in)
	if f != nil {
		return nil, f
	}
	return out, nil
}

// ReportOutcomeBatch counts many.
func (g *grpcServer) ReportOutcomeBatch(ctx context.Context, in *sendgatev1.ReportOutcomeBatchRequest) (*sendgatev1.ReportOutcomeBatchResponse, error) {
	out, f := g.reports(ctx, in.GetItems())
	if f != nil {
		return nil, f
	}
	return out, nil
}

// ReportOutcomeStream counts outcomes for as long as the caller reports.
func (g *grpcServer) ReportOutcomeStream(stream grpc.BidiStreamingServer[sendgatev1.ReportOutcomeStreamRequest, sendgatev1.ReportOutcomeStreamResponse]) error {
	return converse(g, stream, func(ctx context.Context, in *sendgatev1.ReportOutcomeStreamRequest) *sendgatev1.ReportOutcomeStreamResponse {
		out := &sendgatev1.ReportOutcomeStreamResponse{Sequence: in.Sequence}
		if in.Report == nil {
			out.Error = invalid("report", "the question is empty: write the outcome").item()
			return out
		}
		answer, f := g.reportOne(ctx, in.Report)
		if f != nil {
			out.Error = f.item()
			return out
		}
		out.Response = answer
		return out
	})
}

func (c *connectServer) ReportOutcome(ctx context.Context, in *sendgatev1.ReportOutcomeRequest) (*sendgatev1.ReportOutcomeResponse, error) {
	out, f := c.reportOne(ctx, in)
	if f != nil {
		return nil, f.connect()
	}
	return out, nil
}

func (c *connectServer) ReportOutcomeBatch(ctx context.Context, in *sendgatev1.ReportOutcomeBatchRequest) (*sendgatev1.ReportOutcomeBatchResponse, error) {
	out, f := c.reports(ctx, in.GetItems())
	if f != nil {
		return nil, f.connect()
	}
	return out, nil
}

// serveOutcomes takes one report as an object, or many as an array or as one object a line, and answers in the same shape.
func (s *service) serveOutcomes(w http.ResponseWriter, r *http.Request) {
	fail := func(f *failure) {
		s.metrics.failed(f)
		writeFailure(w, f)
	}
	body, f := readBody(w, r, maxMessage)
	if f != nil {
		fail(f)
		return
	}
	body = bytes.TrimSpace(body)
	items, shape, f := splitReports(body)
	if f != nil {
		fail(f)
		return
	}
	if shape == oneObject {
		answer, f := s.reportOne(r.Context(), items[0])
		if f != nil {
			writeFailure(w, f)
			return
		}
		writeMessage(w, answer)
		return
	}
	answer, f := s.reports(r.Context(), items)
	if f != nil {
		writeFailure(w, f)
		return
	}
	if shape == anArray {
		writeMessage(w, answer)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := bufio.NewWriter(w)
	defer lines.Flush()
	for _, item := range answer.Items {
		writeLine(lines, item)
	}
}

// shape is how reports are written in a body.
type shape uint8

const (
	oneObject shape = iota
	anArray
	aLineEach
)

// splitReports reads the reports of a body.
func splitReports(body []byte) (items []*sendgatev1.ReportOutcomeRequest, form shape, f *failure) {
	var raw []json.RawMessage
	wrong := &failure{code: codes.InvalidArgument, reason: "JSON_INVALID", message: `not JSON: write an object like {"checkId":"...","outcome":"OUTCOME_VERIFIED"}, an array of such, or one a line`}
	if bytes.HasPrefix(body, []byte("[")) {
		if json.Unmarshal(body, &raw) != nil {
			return nil, 0, wrong
		}
		form = anArray
	} else {
		in := json.NewDecoder(bytes.NewReader(body))
		for {
			var one json.RawMessage
			err := in.Decode(&one)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, 0, wrong
			}
			if raw = append(raw, one); len(raw) > maxItems {
				break // reports refuses them
			}
		}
		if len(raw) == 0 {
			return nil, 0, wrong
		}
		if len(raw) > 1 {
			form = aLineEach
		}
	}
	for i, one := range raw {
		in := new(sendgatev1.ReportOutcomeRequest)
		if err := protojson.Unmarshal(longOutcome(one), in); err != nil {
			return nil, 0, &failure{code: codes.InvalidArgument, reason: "JSON_INVALID", message: fmt.Sprintf(`report %d: %s: write an object like {"checkId":"...","outcome":"OUTCOME_VERIFIED"}`, i+1, jsonError(err))}
		}
		items = append(items, in)
	}
	return items, form, nil
}

// longOutcome lets people write "verified" for OUTCOME_VERIFIED. What it does not understand it leaves to the decoder.
func longOutcome(one []byte) []byte {
	var fields map[string]json.RawMessage
	var word string
	if json.Unmarshal(one, &fields) != nil || json.Unmarshal(fields["outcome"], &word) != nil || strings.HasPrefix(word, "OUTCOME_") {
		return one
	}
	name := "OUTCOME_" + strings.ToUpper(word)
	if _, known := sendgatev1.Outcome_value[name]; !known {
		return one
	}
	return bytes.Replace(one, fields["outcome"], []byte(`"`+name+`"`), 1)
}
