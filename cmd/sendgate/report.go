package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type reportCommand struct {
	operatorFlags
	Rule  string        `arg:"" optional:"" help:"Only this rule, with its candidates. Default: all."`
	Since time.Duration `help:"Only checks of the last so long, to the full hour, at most 14 days. Default: all that was counted." placeholder:"TIME"`
	JSON  bool          `name:"json" help:"Print the answer as JSON, with hours, countries and accounts."`
}

// Help is what `sendgate policy report --help` says below its first line.
func (reportCommand) Help() string {
	return `Rules with mode: shadow, candidates, and detectors in shadow stop nothing. This tells what they would have stopped, what that cost, and how much of it was verified later: those are people who would have been hurt. See docs/operations.md.`
}

func (c *reportCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		in := &sendgatev1.ShadowReportRequest{Rule: c.Rule}
		if c.Since != 0 {
			in.Since = durationpb.New(c.Since)
		}
		out, err := sendgatev1.NewReportServiceClient(conn).ShadowReport(ctx, in)
		if err != nil {
			return err
		}
		if c.JSON {
			return printJSON(s.out, out)
		}
		return printShadowReport(s.out, out, c.Rule != "")
	})
}

func printShadowReport(out io.Writer, r *sendgatev1.ShadowReportResponse, whole bool) error {
	if len(r.Rules) == 0 {
		_, err := fmt.Fprintln(out, "nothing is in shadow, and nothing was: give a limit candidates: [{limit: N}], or a rule or detector mode: shadow")
		return err
	}
	since := "nothing was judged yet"
	if r.Since != nil {
		since = "checks since " + r.Since.AsTime().Format("2006-01-02 15:04Z")
	}
	fmt.Fprintln(out, since)
	if r.Feedback != "reporting" {
		fmt.Fprintln(out, "nobody reports that codes are entered: VERIFIED says nothing yet")
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RULE\tMODE\tJUDGED\tWOULD STOP\tCOST\tVERIFIED LATER\tWOULD FREE")
	for _, rule := range r.Rules {
		t := rule.Total
		stopped := t.Denied + t.Challenged
		verified, freed := "-", "-"
		if rule.Mode != "enforce" {
			verified = fmt.Sprintf("%d (%s)", t.Verified, percentOf(t.Verified, stopped))
		}
		if rule.Mode == "candidate" {
			freed = fmt.Sprint(t.Freed)
		}
		name := rule.Rule
		if rule.CandidateOf != "" {
			name = "  " + name
		}
		mode := rule.Mode
		if mode == "enforce" {
			mode = "enforce (did stop)"
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d (%s)\t%s\t%s\t%s\n", name, mode, t.Judged, stopped, percentOf(stopped, t.Judged), amount(t.Money, r.Currency), verified, freed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, rule := range r.Rules {
		if sentence := inWords(rule, r.Currency); sentence != "" {
			fmt.Fprintln(out, "\n"+sentence)
		}
		if whole {
			printGroups(out, "country", rule.Countries, r.Currency)
			printGroups(out, "account", rule.Accounts, r.Currency)
		}
	}
	if r.Forgotten > 0 {
		fmt.Fprintf(out, "\n%d rules found no room in the report\n", r.Forgotten)
	}
	return nil
}

// inWords is what a rule would have done, in a sentence.
func inWords(rule *sendgatev1.ShadowRule, currency string) string {
	t := rule.Total
	stopped := t.Denied + t.Challenged
	if rule.Mode == "enforce" || stopped+t.Freed == 0 {
		return ""
	}
	text := fmt.Sprintf("%s would have stopped %d sends", rule.Rule, stopped)
	if stopped == 1 {
		text = strings.TrimSuffix(text, "s")
	}
	if currency != "" {
		text += ", " + amount(t.Money, currency)
	}
	text += fmt.Sprintf("; %d of those were later verified (%s)", t.Verified, percentOf(t.Verified, stopped))
	if t.Freed > 0 {
		text += fmt.Sprintf("; it would have let %d pass that %s stopped", t.Freed, rule.CandidateOf)
	}
	return text
}

func printGroups(out io.Writer, what string, all []*sendgatev1.ShadowGroup, currency string) {
	for _, g := range all {
		t := g.Tally
		if stopped := t.Denied + t.Challenged; stopped > 0 {
			fmt.Fprintf(out, "  %s %s: %d, %s, %d verified\n", what, g.Name, stopped, amount(t.Money, currency), t.Verified)
		}
	}
}

func percentOf(part, of int64) string {
	if of == 0 {
		return "0 %"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(of))
}

// amount is money in words: "USD 61.20".
func amount(micros int64, currency string) string {
	if currency == "" {
		return "-"
	}
	return fmt.Sprintf("%s %.2f", currency, float64(micros)/1e6)
}
