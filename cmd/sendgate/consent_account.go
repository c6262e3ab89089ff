package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type consentCommand struct {
	Agree         agreeCommand         `cmd:"" help:"Write down that a person agreed to messages."`
	Confirm       confirmCommand       `cmd:"" help:"Confirm a double opt-in."`
	Reconfirm     reconfirmCommand     `cmd:"" help:"Make consent fresh that grows old."`
	Hear          hearCommand          `cmd:"" help:"Tell what a person wrote, and print what to reply."`
	Out           outCommand           `cmd:"" help:"Put a number out by hand."`
	In            inCommand            `cmd:"" help:"Bring a number back by hand."`
	Import        importCommand        `cmd:"" help:"Read opted-out numbers from CSV, all or none."`
	Export        exportCommand        `cmd:"" help:"Write who is out as CSV, without numbers."`
	History       historyCommand       `cmd:"" help:"What happened with a number, as evidence."`
	Due           dueCommand           `cmd:"" help:"List consent that has to be given again."`
	Recycle       recycleCommand       `cmd:"" help:"End what the former owner of a number agreed to."`
	CheckCTA      checkCTACommand      `cmd:"" name:"check-cta" help:"Look whether a call to action says what it has to. Exit code 3 if not."`
	CheckTemplate checkTemplateCommand `cmd:"" name:"check-template" help:"Look whether a message template keeps the platform's rules. Exit code 3 if not."`
	Templates     templatesCommand     `cmd:"" help:"List what is known of message templates."`
	Release       releaseCommand       `cmd:"" help:"Release a template that pacing holds."`
}

// saidFlags are who said something, where and when.
type saidFlags struct {
	dialFlags
	Number    string    `arg:"" help:"The person, such as +6581234567."`
	Account   string    `help:"Whose messages." env:"SENDGATE_ACCOUNT"`
	Sender    string    `help:"Whose messages of the account. Default: every sender's."`
	Source    string    `help:"Where the person said so, such as web-form/checkout." required:""`
	Text      string    `help:"What the person was shown, word for word. @FILE reads it from a file." placeholder:"TEXT"`
	ClientIP  string    `name:"client-ip" help:"The address of the person's device. It is kept sealed." placeholder:"IP"`
	At        time.Time `help:"When (RFC 3339). Default: now." placeholder:"TIME"`
	Reference string    `help:"Your own id of the event. Never a phone number."`
}

func (f *saidFlags) said() (*sendgatev1.Said, error) {
	text, err := textOrFile(f.Text)
	if err != nil {
		return nil, err
	}
	return &sendgatev1.Said{Number: f.Number, Account: f.Account, Sender: f.Sender, Source: f.Source, Text: text, ClientAddress: f.ClientIP,
		OccurredAt: timestampOf(f.At), Reference: f.Reference}, nil
}

// tell asks the service about what was said.
func (f *saidFlags) tell(do func(context.Context, sendgatev1.ConsentServiceClient, *sendgatev1.Said) error) error {
	said, err := f.said()
	if err != nil {
		return err
	}
	return f.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) error {
		return do(ctx, sendgatev1.NewConsentServiceClient(conn), said)
	})
}

// textOrFile reads @FILE, or @- for standard input.
func textOrFile(text string) (string, error) {
	name, ok := strings.CutPrefix(text, "@")
	if !ok {
		return text, nil
	}
	if name == "-" {
		b, err := io.ReadAll(io.LimitReader(os.Stdin, 64<<10))
		return strings.TrimSpace(string(b)), err
	}
	b, err := readFile(name)
	return strings.TrimSpace(string(b)), err
}

type agreeCommand struct {
	saidFlags
	Purpose []string `help:"otp, transactional or marketing; several with commas." required:""`
	Channel []string `help:"sms, whatsapp, ...; several with commas (${default})." default:"sms"`
}

func (c *agreeCommand) Run(s *streams) error {
	return c.tell(func(ctx context.Context, service sendgatev1.ConsentServiceClient, said *sendgatev1.Said) error {
		out, err := service.Agree(ctx, &sendgatev1.AgreeRequest{Said: said, Purposes: c.Purpose, Channels: c.Channel})
		switch {
		case err != nil:
			return err
		case out.ConfirmBy != nil:
			fmt.Fprintf(s.out, "written down; it counts when the person confirms it, until %s\n", out.ConfirmBy.AsTime().Format(time.RFC3339))
		default:
			fmt.Fprintln(s.out, "written down; it counts now")
		}
		return nil
	})
}

type confirmCommand struct{ saidFlags }

func (c *confirmCommand) Run(s *streams) error {
	return c.tell(func(ctx context.Context, service sendgatev1.ConsentServiceClient, said *sendgatev1.Said) error {
		out, err := service.Confirm(ctx, &sendgatev1.ConfirmRequest{Said: said})
		if err == nil {
			fmt.Fprintf(s.out, "confirmed: %s by %s\n", strings.Join(out.Purposes, ", "), strings.Join(out.Channels, ", "))
		}
		return err
	})
}

type reconfirmCommand struct{ saidFlags }

func (c *reconfirmCommand) Run(s *streams) error {
	return c.tell(func(ctx context.Context, service sendgatev1.ConsentServiceClient, said *sendgatev1.Said) error {
		_, err := service.Reconfirm(ctx, &sendgatev1.ReconfirmRequest{Said: said})
		if err == nil {
			fmt.Fprintln(s.out, "fresh again")
		}
		return err
	})
}

type hearCommand struct {
	dialFlags
	Number    string `arg:"" help:"Who wrote, such as +6581234567."`
	Text      string `arg:"" help:"What was written."`
	Account   string `help:"Whose message it is." env:"SENDGATE_ACCOUNT"`
	Sender    string `help:"Whom it was written to."`
	Postback  string `help:"What a button sent, in place of the text."`
	Reference string `help:"The platform's id of the message."`
}

func (c *hearCommand) Run(s *streams) error {
	return c.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewSendGateServiceClient(conn).ReportInbound(ctx, &sendgatev1.ReportInboundRequest{Number: c.Number, Account: c.Account, Sender: c.Sender,
			Text: c.Text, Postback: c.Postback, Reference: c.Reference})
		if err != nil {
			return err
		}
		action := strings.ToLower(strings.TrimPrefix(out.Action.String(), "INBOUND_ACTION_"))
		if out.Action == sendgatev1.InboundAction_INBOUND_ACTION_UNSPECIFIED {
			action = "none: a message for people"
		}
		fmt.Fprintf(s.out, "heard      %s\nchanged    %t\nopted out  %t\nreply      %s\n", action, out.Changed, out.OptedOut, out.Reply)
		return nil
	})
}

type checkCTACommand struct {
	dialFlags
	Brand   string `help:"The brand that the text has to name." required:""`
	Purpose string `help:"otp, transactional or marketing (${default})." enum:"otp,transactional,marketing" default:"marketing"`
	Text    string `arg:"" help:"The text, or @FILE; @- reads standard input."`
}

func (c *checkCTACommand) Run(s *streams) error {
	text, err := textOrFile(c.Text)
	if err != nil {
		return err
	}
	var out *sendgatev1.CheckCallToActionResponse
	err = c.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		out, err = sendgatev1.NewConsentServiceClient(conn).CheckCallToAction(ctx, &sendgatev1.CheckCallToActionRequest{Brand: c.Brand, Purpose: c.Purpose, Text: text})
		return err
	})
	if err != nil {
		return err
	}
	if len(out.Missing) == 0 {
		fmt.Fprintln(s.out, "nothing is missing of what is looked for")
		return nil
	}
	fmt.Fprintln(s.out, strings.Join(out.Missing, "\n"))
	return exitCode(3)
}

type checkTemplateCommand struct {
	dialFlags
	Category string   `help:"marketing, utility or authentication." required:"" enum:"marketing,utility,authentication"`
	Header   string   `help:"The text of the header."`
	Body     string   `arg:"" help:"The body, or @FILE. Variables are {{1}}, {{2}}, ..."`
	Footer   string   `help:"The text of the footer."`
	Media    bool     `help:"The header is an image, a video or a document."`
	Sample   []string `help:"An example for each variable, in order; give it several times." sep:"none"`
	Param    []string `help:"The values of one send, instead of samples; give it several times." sep:"none"`
}

func (c *checkTemplateCommand) Run(s *streams) error {
	body, err := textOrFile(c.Body)
	if err != nil {
		return err
	}
	var out *sendgatev1.CheckTemplateResponse
	err = c.ask(os.Getenv(keyEnv), func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		out, err = sendgatev1.NewConsentServiceClient(conn).CheckTemplate(ctx, &sendgatev1.CheckTemplateRequest{Category: strings.ToUpper(c.Category), Header: c.Header,
			Body: body, Footer: c.Footer, Media: c.Media, Samples: c.Sample, Parameters: c.Param})
		return err
	})
	if err != nil {
		return err
	}
	refused := false
	for _, p := range out.Problems {
		kind := "refused"
		if p.Warning {
			kind = "warning"
		}
		refused = refused || !p.Warning
		fmt.Fprintf(s.out, "%s  %s: %s\n", kind, p.Field, p.Message)
	}
	switch {
	case refused:
		return exitCode(3)
	case len(out.Problems) == 0:
		fmt.Fprintln(s.out, "nothing is wrong of what is looked for")
	}
	return nil
}

var errNoAnswer = errors.New("the sidecar ended the call without an answer")
