package server

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// toSignals tells what detection saw in a send. Subjects mask numbers themselves.
func toSignals(v *gate.Verdict) []*sendgatev1.Signal {
	var out []*sendgatev1.Signal
	for i := range v.Signals {
		s := toSignal(&v.Signals[i])
		if i == 0 && v.ByDetection() && v.RetryAfter > 0 {
			s.BlockedUntil = timestamppb.New(v.At.Add(v.RetryAfter))
		}
		out = append(out, s)
	}
	return out
}

func toSignal(s *detect.Signal) *sendgatev1.Signal {
	out := &sendgatev1.Signal{
		Kind: s.Kind.String(), Scope: s.Subject.Scope.String(), Subject: s.Subject.String(),
		Statistic: s.Statistic, Threshold: s.Threshold, Observed: s.Observed, Expected: s.Expected,
		Verdict: adviceVerdict(s.Advice), Shadow: s.Shadow,
		Evidence: []*sendgatev1.Evidence{{Name: "sessions", Value: float64(s.Sessions)}, {Name: "verified", Value: float64(s.Verified)}},
	}
	if s.FirstSeen != 0 {
		out.FirstSeen = timestamppb.New(time.Unix(0, s.FirstSeen))
	}
	return out
}

func adviceVerdict(a detect.Advice) sendgatev1.Verdict {
	switch a {
	case detect.Deny, detect.Delay:
		return sendgatev1.Verdict_VERDICT_DENY
	case detect.Challenge:
		return sendgatev1.Verdict_VERDICT_CHALLENGE
	}
	return sendgatev1.Verdict_VERDICT_ALLOW
}
