package server

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/sendgate/sendgate/consent"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/phone"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	maxChunk = 1 << 20
	// exportChunk is how many bytes of an export are sent at a time.
	exportChunk = 64 << 10
)

// piece is one message of a file that is sent in pieces.
type piece interface {
	GetReason() string
	GetAuthor() string
	GetChunk() []byte
}

// pieces reads a file that comes in pieces. Its errors are failures.
type pieces struct {
	next func() (piece, error)
	left []byte
}

func (p *pieces) Read(b []byte) (int, error) {
	for len(p.left) == 0 {
		in, err := p.next()
		if err != nil {
			return 0, err // io.EOF where the caller has no more
		}
		if p.left = in.GetChunk(); len(p.left) > maxChunk {
			return 0, invalid("chunk", fmt.Sprintf("%d bytes: send at most %d at a time", len(p.left), maxChunk))
		}
	}
	n := copy(b, p.left)
	p.left = p.left[n:]
	return n, nil
}

// receive lets an operator in by the first piece, which says why.
func (a *consentAdmin) receive(ctx context.Context, what string, next func() (piece, error), do func(*consent.Ledger, io.Reader) error) error {
	first, err := next()
	if errors.Is(err, io.EOF) {
		return invalid("chunk", "nothing was sent: send a file")
	}
	if err != nil {
		return err
	}
	entry, err := a.change(ctx, what, first.GetReason(), first.GetAuthor())
	if err != nil {
		return err
	}
	l, err := a.ledger(ctx)
	if err != nil {
		return err
	}
	file := &pieces{next: next, left: first.GetChunk()}
	if len(file.left) > maxChunk {
		return invalid("chunk", fmt.Sprintf("%d bytes: send at most %d at a time", len(file.left), maxChunk))
	}
	err = a.audit.around(entry, func() error { return do(l, file) })
	var lines *consent.ImportError
	if errors.As(err, &lines) {
		return linesWrong(lines)
	}
	if err != nil {
		return a.failed(err)
	}
	return nil
}

// linesWrong names each line.
func linesWrong(e *consent.ImportError) *failure {
	f := &failure{code: codes.InvalidArgument, reason: "LINES_INVALID"}
	for _, l := range e.Lines {
		f.violations = append(f.violations, gate.Violation{Field: fmt.Sprintf("line %d", l.Line), Reason: "LINE_INVALID", Description: l.What})
	}
	f.message = fmt.Sprintf("nothing was imported: %d lines are wrong, the first is line %d: %s", len(e.Lines)+e.More, e.Lines[0].Line, e.Lines[0].What)
	return f
}

// ImportSuppressions reads opted-out numbers.
func (a *consentAdmin) ImportSuppressions(stream grpc.BidiStreamingServer[sendgatev1.ImportSuppressionsRequest, sendgatev1.ImportSuppressionsResponse]) error {
	next := func() (piece, error) { return stream.Recv() }
	tell := func(i consent.Imported, done bool) error {
		return stream.Send(&sendgatev1.ImportSuppressionsResponse{Read: int64(i.Read), Added: int64(i.Added), Known: int64(i.Known), Done: done})
	}
	var done consent.Imported
	err := a.receive(stream.Context(), "import_suppressions", next, func(l *consent.Ledger, file io.Reader) (err error) {
		done, err = l.Import(stream.Context(), a.gate.Now(), file, consent.ImportOptions{Accepts: a.gate.Accepts,
			Told: func(i consent.Imported) { _ = tell(i, false) }}) // who hears nothing has gone, and the context says so
		return err
	})
	if err != nil {
		return err
	}
	return tell(done, true)
}

// ExportSuppressions writes who is out.
func (a *consentAdmin) ExportSuppressions(_ *sendgatev1.ExportSuppressionsRequest, stream grpc.ServerStreamingServer[sendgatev1.ExportSuppressionsResponse]) error {
	l, err := a.ledger(stream.Context())
	if err != nil {
		return err
	}
	out := &chunked{send: func(b []byte) error { return stream.Send(&sendgatev1.ExportSuppressionsResponse{Chunk: b}) }}
	if err := l.Export(stream.Context(), out); err != nil {
		return a.failed(err)
	}
	return out.flush()
}

// chunked sends what is written in pieces.
type chunked struct {
	send func([]byte) error
	kept []byte
}

func (c *chunked) Write(b []byte) (int, error) {
	if c.kept = append(c.kept, b...); len(c.kept) < exportChunk {
		return len(b), nil
	}
	return len(b), c.flush()
}

func (c *chunked) flush() error {
	if len(c.kept) == 0 {
		return nil
	}
	err := c.send(c.kept)
	c.kept = nil // a message may still be on its way when Send returns
	return err
}

// Reseal moves numbers to the newest secret.
func (a *consentAdmin) Reseal(stream grpc.ClientStreamingServer[sendgatev1.ResealRequest, sendgatev1.ResealResponse]) error {
	next := func() (piece, error) { return stream.Recv() }
	out := new(sendgatev1.ResealResponse)
	err := a.receive(stream.Context(), "reseal", next, func(l *consent.Ledger, file io.Reader) error {
		in := csv.NewReader(file)
		in.ReuseRecord = true
		head, err := in.Read()
		column := slices.Index(head, "number")
		if err != nil || column < 0 {
			return &consent.ImportError{Lines: []consent.LineError{{Line: 1, What: "name one column number"}}}
		}
		for {
			fields, err := in.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			var broken *csv.ParseError
			if errors.As(err, &broken) {
				return &consent.ImportError{Lines: []consent.LineError{{Line: broken.Line, What: broken.Err.Error()}}}
			}
			if err != nil {
				return err
			}
			n, err := phone.Parse(strings.TrimSpace(fields[column]), a.gate.Policy().Numbers.DefaultRegion)
			if err != nil {
				line, _ := in.FieldPos(column)
				return &consent.ImportError{Lines: []consent.LineError{{Line: line, What: err.Error()}}}
			}
			if err := l.Reseal(stream.Context(), n); err != nil {
				return err
			}
			out.Read++
		}
		report, err := l.Report(stream.Context())
		for _, s := range report.Secrets[min(1, len(report.Secrets)):] {
			out.Left += int64(s.Records)
		}
		return err
	})
	if err != nil {
		return err
	}
	return stream.SendAndClose(out)
}
