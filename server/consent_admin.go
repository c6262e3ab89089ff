package server

import (
	"bytes"
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/consent/template"
	"github.com/sendgate/sendgate/internal/phone"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// consentAdmin is what operators do about consent.
type consentAdmin struct {
	sendgatev1.UnsafeConsentAdminServiceServer
	*admin
}

// ledger lets an operator in, where there is a ledger.
func (a *consentAdmin) ledger(ctx context.Context) (*consent.Ledger, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	if a.gate.Consent() == nil {
		return nil, errConsentOff
	}
	return a.gate.Consent(), nil
}

// person reads a number.
func (a *consentAdmin) person(text string) (phone.Number, error) {
	n, err := phone.Parse(text[:min(len(text), 65)], a.gate.Policy().Numbers.DefaultRegion)
	if err != nil {
		return n, invalid("number", err.Error())
	}
	return n, nil
}

// about is a change of one person by hand: let in, read, audited with the number masked.
func (a *consentAdmin) about(ctx context.Context, what, number, account, reason, author string, do func(*consent.Ledger, phone.Number, *auditEntry) error) error {
	entry, err := a.change(ctx, what, reason, author)
	if err != nil {
		return err
	}
	l, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	n, err := a.person(number)
	if err == nil {
		err = a.gate.Accepts(account)
	}
	if err != nil {
		return a.failed(err)
	}
	entry.Account, entry.Values = account, []string{n.String()}
	if err := a.audit.around(entry, func() error { return do(l, n, entry) }); err != nil {
		return a.failed(err)
	}
	return nil
}

// failed is an error of the ledger for callers.
func (a *consentAdmin) failed(err error) error {
	var wrong *consent.RecordError
	if errors.As(err, &wrong) {
		return invalid(wrong.Field())
	}
	return failureOf(err, a.log)
}

// OptOut puts a number out by hand.
func (a *consentAdmin) OptOut(ctx context.Context, in *sendgatev1.OptOutRequest) (*sendgatev1.OptOutResponse, error) {
	out := new(sendgatev1.OptOutResponse)
	return out, a.about(ctx, "opt_out", in.Number, in.Account, in.Reason, in.Author, func(l *consent.Ledger, n phone.Number, e *auditEntry) (err error) {
		out.Changed, err = l.OptOut(ctx, n, byHand(e, in.Account, in.Sender))
		return err
	})
}

// OptIn brings a number back by hand.
func (a *consentAdmin) OptIn(ctx context.Context, in *sendgatev1.OptInRequest) (*sendgatev1.OptInResponse, error) {
	out := new(sendgatev1.OptInResponse)
	return out, a.about(ctx, "opt_in", in.Number, in.Account, in.Reason, in.Author, func(l *consent.Ledger, n phone.Number, e *auditEntry) (err error) {
		out.Changed, _, err = l.OptIn(ctx, n, byHand(e, in.Account, in.Sender))
		return err
	})
}

func byHand(e *auditEntry, account, sender string) consent.Record {
	return consent.Record{At: e.Time, Account: account, Sender: sender, Source: consent.SourceHand, Author: e.Author, Reason: e.Reason}
}

// Recycle ends what a number's former owner agreed to.
func (a *consentAdmin) Recycle(ctx context.Context, in *sendgatev1.RecycleRequest) (*sendgatev1.RecycleResponse, error) {
	out := new(sendgatev1.RecycleResponse)
	return out, a.about(ctx, "recycle", in.Number, "", in.Reason, in.Author, func(l *consent.Ledger, n phone.Number, e *auditEntry) error {
		r := byHand(e, "", "")
		if in.Since != nil {
			r.At = in.Since.AsTime()
		}
		ended, err := l.Recycle(ctx, n, r)
		out.Ended = int32(ended)
		return err
	})
}

// Forget removes what all stores hold of a number.
func (a *consentAdmin) Forget(ctx context.Context, in *sendgatev1.ForgetRequest) (*sendgatev1.ForgetResponse, error) {
	out := &sendgatev1.ForgetResponse{Removed: map[string]int32{}}
	return out, a.about(ctx, "forget", in.Number, "", in.Reason, in.Author, func(_ *consent.Ledger, _ phone.Number, e *auditEntry) error {
		done, err := a.gate.Forget(ctx, in.Number, e.Author)
		if err == nil && a.forgotten != nil {
			err = a.forgotten()
		}
		for kind, n := range done.Removed {
			out.Removed[kind] = int32(n)
		}
		done.Kept = append(done.Kept, consent.Kept{Kind: "audit", Basis: "accountability, GDPR Art. 5(2); six digits of a number stand as letters of a keyed cipher"})
		for _, k := range done.Kept {
			kept := &sendgatev1.KeptRecord{Kind: k.Kind, Records: int32(k.Records), Basis: k.Basis}
			if !k.Until.IsZero() {
				kept.Until = timestamppb.New(k.Until)
			}
			out.Kept = append(out.Kept, kept)
		}
		return err
	})
}

// History is everything that happened with a number.
func (a *consentAdmin) History(ctx context.Context, in *sendgatev1.HistoryRequest) (*sendgatev1.HistoryResponse, error) {
	l, err := a.ledger(ctx)
	if err != nil {
		return nil, err
	}
	n, err := a.person(in.Number)
	if err != nil {
		return nil, err
	}
	records, err := l.History(ctx, n)
	if err != nil {
		return nil, a.failed(err)
	}
	var evidence bytes.Buffer
	if err := l.Evidence(ctx, a.gate.Now(), n, &evidence); err != nil {
		return nil, a.failed(err)
	}
	out := &sendgatev1.HistoryResponse{Subject: l.Subject(n), Evidence: evidence.Bytes()}
	for _, r := range records {
		one := &sendgatev1.ConsentRecord{At: timestamppb.New(r.At), Event: string(r.Event), Account: r.Account, Sender: r.Sender, Purposes: r.Purposes, Channels: r.Channels,
			Source: r.Source, Text: r.Text, Client: r.Client, Reference: r.Reference, Author: r.Author, Reason: r.Reason}
		if !r.ConfirmBy.IsZero() {
			one.ConfirmBy = timestamppb.New(r.ConfirmBy)
		}
		out.Records = append(out.Records, one)
	}
	return out, nil
}

// Due lists consent that has to be given again.
func (a *consentAdmin) Due(in *sendgatev1.DueRequest, stream grpc.ServerStreamingServer[sendgatev1.DueResponse]) error {
	l, err := a.ledger(stream.Context())
	if err != nil {
		return err
	}
	at := a.gate.Now()
	if in.At != nil {
		at = in.At.AsTime()
	}
	// The store is not held while a caller reads slowly: who is due is few beside who agreed.
	var due []consent.Due
	if err := l.Due(stream.Context(), at, func(d consent.Due) error { due = append(due, d); return nil }); err != nil {
		return a.failed(err)
	}
	for _, d := range due {
		if err := stream.Send(&sendgatev1.DueResponse{Subject: d.Subject, Account: d.Scope.Account, Sender: d.Scope.Sender, Purpose: d.Purpose, Channel: d.Channel,
			Since: timestamppb.New(d.Since), DueAt: timestamppb.New(d.At)}); err != nil {
			return err
		}
	}
	return nil
}

// Templates lists what is known of templates.
func (a *consentAdmin) Templates(ctx context.Context, in *sendgatev1.TemplatesRequest) (*sendgatev1.TemplatesResponse, error) {
	book, err := a.templates(ctx)
	if err != nil {
		return nil, err
	}
	out := new(sendgatev1.TemplatesResponse)
	for _, id := range book.All(in.Account) {
		out.Templates = append(out.Templates, toTemplate(book, id))
	}
	return out, nil
}

func (a *consentAdmin) templates(ctx context.Context) (*template.Book, error) {
	if _, err := operator(ctx); err != nil {
		return nil, err
	}
	if a.gate.Templates() == nil {
		return nil, errConsentOff
	}
	return a.gate.Templates(), nil
}

// ReportTemplate tells the state of a template.
func (a *consentAdmin) ReportTemplate(ctx context.Context, in *sendgatev1.ReportTemplateRequest) (*sendgatev1.ReportTemplateResponse, error) {
	book, err := a.templates(ctx)
	if err != nil {
		return nil, err
	}
	id, at := templateID(in.Template), a.gate.Now()
	if in.OccurredAt != nil {
		at = in.OccurredAt.AsTime()
	}
	var events []template.Event
	if in.Status != "" {
		events = append(events, template.Event{ID: id, What: template.StatusUpdate, At: at, Event: in.Status, Title: in.Title, Category: template.Category(in.Category)})
	} else if in.Category != "" {
		events = append(events, template.Event{ID: id, What: template.CategoryUpdate, At: at, Category: template.Category(in.Category)})
	}
	if in.Quality != "" {
		events = append(events, template.Event{ID: id, What: template.QualityUpdate, At: at, Quality: template.Quality(in.Quality)})
	}
	switch {
	case id.Account == "" && len(a.gate.Policy().Accounts) > 0:
		return nil, invalid("template.account", "required: write whose template it is")
	case len(events) == 0:
		return nil, invalid("status", "nothing is told: write a status, a quality or a category")
	}
	if err := a.gate.Accepts(id.Account); err != nil {
		return nil, a.failed(err)
	}
	for i := range events {
		if err := events[i].Check(); err != nil {
			return nil, invalid("status", err.Error())
		}
	}
	if err := book.Apply(ctx, events...); err != nil {
		return nil, a.failed(err)
	}
	out := &sendgatev1.ReportTemplateResponse{State: toTemplate(book, id)}
	if until := out.State.Until.AsTime(); out.State.Status == string(template.Paused) && until.After(a.gate.Now()) {
		out.RetryAfter = durationpb.New(until.Sub(a.gate.Now()))
	}
	return out, nil
}

// ReleaseTemplate ends what pacing holds.
func (a *consentAdmin) ReleaseTemplate(ctx context.Context, in *sendgatev1.ReleaseTemplateRequest) (*sendgatev1.ReleaseTemplateResponse, error) {
	entry, err := a.change(ctx, "template_release", in.Reason, in.Author)
	if err != nil {
		return nil, err
	}
	book, err := a.templates(ctx)
	if err != nil {
		return nil, err
	}
	id, out := templateID(in.Template), new(sendgatev1.ReleaseTemplateResponse)
	if _, known := book.State(id); !known {
		return nil, &failure{code: codes.NotFound, reason: "TEMPLATE_UNKNOWN", message: "nobody told about this template: give its account, business account, name and language as sendgate consent templates lists them"}
	}
	entry.Account, entry.Values = id.Account, []string{id.Business, id.Name, id.Language}
	err = a.audit.around(entry, func() (err error) {
		out.Released, err = book.Release(ctx, entry.Time, id)
		return err
	})
	if err != nil {
		return nil, a.failed(err)
	}
	return out, nil
}

func templateID(t *sendgatev1.TemplateRef) template.ID {
	id := template.ID{Account: t.GetAccount(), Business: t.GetBusinessAccount(), Name: t.GetName(), Language: t.GetLanguage()}
	if id.Name == "" {
		id.Name = template.AgentName
	}
	return id
}

func toTemplate(book *template.Book, id template.ID) *sendgatev1.TemplateState {
	s, _ := book.State(id)
	out := &sendgatev1.TemplateState{Template: &sendgatev1.TemplateRef{Account: id.Account, BusinessAccount: id.Business, Name: id.Name, Language: id.Language},
		Status: string(s.Status), Category: string(s.Category), Quality: string(s.Quality), Pauses: int32(s.Pauses), Sent: int32(s.Sent)}
	if id.Name == template.AgentName {
		out.Template.Name = ""
	}
	for _, t := range []struct {
		from time.Time
		to   **timestamppb.Timestamp
	}{{s.Until, &out.Until}, {s.Held, &out.HeldSince}} {
		if !t.from.IsZero() {
			*t.to = timestamppb.New(t.from)
		}
	}
	return out
}
