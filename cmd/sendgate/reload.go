package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// reloadOnHangup reads everything again that can be when SIGHUP comes.
func reloadOnHangup(ctx context.Context, log *slog.Logger, reload func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			log.Info("SIGHUP: the policy, prices, keys and certificates are read again; flags and the --config file need a restart")
			reload()
		}
	}
}

type reloadCommand struct {
	operatorFlags
	Reason string `help:"Why. It is kept. Needed unless --dry-run." placeholder:"TEXT"`
	Author string `help:"Who, where the admin key names nobody. Default: the user of this shell." placeholder:"NAME" env:"SENDGATE_AUTHOR"`
	DryRun bool   `help:"Only say what would change, or why the file would be refused."`
	JSON   bool   `name:"json" help:"Print the answer as JSON."`
}

// Validate is called by kong when all flags have their values.
func (c *reloadCommand) Validate() error {
	if !c.DryRun && c.Reason == "" {
		return fmt.Errorf("--reason is missing: say why, or --dry-run to only look")
	}
	return nil
}

func (c *reloadCommand) Run(s *streams) error {
	who := becauseFlags{Reason: c.Reason, Author: c.Author}
	return c.ask(func(ctx context.Context, conn *grpc.ClientConn) error {
		out, err := sendgatev1.NewAdminServiceClient(conn).ReloadPolicy(ctx, &sendgatev1.ReloadPolicyRequest{Reason: c.Reason, Author: who.author(), DryRun: c.DryRun})
		switch {
		case err != nil:
			return err
		case c.JSON:
			return printJSON(s.out, out)
		}
		return printReload(s.out, out, c.DryRun)
	})
}

func printReload(w io.Writer, out *sendgatev1.ReloadPolicyResponse, dry bool) error {
	said := "in force: version " + out.Version + ", before " + out.PreviousVersion
	switch {
	case !out.Changed:
		said = "nothing to change: version " + out.Version + " is in force"
	case dry:
		said = "would be put in force: version " + out.Version + " in place of " + out.PreviousVersion
	}
	_, err := fmt.Fprintln(w, said)
	for _, line := range out.Changes {
		if err == nil {
			_, err = fmt.Fprintln(w, "  "+line)
		}
	}
	return err
}
