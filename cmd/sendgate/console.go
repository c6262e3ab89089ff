package main

import (
	"log/slog"
	"net"

	"github.com/sendgate/sendgate/server"
)

// consoleFlags are the part of serve that is about the console.
type consoleFlags struct {
	Console     string   `help:"Who may see the console on the HTTP port: key (who has an admin key), loopback (also whoever is on this machine) or off (${default})." placeholder:"WHO" enum:"key,loopback,off" default:"key" env:"SENDGATE_CONSOLE"`
	ConsoleHost []string `help:"Name that browsers may call the console by without TLS, beside localhost and addresses. May be given several times." placeholder:"NAME" env:"SENDGATE_CONSOLE_HOST"`
}

func (f *consoleFlags) options(secret []byte) server.ConsoleOptions {
	return server.ConsoleOptions{Access: server.ConsoleAccess(f.Console), Hosts: f.ConsoleHost, Secret: secret}
}

// announce says where the console is.
func (f *consoleFlags) announce(log *slog.Logger, encrypted bool, http net.Listener) {
	if http == nil || http.Addr().Network() == "unix" || f.Console == string(server.ConsoleOff) {
		return
	}
	scheme := "http://"
	if encrypted {
		scheme = "https://"
	}
	log.Info("console", "url", scheme+address(http)+"/", "access", f.Console)
}
