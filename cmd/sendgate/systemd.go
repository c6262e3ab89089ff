package main

import (
	"context"
	"log/slog"

	"github.com/sendgate/sendgate/server"
)

// tellSystemd says that calls are answered from now on, and that it ends when ctx does. The sockets are open already: what
// arrives before Serve waits in them.
func tellSystemd(ctx context.Context, log *slog.Logger) (stop func() bool) {
	tell := func(state string) {
		if err := server.Notify(state); err != nil {
			log.Warn("systemd does not listen", "error", err)
		}
	}
	tell("READY=1")
	return context.AfterFunc(ctx, func() { tell("STOPPING=1") })
}
