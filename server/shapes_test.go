package server_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"pgregory.net/rapid"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// However sends are asked for, one by one, as a batch or on a stream, each gets the same answer in the same order.
func TestShapes_answerAlike(t *testing.T) {
	r := start(t, setup{clock: func() time.Time { return time.Unix(1_800_000_000, 0) }, policy: `detect: {level: "off"}
limits:
  - {name: number, by: [account, number], limit: 2, window: 1h}
  - {name: client, by: [account, client], limit: 4, window: 1h, on_limit: challenge}
  - {name: trial, by: [account], limit: 3, window: 1h, mode: shadow}
lists: {block: ["+6591*"], test_numbers: ["+6599999*"]}
numbers: {countries: {block: [TH]}}`})
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		// Each way asks for an account of its own, by which everything is counted.
		by := func(way string, items []*sendgatev1.CheckSendRequest) []*sendgatev1.CheckSendRequest {
			for _, in := range items {
				in.Account = fmt.Sprint(way, " ", run)
			}
			return items
		}
		number := rapid.SampledFrom([]string{"+6581234567", "+65 8123-4567", "+6581234568", "+66812345678", "+6591234567", "+6599999123", "", "12", "+99912345"})
		var items []*sendgatev1.CheckSendRequest
		for range rapid.IntRange(1, 12).Draw(rt, "items") {
			in := send(number.Draw(rt, "number"), fmt.Sprint("203.0.113.", rapid.IntRange(1, 2).Draw(rt, "client")))
			cost := rapid.Int64Range(0, 2).Draw(rt, "cost")
			in.Cost = &cost
			items = append(items, in)
		}
		var alone []string
		for _, in := range by("alone", items) {
			out, err := r.CheckSend(t.Context(), in)
			if err != nil {
				alone = append(alone, status.Code(err).String()+" "+reasonOf(err))
				continue
			}
			alone = append(alone, told(out))
		}
		together, err := r.CheckSendBatch(t.Context(), &sendgatev1.CheckSendBatchRequest{Items: by("batch", items)})
		if err != nil || len(together.Items) != len(items) {
			rt.Fatalf("%d items, %v", len(together.GetItems()), err)
		}
		talk, err := r.CheckSendStream(t.Context())
		if err != nil {
			rt.Fatal(err)
		}
		for i, in := range by("stream", items) {
			if err := talk.Send(&sendgatev1.CheckSendStreamRequest{Sequence: uint64(i), Check: in}); err != nil {
				rt.Fatal(err)
			}
		}
		talk.CloseSend()
		for i := range items {
			got, err := talk.Recv()
			if err != nil || got.Sequence != uint64(i) {
				rt.Fatalf("answer %d: sequence %d, %v", i, got.GetSequence(), err)
			}
			for way, of := range map[string]string{"batch": of(together.Items[i].Response, together.Items[i].Error), "stream": of(got.Response, got.Error)} {
				if of != alone[i] {
					rt.Errorf("item %d by %s: %s, alone: %s", i, way, of, alone[i])
				}
			}
		}
	})
}

// told is all of an answer that does not name the check.
func told(out *sendgatev1.CheckSendResponse) string {
	return fmt.Sprint(out.Verdict, out.Reason, out.Rule, out.RetryAfter.AsDuration(), out.Remaining, out.Limit, out.Window.AsDuration(), out.Shadow)
}

func of(out *sendgatev1.CheckSendResponse, e *sendgatev1.ItemError) string {
	if e != nil {
		return codes.Code(e.Code).String() + " " + e.Reason
	}
	return told(out)
}
