package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/limiter"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
	"github.com/sendgate/sendgate/server"
)

type explainCommand struct {
	operatorFlags
	File       string `arg:"" optional:"" help:"A policy file: says what it would do to the first send of an empty gate. Default: ask a running sidecar."`
	Number     string `help:"The destination, such as +6581234567." required:"" placeholder:"NUMBER"`
	ClientIP   string `name:"client-ip" help:"The end user's address." placeholder:"IP"`
	Account    string `help:"Who pays." env:"SENDGATE_ACCOUNT"`
	Subaccount string `help:"A part of the account."`
	Purpose    string `help:"otp, transactional or marketing (${default})." enum:"otp,transactional,marketing" default:"otp"`
	Endpoint   string `help:"The entry point that asks."`
	Channel    string `help:"sms, voice, whatsapp, ... (${default})." default:"sms"`
	Sender     string `help:"What the person sees as the writer."`
	Cost       int64  `help:"Units to charge (${default})." default:"1" placeholder:"N"`
	Passed     bool   `name:"challenge-passed" help:"The user has just passed a challenge."`
	Prices     string `help:"With a policy file: CSV file of prices, for its budgets." placeholder:"FILE" env:"SENDGATE_PRICES"`
	JSON       bool   `name:"json" help:"Print the answer as JSON."`
}

func (c *explainCommand) Run(s *streams) error {
	out, err := c.explain()
	switch {
	case err != nil:
		return err
	case c.JSON:
		return printJSON(s.out, out)
	}
	return printExplanation(s.out, out)
}

func (c *explainCommand) explain() (out *sendgatev1.ExplainSendResponse, err error) {
	if c.File != "" {
		return c.offline()
	}
	check := &checkCommand{Number: c.Number, ClientIP: c.ClientIP, Account: c.Account, Subaccount: c.Subaccount, Purpose: c.Purpose,
		Endpoint: c.Endpoint, Channel: c.Channel, Cost: c.Cost}
	err = c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		in := check.request()
		in.Sender, in.ChallengePassed = c.Sender, c.Passed
		out, err = sendgatev1.NewAdminServiceClient(conn).ExplainSend(ctx, &sendgatev1.ExplainSendRequest{Check: in})
		return err
	})
	return out, err
}

// offline asks a gate that has seen nothing yet.
func (c *explainCommand) offline() (*sendgatev1.ExplainSendResponse, error) {
	p, err := readPolicy(c.File)
	if err != nil {
		return nil, err
	}
	table, err := readPrices(c.Prices)
	if err != nil {
		return nil, err
	}
	store, err := limiter.Open(limiter.Options{Size: 4 << 20})
	if err != nil {
		return nil, err
	}
	defer store.Close()
	engine, err := detect.New(detect.Options{Size: detect.MinSize})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	ctx := context.Background()
	g, err := gate.New(ctx, gate.Options{Policy: p, Store: store, Detect: engine, Prices: table, Clock: time.Now})
	if err != nil {
		return nil, err
	}
	defer g.Close()
	e, err := g.Explain(ctx, &gate.Request{Number: c.Number, ClientAddress: c.ClientIP, Account: c.Account, Subaccount: c.Subaccount,
		Endpoint: c.Endpoint, Channel: c.Channel, Purpose: c.Purpose, Sender: c.Sender, Cost: c.Cost, ChallengePassed: c.Passed})
	var invalid *gate.InvalidError
	switch {
	case errors.As(err, &invalid):
		return nil, fmt.Errorf("%s: %w", c.File, err)
	case err != nil:
		return nil, err
	}
	return server.ToExplanation(e), nil
}

func printExplanation(out io.Writer, e *sendgatev1.ExplainSendResponse) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	printExplainedSend(w, e)
	fmt.Fprintln(w, "\nASKED\tSAYS\tWHY")
	for _, s := range e.Steps {
		fmt.Fprintf(w, "%s\t%s\t%s\n", strings.ReplaceAll(s.Name, "_", " "), s.Result, s.Detail)
	}
	printExplainedRules(w, e.Rules)
	if len(e.Lists) > 0 {
		fmt.Fprintln(w, "\nLIST\tENTRY\tSOURCE\tAUTHOR\tUNTIL\tREASON")
		for _, l := range e.Lists {
			until := "for ever"
			if l.ExpiresAt != nil {
				until = l.ExpiresAt.AsTime().Format(time.RFC3339)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.List, l.Value, strings.ReplaceAll(l.Source, "_", " "), l.Author, until, l.Reason)
		}
	}
	printExplainedDetection(w, e.Detection)
	return w.Flush()
}

func printExplainedSend(w io.Writer, e *sendgatev1.ExplainSendResponse) {
	s, a := e.Send, e.Answer
	line := func(name string, parts ...string) {
		fmt.Fprintf(w, "%s\t%s\n", name, strings.Join(parts, ", "))
	}
	about := []string{s.Number, strings.ReplaceAll(s.NumberType, "_", " ") + " of " + orDash(s.Country), s.Purpose, s.Channel}
	if !s.Valid {
		about[1] = "no number that a plan has, of " + orDash(s.Country)
	}
	for _, x := range [...][2]string{{"client ", s.ClientAddress}, {"account ", s.Account}, {"subaccount ", s.Subaccount}, {"endpoint ", s.Endpoint}} {
		if x[1] != "" {
			about = append(about, x[0]+x[1])
		}
	}
	if s.KnownGood {
		about = append(about, "known good")
	}
	if s.ChallengePassed {
		about = append(about, "challenge passed")
	}
	if s.Currency != "" {
		about = append(about, "costs "+money(s.Price, s.Currency))
	}
	line("send", about...)
	answer := []string{strings.TrimPrefix(a.Verdict.String(), "VERDICT_")}
	if a.Reason != "" {
		answer = append(answer, a.Reason)
	}
	if a.RetryAfter != nil {
		answer = append(answer, "fits in "+rounded(a.RetryAfter.AsDuration()))
	}
	line("answer", answer...)
	line("policy", "version "+a.PolicyVersion, "at "+e.At.AsTime().Format(time.RFC3339))
	for _, sh := range a.Shadow {
		line("shadow", sh.Rule+" would say "+strings.TrimPrefix(sh.Verdict.String(), "VERDICT_"))
	}
}

func printExplainedRules(w io.Writer, rules []*sendgatev1.ExplainedRule) {
	title := "\nRULE\tHOLDS\tOF\tIN\tLEFT\tFITS\tSAYS\tCOUNTS BY\tWHY"
	for _, r := range rules {
		if !r.Applies {
			continue
		}
		if title != "" {
			fmt.Fprintln(w, title)
			title = ""
		}
		mark, fits, window, of, left, holds := "  ", "now", "-", "-", "-", strconv.FormatInt(r.Held, 10)
		if r.Decides {
			mark = "> "
		}
		if r.RetryAfter != nil {
			fits = "in " + rounded(r.RetryAfter.AsDuration())
		} else if r.Verdict != sendgatev1.Verdict_VERDICT_ALLOW {
			fits = "never"
		}
		if r.Window != nil {
			window, of, left = rounded(r.Window.AsDuration()), units(r.Limit, r.Currency), units(r.Remaining, r.Currency)
			holds = units(r.Held, r.Currency)
		}
		says := strings.TrimPrefix(r.Verdict.String(), "VERDICT_")
		if r.Mode == "shadow" {
			says += " (shadow)"
		}
		fmt.Fprintf(w, "%s%s %s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", mark, r.Kind, nameOf(r), holds, of, window, left, fits, says, r.Key, r.Why)
	}
	title = "\nRULE THAT DOES NOT APPLY\tWHY NOT"
	for _, r := range rules {
		if r.Applies {
			continue
		}
		if title != "" {
			fmt.Fprintln(w, title)
			title = ""
		}
		fmt.Fprintf(w, "  %s %s\t%s\n", r.Kind, nameOf(r), r.Why)
	}
}

func printExplainedDetection(w io.Writer, d *sendgatev1.ExplainedDetection) {
	if d == nil {
		return
	}
	looks := "does not look at this send"
	if d.Looks {
		looks = "advises " + d.Advice
	}
	if d.Silent {
		looks += "; nobody reports that codes of this account are entered, so it stops nothing by what it sees"
	}
	fmt.Fprintf(w, "\ndetection\tlevel %s, %s\n", d.Level, looks)
	for _, s := range d.Signals {
		fmt.Fprintf(w, "signal\t%s on %s: %.1f of %.1f\n", s.Kind, s.Subject, s.Statistic, s.Threshold)
	}
	if len(d.Evidence) == 0 {
		return
	}
	fmt.Fprintln(w, "\nEVIDENCE ABOUT\tSUBJECT\tSTATISTIC\tTRIPS AT\tSESSIONS\tVERIFIED\tBLOCKED UNTIL\tDETAIL")
	for _, x := range d.Evidence {
		until := "-"
		if x.BlockedUntil != nil {
			until = x.BlockedUntil.AsTime().Format(time.RFC3339) + " by " + x.Kind
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%d\t%d\t%s\t%s\n", strings.ReplaceAll(x.Scope, "_", " "), x.Subject, x.Statistic, x.Threshold, x.Sessions, x.Verified, until, x.Detail)
	}
}

func nameOf(r *sendgatev1.ExplainedRule) string {
	if r.Account != "" {
		return r.Rule + " of " + r.Account
	}
	return r.Rule
}

// units is money where there is a currency, else units.
func units(n int64, currency string) string {
	if currency == "" {
		return strconv.FormatInt(n, 10)
	}
	return money(n, currency)
}

func money(micros int64, currency string) string {
	return fmt.Sprintf("%.4f %s", float64(micros)/1e6, currency)
}

func orDash(country string) string {
	if country == "" {
		return "no country"
	}
	return country
}

// rounded is a duration as people read it: 59m3s, never 59m3.123456789s.
func rounded(d time.Duration) string {
	if d >= time.Minute {
		d = d.Round(time.Second)
	} else {
		d = d.Round(time.Millisecond)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
