package main

import (
	"context"
	"fmt"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type listCommand struct {
	Add    listAddCommand    `cmd:"" help:"Put values on a list of a running sidecar."`
	Remove listRemoveCommand `cmd:"" help:"Take values off a list."`
	Show   listShowCommand   `cmd:"" help:"Print the lists, those of the policy and those of run time."`
}

// becauseFlags say who changes something, and why.
type becauseFlags struct {
	Reason string `help:"Why. It is kept." required:"" placeholder:"TEXT"`
	Author string `help:"Who, where the admin key names nobody. Default: the user of this shell." placeholder:"NAME" env:"SENDGATE_AUTHOR"`
}

// author is empty only where nobody can be found: the sidecar then says what to do.
func (b *becauseFlags) author() string {
	if b.Author != "" {
		return b.Author
	}
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return ""
}

type listAddCommand struct {
	operatorFlags
	becauseFlags
	List   string        `arg:"" help:"allow, block or test." enum:"allow,block,test"`
	Values []string      `arg:"" help:"A number (+6591234567), range (+6591234***), prefix (+6591*), country (SG), address, CIDR or account (account:acme)."`
	For    time.Duration `help:"For how long, such as 24h. Default: for ever." placeholder:"TIME"`
}

func (c *listAddCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		admin := sendgatev1.NewAdminServiceClient(conn)
		var end *timestamppb.Timestamp
		if c.For != 0 {
			end = timestamppb.New(time.Now().Add(c.For))
		}
		for _, kind := range byKind(c.Values) {
			out, err := admin.ListAdd(ctx, &sendgatev1.ListAddRequest{List: listKind(c.List), Kind: kind.kind, Values: kind.values,
				Reason: c.Reason, Author: c.author(), ExpiresAt: end})
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%s: %d added, %d updated\n", c.List, out.Added, out.Updated)
		}
		return nil
	})
}

type listRemoveCommand struct {
	operatorFlags
	becauseFlags
	List   string   `arg:"" help:"allow, block or test." enum:"allow,block,test"`
	Values []string `arg:"" help:"As they were added."`
}

func (c *listRemoveCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		admin := sendgatev1.NewAdminServiceClient(conn)
		for _, kind := range byKind(c.Values) {
			out, err := admin.ListRemove(ctx, &sendgatev1.ListRemoveRequest{List: listKind(c.List), Kind: kind.kind, Values: kind.values,
				Reason: c.Reason, Author: c.author()})
			if err != nil {
				return err
			}
			fmt.Fprintf(s.out, "%s: %d removed\n", c.List, out.Removed)
		}
		return nil
	})
}

type listShowCommand struct {
	operatorFlags
	List string `arg:"" optional:"" help:"allow, block or test. Default: all." enum:",allow,block,test" default:""`
}

func (c *listShowCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		admin := sendgatev1.NewAdminServiceClient(conn)
		w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "LIST\tVALUE\tSOURCE\tAUTHOR\tUNTIL\tREASON")
		in := &sendgatev1.ListEntriesRequest{List: listKind(c.List), PageSize: 1000}
		for {
			page, err := admin.ListEntries(ctx, in)
			if err != nil {
				return err
			}
			for _, e := range page.Entries {
				until := "for ever"
				if e.ExpiresAt != nil {
					until = e.ExpiresAt.AsTime().Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", word(e.List.String()), e.Value, word(e.Source.String()), e.Author, until, e.Reason)
			}
			if in.PageToken = page.NextPageToken; in.PageToken == "" {
				return w.Flush()
			}
		}
	})
}

// word is the last part of a constant's name: LIST_KIND_BLOCK is block.
func word(name string) string {
	for _, prefix := range []string{"LIST_KIND_", "ENTRY_SOURCE_"} {
		name = strings.TrimPrefix(name, prefix)
	}
	return strings.ToLower(name)
}

func listKind(name string) sendgatev1.ListKind {
	return sendgatev1.ListKind(sendgatev1.ListKind_value["LIST_KIND_"+strings.ToUpper(name)])
}

type kindOfValues struct {
	kind   sendgatev1.EntryKind
	values []string
}

// byKind sorts values by what they look like; the sidecar judges whether they are.
func byKind(values []string) []kindOfValues {
	found := make([]kindOfValues, sendgatev1.EntryKind_ENTRY_KIND_ACCOUNT+1)
	for _, v := range values {
		kind := sendgatev1.EntryKind_ENTRY_KIND_NUMBER
		switch {
		case strings.HasSuffix(v, "**"):
			kind = sendgatev1.EntryKind_ENTRY_KIND_RANGE
		case strings.HasSuffix(v, "*"):
			kind = sendgatev1.EntryKind_ENTRY_KIND_PREFIX
		case strings.HasPrefix(v, "account:"):
			kind = sendgatev1.EntryKind_ENTRY_KIND_ACCOUNT
		case strings.HasPrefix(v, "+"):
		case strings.ContainsAny(v, ".:/"):
			kind = sendgatev1.EntryKind_ENTRY_KIND_ADDRESS
		case len(v) == 2:
			kind = sendgatev1.EntryKind_ENTRY_KIND_COUNTRY
		}
		found[kind].kind = kind
		found[kind].values = append(found[kind].values, v)
	}
	var out []kindOfValues
	for _, k := range found {
		if len(k.values) > 0 {
			out = append(out, k)
		}
	}
	return out
}

type resetCommand struct {
	operatorFlags
	becauseFlags
	Rule       string `help:"Only this rule. Default: every rule that counts by nothing but what is given." placeholder:"NAME"`
	Number     string `help:"The destination." placeholder:"NUMBER"`
	ClientIP   string `name:"client-ip" help:"The end user's address." placeholder:"IP"`
	Account    string `help:"Who pays."`
	Subaccount string `help:"A part of the account."`
	Endpoint   string `help:"The entry point that asks."`
	Channel    string `help:"sms, voice, whatsapp, ..."`
	Purpose    string `help:"otp, transactional or marketing." enum:",otp,transactional,marketing" default:""`
}

func (c *resetCommand) Run(s *streams) error {
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewAdminServiceClient(conn).ResetKey(ctx, &sendgatev1.ResetKeyRequest{Rule: c.Rule, Number: c.Number,
			ClientAddress: c.ClientIP, Account: c.Account, Subaccount: c.Subaccount, Endpoint: c.Endpoint, Channel: c.Channel, Purpose: c.Purpose, Reason: c.Reason, Author: c.author()})
		if err == nil {
			fmt.Fprintf(s.out, "forgotten by %s\n", strings.Join(out.Rules, ", "))
		}
		return err
	})
}
