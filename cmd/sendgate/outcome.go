package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type outcomeCommand struct {
	dialFlags
	CheckID string `arg:"" help:"The check id of the answer that allowed the send."`
	Outcome string `arg:"" help:"sent, not_sent, delivered, undelivered, verified, failed, expired or verified_other_way." enum:"sent,not_sent,delivered,undelivered,verified,failed,expired,verified_other_way"`
	Account string `help:"The account that the check was made for." env:"SENDGATE_ACCOUNT"`
	Detail  string `help:"The provider's status or error code, for the audit log." placeholder:"TEXT"`
}

// Help is what `sendgate outcome --help` says below its first line.
func (outcomeCommand) Help() string {
	return `It prints what the report did: counted, or duplicate where the same or a later stage was reported before.

  sendgate outcome ID verified
  sendgate outcome ID not_sent --detail 30007   # gives back what the send was charged`
}

func (c *outcomeCommand) Run(s *streams) error {
	in := &sendgatev1.ReportOutcomeRequest{
		CheckId: c.CheckID, Account: c.Account, Detail: c.Detail,
		Outcome: sendgatev1.Outcome(sendgatev1.Outcome_value["OUTCOME_"+strings.ToUpper(c.Outcome)]),
	}
	var answer *sendgatev1.ReportOutcomeResponse
	err := c.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		answer, err = sendgatev1.NewSendGateServiceClient(conn).ReportOutcome(ctx, in)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, strings.ToLower(strings.TrimPrefix(answer.Result.String(), "OUTCOME_RESULT_")))
	return err
}
