// Command sendgate is the sidecar and the tools around it.
//
// Exit codes: 0 done, and for check ALLOW; 1 an error; 3 DENY; 4 CHALLENGE.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/sendgate/sendgate/policy"
)

// version is stamped by the build.
var version = ""

type cli struct {
	Serve     serveCommand     `cmd:"" help:"Run the sidecar."`
	Check     checkCommand     `cmd:"" help:"Ask a running sidecar whether a message may be sent. Exit code 0 ALLOW, 3 DENY, 4 CHALLENGE, 1 error."`
	Outcome   outcomeCommand   `cmd:"" help:"Tell a running sidecar what became of a send."`
	List      listCommand      `cmd:"" help:"Change and show the lists of a running sidecar."`
	Reset     resetCommand     `cmd:"" help:"Let the rules of a running sidecar forget a number, client or account."`
	Block     blockCommand     `cmd:"" help:"Stop sends to a number, range, prefix or country (a freeze), from an address or of an account, for a time or until sendgate unblock."`
	Unblock   unblockCommand   `cmd:"" help:"Take back sendgate block. Blocks that detection made end with sendgate detect release, or sendgate reset."`
	Decisions decisionsCommand `cmd:"" help:"What a running sidecar decided lately, numbers masked."`
	Consent   consentCommand   `cmd:"" help:"Tell and ask a running sidecar who may be written to."`
	Privacy   privacyCommand   `cmd:"" help:"What a running sidecar keeps of people; forget somebody."`
	Keys      keysCommand      `cmd:"" help:"Make and hash API keys."`
	Replay    replayCommand    `cmd:"" help:"Judge a log of sends as the sidecar would have."`
	Simulate  simulateCommand  `cmd:"" help:"Make labelled traffic, as a log or against a running sidecar."`
	Demo      demoCommand      `cmd:"" help:"See it work: a morning with an attack, in a minute."`
	Detect    detectCommand    `cmd:"" help:"See what detection of a running sidecar sees, and end blocks."`
	Audit     auditCommand     `cmd:"" help:"Check and read the audit log."`
	Status    statusCommand    `cmd:"" help:"How a running sidecar is, on one page."`
	Top       topCommand       `cmd:"" help:"Watch a running sidecar: rates, reasons, blocks, budgets."`
	Policy    policyCommand    `cmd:"" help:"Look at policy files."`
	Version   versionCommand   `cmd:"" help:"Print the version."`
}

const description = `Sendgate answers, before every SMS, OTP or chat message: may this be sent, now, to this number, for this client?

A setting comes from its flag, else from its environment variable, else from the --config file, else from its default.`

// exitCode is an answer that is told by the code of the process and has been printed already.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	err := execute(args, stdout, stderr)
	var code exitCode
	var refused *policy.Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &refused): // a line for each problem, file:line:column first, so that editors find it
		fmt.Fprintln(stderr, err)
		return 1
	}
	fmt.Fprintf(stderr, "sendgate: error: %v\n", err)
	return 1
}

func execute(args []string, stdout, stderr io.Writer) error {
	var c cli
	var config configFile
	parser, err := kong.New(&c, kong.Name("sendgate"), kong.Description(description), kong.Writers(stdout, stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}), kong.Resolvers(&config))
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	ctx, err := parser.Parse(args)
	if config.err != nil {
		return config.err
	}
	if err != nil {
		return err
	}
	return ctx.Run(&streams{stdout, stderr})
}

// streams are where a command writes.
type streams struct{ out, err io.Writer }

type versionCommand struct{}

func (versionCommand) Run(s *streams) error {
	_, err := fmt.Fprintf(s.out, "sendgate %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// buildVersion is what the build stamped, else what the Go tool knows: `go install` stamps nothing.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
