package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type checkCommand struct {
	dialFlags
	Number     string `help:"The destination, such as +6581234567." required:"" placeholder:"NUMBER"`
	ClientIP   string `name:"client-ip" help:"The end user's address." placeholder:"IP"`
	Account    string `help:"Who pays." env:"SENDGATE_ACCOUNT"`
	Subaccount string `help:"A part of the account."`
	Purpose    string `help:"otp, transactional or marketing (${default})." enum:"otp,transactional,marketing" default:"otp"`
	Endpoint   string `help:"The entry point that asks."`
	Channel    string `help:"sms, voice, whatsapp, ... (${default})." default:"sms"`
	Sender     string `help:"What the person will see as the writer."`
	Template   string `help:"The message template that it is sent with." placeholder:"NAME"`
	Language   string `help:"The language of the template, such as en_US."`
	Cost       int64  `help:"Units to charge, such as message segments (${default})." default:"1" placeholder:"N"`
	JSON       bool   `name:"json" help:"Print the answer as JSON."`
}

func (c *checkCommand) Run(s *streams) error {
	var answer *sendgatev1.CheckSendResponse
	err := c.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = sendgatev1.NewSendGateServiceClient(conn).CheckSend(ctx, c.request())
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(s.out, answer)
	} else {
		err = printAnswer(s.out, answer)
	}
	if err != nil {
		return err
	}
	switch answer.Verdict {
	case sendgatev1.Verdict_VERDICT_ALLOW:
		return nil
	case sendgatev1.Verdict_VERDICT_DENY:
		return exitCode(3)
	case sendgatev1.Verdict_VERDICT_CHALLENGE:
		return exitCode(4)
	}
	return errors.New("the answer holds no verdict: is this a sendgate?")
}

func (c *checkCommand) request() *sendgatev1.CheckSendRequest {
	purpose := sendgatev1.Purpose(sendgatev1.Purpose_value["PURPOSE_"+strings.ToUpper(c.Purpose)])
	return &sendgatev1.CheckSendRequest{
		Number: c.Number, ClientAddress: c.ClientIP, Account: c.Account, Subaccount: c.Subaccount, Endpoint: c.Endpoint,
		Channel: c.Channel, Purpose: purpose, Cost: &c.Cost, Sender: c.Sender, Template: c.template(),
	}
}

func (c *checkCommand) template() *sendgatev1.MessageTemplate {
	if c.Template == "" {
		return nil
	}
	return &sendgatev1.MessageTemplate{Name: c.Template, Language: c.Language}
}

func printJSON(w io.Writer, answer proto.Message) error {
	body, err := protojson.Marshal(answer)
	if err != nil {
		return err
	}
	var plain any // protojson puts in spaces at random
	if err := json.Unmarshal(body, &plain); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(plain)
}

func printAnswer(w io.Writer, answer *sendgatev1.CheckSendResponse) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("verdict", "%s", strings.TrimPrefix(answer.Verdict.String(), "VERDICT_"))
	if answer.Reason != "" {
		line("reason", "%s", answer.Reason)
	}
	if answer.Rule != "" {
		line("rule", "%s: %d of %d left in %s", answer.Rule, answer.Remaining, answer.Limit, answer.Window.AsDuration())
	}
	if answer.RetryAfter != nil {
		line("retry after", "%s", answer.RetryAfter.AsDuration().Round(time.Millisecond))
	}
	for _, s := range answer.Signals {
		line("signal", "%s on %s: %.1f of %.1f", s.Kind, s.Subject, s.Statistic, s.Threshold)
	}
	for _, r := range answer.Shadow {
		line("shadow", "%s would say %s", r.Rule, strings.TrimPrefix(r.Verdict.String(), "VERDICT_"))
	}
	if len(answer.SkippedRules) > 0 {
		line("not counted", "%s", strings.Join(answer.SkippedRules, ", "))
	}
	line("check id", "%s", answer.CheckId)
	_, err := io.WriteString(w, b.String())
	return err
}
