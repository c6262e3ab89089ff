package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

func timestampOf(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// operate asks the operators' service.
func (o *operatorFlags) operate(do func(context.Context, sendgatev1.ConsentAdminServiceClient) error) error {
	return o.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		return do(ctx, sendgatev1.NewConsentAdminServiceClient(conn))
	})
}

// numberFlags are a number of which an operator changes something.
type numberFlags struct {
	operatorFlags
	becauseFlags
	Number  string `arg:"" help:"The person, such as +6581234567."`
	Account string `help:"Whose messages. Default: everybody's." env:"SENDGATE_ACCOUNT"`
	Sender  string `help:"Whose messages of the account. Default: every sender's."`
}

type outCommand struct{ numberFlags }

func (c *outCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.OptOut(ctx, &sendgatev1.OptOutRequest{Number: c.Number, Account: c.Account, Sender: c.Sender, Reason: c.Reason, Author: c.author()})
		return changed(s, err, out.GetChanged(), "out", "was out already")
	})
}

type inCommand struct{ numberFlags }

func (c *inCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.OptIn(ctx, &sendgatev1.OptInRequest{Number: c.Number, Account: c.Account, Sender: c.Sender, Reason: c.Reason, Author: c.author()})
		return changed(s, err, out.GetChanged(), "back", "was not out")
	})
}

func changed(s *streams, err error, yes bool, did, didNot string) error {
	if err != nil {
		return err
	}
	if !yes {
		did = didNot
	}
	_, err = fmt.Fprintln(s.out, did)
	return err
}

type recycleCommand struct {
	operatorFlags
	becauseFlags
	Number string    `arg:"" help:"The number, such as +6581234567."`
	Since  time.Time `help:"Since when it has another owner (RFC 3339). Default: now." placeholder:"TIME"`
}

func (c *recycleCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.Recycle(ctx, &sendgatev1.RecycleRequest{Number: c.Number, Since: timestampOf(c.Since), Reason: c.Reason, Author: c.author()})
		if err == nil {
			fmt.Fprintf(s.out, "%d consents of the former owner ended\n", out.Ended)
		}
		return err
	})
}

// fileFlags are a CSV file that goes to a sidecar.
type fileFlags struct {
	operatorFlags
	becauseFlags
	File string `arg:"" help:"CSV file; - reads standard input."`
}

// send sends the file in pieces. An error of the other end is told by who receives.
func (f *fileFlags) send(piece func(reason, author string, chunk []byte) error) error {
	in, size := io.Reader(os.Stdin), 256<<10
	if f.File != "-" {
		file, err := os.Open(f.File)
		if err != nil {
			return fmt.Errorf("%s: %w", f.File, reason(err))
		}
		defer file.Close()
		in = file
	}
	why, who := f.Reason, f.author()
	for {
		chunk := make([]byte, size)
		n, err := io.ReadFull(in, chunk)
		if n > 0 {
			if err := piece(why, who, chunk[:n]); err != nil {
				return nil
			}
			why, who = "", ""
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", f.File, reason(err))
		}
	}
}

// long gives a file its time.
func (f *fileFlags) long() { f.Timeout = max(f.Timeout, 6*time.Hour) }

type importCommand struct{ fileFlags }

// Help is what `sendgate consent import --help` says below its first line.
func (importCommand) Help() string {
	return `The first line names the columns: number (E.164), and if wanted account, sender and since (RFC 3339):

  number,account
  +6581234567,acme

All of the file is taken or nothing. Lines that are wrong are named.`
}

func (c *importCommand) Run(s *streams) error {
	c.long()
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		stream, err := admin.ImportSuppressions(ctx)
		if err != nil {
			return err
		}
		sent := make(chan error, 1)
		go func() {
			sent <- c.send(func(reason, author string, chunk []byte) error {
				return stream.Send(&sendgatev1.ImportSuppressionsRequest{Reason: reason, Author: author, Chunk: chunk})
			})
			_ = stream.CloseSend()
		}()
		bar := newProgress(s.err, false, 0, func() int64 { return 0 })
		for {
			out, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return errors.Join(<-sent, errNoAnswer)
			}
			if err != nil {
				return linesOf(s.err, err)
			}
			if bar.lines(int(out.Read)); out.Done {
				fmt.Fprintf(s.out, "%d rows: %d added, %d were out already\n", out.Read, out.Added, out.Known)
				return <-sent
			}
		}
	})
}

// linesOf prints each line that is wrong.
func linesOf(w io.Writer, err error) error {
	for _, d := range status.Convert(err).Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			for _, v := range bad.FieldViolations {
				fmt.Fprintf(w, "%s: %s\n", v.Field, v.Description)
			}
		}
	}
	return err
}

type exportCommand struct {
	operatorFlags
	Out string `help:"Where to write (standard output)." placeholder:"FILE"`
}

func (c *exportCommand) Run(s *streams) error {
	c.Timeout = max(c.Timeout, 6*time.Hour)
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		stream, err := admin.ExportSuppressions(ctx, &sendgatev1.ExportSuppressionsRequest{})
		if err != nil {
			return err
		}
		to := s.out
		if c.Out != "" {
			file, err := os.OpenFile(c.Out, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return fmt.Errorf("--out %s: %w", c.Out, reason(err))
			}
			defer file.Close()
			to = file
		}
		for {
			piece, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if _, err := to.Write(piece.Chunk); err != nil {
				return err
			}
		}
	})
}

type historyCommand struct {
	operatorFlags
	Number string `arg:"" help:"The person, such as +6581234567."`
	JSON   bool   `name:"json" help:"Print the evidence as JSON."`
}

func (c *historyCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.History(ctx, &sendgatev1.HistoryRequest{Number: c.Number})
		if err != nil {
			return err
		}
		if c.JSON {
			_, err = s.out.Write(out.Evidence)
			return err
		}
		fmt.Fprintf(s.out, "subject %s\n", out.Subject)
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tEVENT\tACCOUNT\tSENDER\tPURPOSES\tCHANNELS\tSOURCE\tTEXT")
		for _, r := range out.Records {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.At.AsTime().Format(time.RFC3339), r.Event, r.Account, r.Sender, strings.Join(r.Purposes, ","), strings.Join(r.Channels, ","), r.Source, r.Text)
		}
		return w.Flush()
	})
}

type dueCommand struct {
	operatorFlags
	At time.Time `help:"Due at this time (RFC 3339), which may lie ahead. Default: now." placeholder:"TIME"`
}

func (c *dueCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		stream, err := admin.Due(ctx, &sendgatev1.DueRequest{At: timestampOf(c.At)})
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SUBJECT\tACCOUNT\tSENDER\tPURPOSE\tCHANNEL\tSINCE\tDUE")
		for {
			d, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return w.Flush()
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Subject, d.Account, d.Sender, d.Purpose, d.Channel, d.Since.AsTime().Format(time.DateOnly), d.DueAt.AsTime().Format(time.DateOnly))
		}
	})
}

type templatesCommand struct {
	operatorFlags
	Account string `help:"Only those of this account."`
}

func (c *templatesCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.Templates(ctx, &sendgatev1.TemplatesRequest{Account: c.Account})
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ACCOUNT\tBUSINESS\tNAME\tLANGUAGE\tSTATUS\tCATEGORY\tQUALITY\tUNTIL")
		for _, t := range out.Templates {
			name, until := t.Template.Name, ""
			if name == "" {
				name = "(RCS agent)"
			}
			if t.Until != nil {
				until = t.Until.AsTime().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.Template.Account, t.Template.BusinessAccount, name, t.Template.Language, t.Status, t.Category, t.Quality, until)
		}
		return w.Flush()
	})
}

type releaseCommand struct {
	operatorFlags
	becauseFlags
	Account  string `help:"The account." env:"SENDGATE_ACCOUNT"`
	Business string `help:"The platform's account."`
	Name     string `arg:"" help:"The template."`
	Language string `arg:"" help:"Its language, such as en_US."`
}

func (c *releaseCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.ReleaseTemplate(ctx, &sendgatev1.ReleaseTemplateRequest{Reason: c.Reason, Author: c.author(),
			Template: &sendgatev1.TemplateRef{Account: c.Account, BusinessAccount: c.Business, Name: c.Name, Language: c.Language}})
		return changed(s, err, out.GetReleased(), "released", "nothing held it")
	})
}
