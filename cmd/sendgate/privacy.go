package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type privacyCommand struct {
	Report privacyReportCommand `cmd:"" help:"What is kept of people, in which store, and for how long."`
	Forget forgetCommand        `cmd:"" help:"Remove what all stores hold of a number, and print what stays, why and until when."`
	Reseal resealCommand        `cmd:"" help:"Move what is known of numbers to the newest secret, so that an old one can be dropped."`
}

type privacyReportCommand struct {
	operatorFlags
	JSON bool `name:"json" help:"Print it as JSON."`
}

func (c *privacyReportCommand) Run(s *streams) error {
	c.Timeout = max(c.Timeout, 10*time.Minute) // it reads every record
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.PrivacyReport(ctx, &sendgatev1.PrivacyReportRequest{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, out)
		}
		region := out.Region
		if region == "" {
			region = "not said (--region)"
		}
		fmt.Fprintf(s.out, "region   %s\n", region)
		if len(out.RefusedAccounts) > 0 {
			fmt.Fprintf(s.out, "refused  %s: bound to another region\n", strings.Join(out.RefusedAccounts, ", "))
		}
		for i, secret := range out.Secrets {
			age := "newest"
			if i > 0 {
				age = "old"
			}
			fmt.Fprintf(s.out, "secret   %s (%s) seals %d records\n", secret.Secret, age, secret.Records)
		}
		fmt.Fprintln(s.out)
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "STORE\tKIND\tRECORDS\tOLDEST\tKEPT\tHOLDS")
		for _, r := range out.Stores {
			records, oldest := "", ""
			if r.Records != nil {
				records = fmt.Sprint(r.GetRecords())
			}
			if r.Oldest != nil {
				oldest = r.Oldest.AsTime().Format(time.DateOnly)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Store, r.Kind, records, oldest, r.Kept, r.Holds)
		}
		return w.Flush()
	})
}

type forgetCommand struct {
	operatorFlags
	becauseFlags
	Number string `arg:"" help:"Who is to be forgotten, such as +6581234567."`
	JSON   bool   `name:"json" help:"Print it as JSON."`
}

func (c *forgetCommand) Run(s *streams) error {
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		out, err := admin.Forget(ctx, &sendgatev1.ForgetRequest{Number: c.Number, Reason: c.Reason, Author: c.author()})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, out)
		}
		for _, kind := range slices.Sorted(maps.Keys(out.Removed)) {
			fmt.Fprintf(s.out, "removed  %-16s %d\n", kind, out.Removed[kind])
		}
		for _, k := range out.Kept {
			until := "until somebody ends it"
			if k.Until != nil {
				until = "until " + k.Until.AsTime().Format(time.DateOnly)
			}
			fmt.Fprintf(s.out, "stays    %-16s %s: %s\n", k.Kind, until, k.Basis)
		}
		return nil
	})
}

type resealCommand struct{ fileFlags }

func (c *resealCommand) Run(s *streams) error {
	c.long()
	return c.operate(func(ctx context.Context, admin sendgatev1.ConsentAdminServiceClient) error {
		stream, err := admin.Reseal(ctx)
		if err != nil {
			return err
		}
		if err := c.send(func(reason, author string, chunk []byte) error {
			return stream.Send(&sendgatev1.ResealRequest{Reason: reason, Author: author, Chunk: chunk})
		}); err != nil {
			return err
		}
		out, err := stream.CloseAndRecv()
		if err != nil {
			return linesOf(s.err, err)
		}
		fmt.Fprintf(s.out, "%d numbers; old secrets still seal %d records\n", out.Read, out.Left)
		return nil
	})
}
