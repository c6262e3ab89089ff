package server

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/policy"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	sealedNumber = "a number as an HMAC-SHA-256 under the secret, cut to 128 bits"
	hashedKey    = "64 bits of a hash under the secret; no number"
)

// PrivacyReport tells what is kept.
func (a *consentAdmin) PrivacyReport(ctx context.Context, _ *sendgatev1.PrivacyReportRequest) (*sendgatev1.PrivacyReportResponse, error) {
	l, err := a.ledger(ctx)
	if err != nil {
		return nil, err
	}
	r, err := l.Report(ctx)
	if err != nil {
		return nil, a.failed(err)
	}
	p := a.gate.Policy()
	out := &sendgatev1.PrivacyReportResponse{Region: a.gate.Region()}
	for _, name := range slices.Sorted(maps.Keys(p.Accounts)) {
		if home := p.Accounts[name].Residency; home != "" && home != a.gate.Region() {
			out.RefusedAccounts = append(out.RefusedAccounts, name)
		}
	}
	for _, s := range r.Secrets {
		out.Secrets = append(out.Secrets, &sendgatev1.SecretReport{Secret: s.Secret, Records: int64(s.Records)})
	}
	out.Stores = append(consentStores(&r), a.otherStores(p)...)
	return out, nil
}

// consentStores are the records of the ledger.
func consentStores(r *consent.Report) (out []*sendgatev1.StoreReport) {
	keep := r.Retention
	for _, k := range []struct {
		kind        consent.Kind
		holds, kept string
	}{
		{consent.KindOptOut, sealedNumber + ", and a time", "until the person comes back; " + span(keep.Forgotten) + " after they asked to be forgotten"},
		{consent.KindGrant, sealedNumber + ", account, purpose, channel and a time", "while the consent is in force"},
		{consent.KindProof, sealedNumber + ", what happened, and the device's address sealed likewise", span(keep.Proof) + " after the consent ended; " + span(keep.Unconfirmed) + " where nobody confirmed"},
		{consent.KindText, "texts that were shown; none has a number", "while a proof names it"},
		{consent.KindMessage, sealedNumber + ", and a hash of the platform's id of a message", span(keep.Messages)},
		{consent.KindTemplate, "nothing of a person", "without end"},
		{consent.KindForget, "a number sealed with AES-256-GCM under the secret, for sidecars that share the store", "1 or 2 days"},
	} {
		one := &sendgatev1.StoreReport{Store: "consent", Kind: k.kind.String(), Records: new(int64(r.Records[k.kind.String()])), Holds: k.holds, Kept: k.kept}
		if at, ok := r.Oldest[k.kind.String()]; ok {
			one.Oldest = timestamppb.New(at)
		}
		out = append(out, one)
	}
	return out
}

// otherStores are what else may hold something of a person.
func (a *consentAdmin) otherStores(p *policy.Policy) []*sendgatev1.StoreReport {
	var longest time.Duration
	for i := range p.Limits {
		longest = max(longest, p.Limits[i].Window)
	}
	longest = max(longest, p.OTP.KnownGoodFor, p.OTP.Verify.Number.ForgetAfter)
	out := []*sendgatev1.StoreReport{
		{Store: "counters", Kind: "key", Records: new(a.store.Stats().Occupied), Holds: hashedKey, Kept: "as long as a rule counts: " + span(longest) + " at most"},
		{Store: "idempotency", Kind: "answer", Holds: hashedKey, Kept: "10m"},
		{Store: "detection", Kind: "session", Holds: "numbers and addresses of the newest sessions, in memory and in a file that only its owner can read; else " + hashedKey,
			Kept: "until newer ones need the room; numbers that verified as hashed bits for 30d"},
		{Store: "audit", Kind: "line", Holds: "a number with six digits as letters of a keyed cipher", Kept: "as the flags of serve say"},
	}
	if a.lists != nil {
		out = append(out, &sendgatev1.StoreReport{Store: "lists", Kind: "entry", Records: new(int64(a.lists.Snapshot().Len())), Holds: sealedNumber + ", and its last digits", Kept: "until its end, or until somebody removes it"})
	}
	return out
}

// span writes a time in days where it is whole days.
func span(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
