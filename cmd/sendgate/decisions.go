package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type decisionsCommand struct {
	operatorFlags
	Number   string `help:"Only this number." placeholder:"NUMBER"`
	Account  string `help:"Only this account."`
	Verdict  string `help:"Only allow, deny or challenge." enum:",allow,deny,challenge" default:""`
	Reason   string `help:"Only reasons that begin so, such as limit: or detect:ait_range." placeholder:"TEXT"`
	Shadowed bool   `help:"Only those that shadow would have decided otherwise."`
	Last     int32  `help:"At most so many, up to 1000 (${default})." default:"50" placeholder:"N"`
	JSON     bool   `name:"json" help:"Print the answer as JSON."`
}

func (c *decisionsCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewAdminServiceClient(conn).RecentDecisions(ctx, &sendgatev1.RecentDecisionsRequest{
			Verdict:      sendgatev1.Verdict(sendgatev1.Verdict_value["VERDICT_"+strings.ToUpper(c.Verdict)]),
			ReasonPrefix: c.Reason, Number: c.Number, Account: c.Account, PageSize: c.Last, Shadowed: c.Shadowed,
		})
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(s.out, out)
		}
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "AT\tVERDICT\tREASON\tNUMBER\tCOUNTRY\tCLIENT\tACCOUNT\tPURPOSE\tENDPOINT\tSHADOW")
		for _, d := range out.Decisions {
			var shadow []string
			for _, x := range d.Shadow {
				shadow = append(shadow, x.Rule+" "+strings.ToLower(strings.TrimPrefix(x.Verdict.String(), "VERDICT_")))
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.At.AsTime().Format(time.TimeOnly), strings.TrimPrefix(d.Verdict.String(), "VERDICT_"),
				d.Reason, d.Number, d.Country, d.ClientNetwork, d.Account, d.Purpose, d.Endpoint, strings.Join(shadow, ", "))
		}
		return w.Flush()
	})
}

// blockCommand is list add block, by the name that people look for in a hurry.
type blockCommand struct {
	operatorFlags
	becauseFlags
	Values  []string      `arg:"" optional:"" help:"A number (+6591234567), range (+6591234***), prefix (+6591*), country (SG), address, CIDR or account (account:acme)."`
	Account []string      `help:"An account, as account:NAME." placeholder:"NAME"`
	For     time.Duration `help:"For how long, such as 2h. Default: until sendgate unblock." placeholder:"TIME"`
}

func (c *blockCommand) Run(s *streams) error {
	values, err := withAccounts(c.Values, c.Account)
	if err != nil {
		return err
	}
	add := listAddCommand{operatorFlags: c.operatorFlags, becauseFlags: c.becauseFlags, List: "block", Values: values, For: c.For}
	return add.Run(s)
}

type unblockCommand struct {
	operatorFlags
	becauseFlags
	Values  []string `arg:"" optional:"" help:"As they were blocked."`
	Account []string `help:"An account, as account:NAME." placeholder:"NAME"`
}

func (c *unblockCommand) Run(s *streams) error {
	values, err := withAccounts(c.Values, c.Account)
	if err != nil {
		return err
	}
	remove := listRemoveCommand{operatorFlags: c.operatorFlags, becauseFlags: c.becauseFlags, List: "block", Values: values}
	return remove.Run(s)
}

// withAccounts are the values and the accounts that a command names.
func withAccounts(values, accounts []string) ([]string, error) {
	for _, name := range accounts {
		values = append(values, "account:"+name)
	}
	if len(values) == 0 {
		return nil, errors.New("nothing named: write a number, range, prefix, country or address, or --account NAME")
	}
	return values, nil
}
