package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type detectCommand struct {
	Status  detectStatusCommand  `cmd:"" help:"What detection of a running sidecar is calibrated on, and how full its tables are."`
	Blocks  detectBlocksCommand  `cmd:"" help:"What is stopped now."`
	Release detectReleaseCommand `cmd:"" help:"End a block and forget the evidence that made it."`
	Watch   detectWatchCommand   `cmd:"" help:"Print alerts as they are raised, until interrupted."`
}

type detectStatusCommand struct {
	operatorFlags
	JSON bool `name:"json" help:"Print the answer as JSON."`
}

func (c *detectStatusCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewDetectionServiceClient(conn).DetectionStatus(ctx, &sendgatev1.DetectionStatusRequest{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, out)
		}
		return printDetection(s.out, out)
	})
}

func printDetection(out io.Writer, st *sendgatev1.DetectionStatusResponse) error {
	feedback := map[string]string{
		"reporting": "codes that are entered are reported",
		"unknown":   "no code that was entered was reported yet: what is seen is told, and stops nothing",
		"silent":    "nobody reports that codes are entered: what is seen is told, and stops nothing",
	}[st.Feedback]
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "level\t%s\nfeedback\t%s: %s\nblocks in force\t%d\nalerts\t%d\nmemory\t%s\nsessions lost\t%d\n\n", st.Level, st.Feedback, feedback, st.Blocks, st.Alerts,
		size(st.Bytes), st.SessionsLost)
	fmt.Fprintln(w, "DETECTOR\tMODE\tCOUNTS BY\tDOES")
	for _, d := range st.Detectors {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Kind, d.Mode, d.Keys, d.Action)
	}
	fmt.Fprintln(w, "\nCOUNTRY\tSESSIONS\tVERIFIED\tA DAY\tBASELINE\tEXPECTED NOW\tSTATE")
	for _, c := range st.Countries {
		state := "learning: ranges are challenged, not denied"
		switch {
		case c.TurnedDown:
			state = "turned down: too much honest traffic would be denied"
		case c.Mature:
			state = "calibrated"
		}
		fmt.Fprintf(w, "%s\t%d\t%.0f\t%.0f\t%.0f %%\t%.0f %%\t%s\n", c.Country, c.Sessions, c.Verified, c.PerDay, 100*c.Baseline, 100*c.Expected, state)
	}
	fmt.Fprintln(w, "\nTABLE\tUSED\tOF\tMADE ROOM\tREFUSED")
	for _, t := range st.Tables {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", t.Name, t.Used, t.Capacity, t.Evicted, t.Refused)
	}
	return w.Flush()
}

type detectBlocksCommand struct {
	operatorFlags
	JSON bool `name:"json" help:"Print the answer as JSON."`
}

func (c *detectBlocksCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewDetectionServiceClient(conn).ListBlocks(ctx, &sendgatev1.ListBlocksRequest{})
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, out)
		}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "ID\tKIND\tSUBJECT\tSINCE\tUNTIL\tSTOPPED\tTIMES")
		for _, b := range out.Blocks {
			shadow := ""
			if b.Shadow {
				shadow = " (shadow)"
			}
			fmt.Fprintf(w, "%d\t%s\t%s%s\t%s\t%s\t%d\t%d\n", b.Id, b.Signal.Kind, b.Signal.Subject, shadow,
				b.Since.AsTime().Format(time.DateTime), b.Until.AsTime().Format(time.DateTime), b.Stopped, b.Level)
		}
		return w.Flush()
	})
}

type detectReleaseCommand struct {
	operatorFlags
	becauseFlags
	ID uint64 `arg:"" help:"From sendgate detect blocks." placeholder:"ID"`
}

func (c *detectReleaseCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		_, err := sendgatev1.NewDetectionServiceClient(conn).ReleaseBlock(ctx, &sendgatev1.ReleaseBlockRequest{Id: c.ID, Reason: c.Reason, Author: c.author()})
		if err == nil {
			_, err = fmt.Fprintf(s.out, "released %d\n", c.ID)
		}
		return err
	})
}

type detectWatchCommand struct {
	operatorFlags
	After uint64 `help:"Only alerts after this sequence; 0 begins with the oldest that is kept (${default})." placeholder:"N" default:"0"`
	JSON  bool   `name:"json" help:"Print one JSON object a line."`
}

func (c *detectWatchCommand) Run(s *streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c.Timeout = 365 * 24 * time.Hour // it goes on until it is ended
	return c.ask(func(asked context.Context, conn *grpc.ClientConn) error {
		asked, cancel := context.WithCancel(asked)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		watch, err := sendgatev1.NewDetectionServiceClient(conn).WatchAlerts(asked, &sendgatev1.WatchAlertsRequest{After: c.After})
		for err == nil {
			var a *sendgatev1.WatchAlertsResponse
			if a, err = watch.Recv(); err != nil {
				break
			}
			if c.JSON {
				err = printJSON(s.out, a)
			} else {
				_, err = fmt.Fprintf(s.out, "%d  %s  %s\n", a.Sequence, a.At.AsTime().Format(time.RFC3339), strings.TrimSpace(a.Text))
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		return err
	})
}
