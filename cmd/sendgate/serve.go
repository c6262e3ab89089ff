package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/internal/phone"
	"github.com/sendgate/sendgate/internal/replies"
	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/server"
)

type serveCommand struct {
	Config string `help:"YAML file with these flags' names as keys." placeholder:"FILE" env:"SENDGATE_CONFIG"`

	Policy      string        `help:"Policy file. Default: the built-in policy (sendgate policy default)." placeholder:"FILE" env:"SENDGATE_POLICY"`
	GRPC        string        `name:"grpc" help:"Where gRPC listens: host:port, unix:/path or systemd:NAME, a socket of a systemd unit (${default})." placeholder:"ADDR" default:"127.0.0.1:7070" env:"SENDGATE_GRPC"`
	HTTP        string        `name:"http" help:"Where HTTP/JSON, probes and metrics listen: host:port, unix:/path, systemd:NAME or off (${default})." placeholder:"ADDR" default:"127.0.0.1:7071" env:"SENDGATE_HTTP"`
	Data        string        `help:"Directory of the state; made with mode 0700 (${default})." placeholder:"DIR" default:"data" env:"SENDGATE_DATA"`
	Prices      string        `help:"CSV file of prices by number prefix (prefix,price,currency), for the budgets of the policy." placeholder:"FILE" env:"SENDGATE_PRICES"`
	TableSize   size          `help:"Size of a new counter table, allocated in full (${default})." placeholder:"SIZE" default:"256MiB" env:"SENDGATE_TABLE_SIZE"`
	RepliesSize size          `help:"Size of a new memory of idempotency keys, 512 bytes each for 10 minutes (${default})." placeholder:"SIZE" default:"64MiB" env:"SENDGATE_REPLIES_SIZE"`
	DetectSize  size          `help:"Memory for what detection knows; another size starts from nothing (${default})." placeholder:"SIZE" default:"64MiB" env:"SENDGATE_DETECT_SIZE"`
	ShadowSize  size          `help:"Size of the counters of rules in shadow mode, made with the first policy that has any (${default})." placeholder:"SIZE" default:"64MiB" env:"SENDGATE_SHADOW_SIZE"`
	SecretFile  string        `help:"File of 32 secret bytes. Default: secret in the data directory, made at the first start." placeholder:"FILE" env:"SENDGATE_SECRET_FILE"`
	MaxInFlight int64         `help:"Calls answered at a time; more are refused with RESOURCE_EXHAUSTED (${default})." placeholder:"N" default:"4096" env:"SENDGATE_MAX_IN_FLIGHT"`
	Drain       time.Duration `help:"How long calls in flight may take to finish at the end (${default})." placeholder:"TIME" default:"10s" env:"SENDGATE_DRAIN"`
	ClockSpeed  float64       `hidden:"" help:"For demonstrations: let time pass so many times as fast. The state is of no use afterwards." default:"1"`
	storeFlags
	rateLimitFlags
	identityFlags
	privacyFlags
	alertFlags
	auditFlags
	telemetryFlags
	consoleFlags
	LogLevel  slog.Level `help:"debug, info, warn or error (${default})." placeholder:"LEVEL" default:"info" env:"SENDGATE_LOG_LEVEL"`
	LogFormat string     `help:"text, json, or auto: json unless it is a terminal (${default})." placeholder:"FORMAT" enum:"auto,text,json" default:"auto" env:"SENDGATE_LOG_FORMAT"`
}

// Help is what `sendgate serve --help` says below its first line.
func (serveCommand) Help() string {
	return `gRPC is the fast way in; HTTP takes the same check as JSON: curl -d '{"number":"+6581234567"}' http://127.0.0.1:7071/v1/check

A setting comes from its flag, else from its environment variable, else from the --config file, else from its default. The file is YAML with the flags' names as keys:

  grpc: 127.0.0.1:7070
  table-size: 1GiB

SIGTERM and SIGINT end it: health says so first, then calls in flight finish.`
}

// Validate is called by kong when all flags have their values.
func (c *serveCommand) Validate() error {
	switch {
	case c.MaxInFlight < 1:
		return fmt.Errorf("--max-in-flight %d: must be at least 1", c.MaxInFlight)
	case !(c.ClockSpeed > 0):
		return fmt.Errorf("--clock-speed %v: must be more than 0", c.ClockSpeed)
	case c.Drain <= 0:
		return fmt.Errorf("--drain %s: must be more than 0, such as 10s", c.Drain)
	}
	return errors.Join(c.identityFlags.validate(), c.privacyFlags.validate(), c.alertFlags.validate(), c.auditFlags.validate(), c.telemetryFlags.validate())
}

// heapPercent lets the heap grow to so many per cent of what lives in it before a collection: what lives is small, the counters
// are off the heap, so the default of 100 would collect many times a second. GOGC and GOMEMLIMIT in the environment win.
const heapPercent = 400

func (c *serveCommand) Run(s *streams) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(heapPercent)
	}
	log := newLog(s.err, c.LogFormat, c.LogLevel)
	limitMemory(os.DirFS("/"), c.offHeap(), log)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	// In the order of what is most often wrong, and nothing is left behind by what fails.
	p, err := readPolicy(c.Policy)
	if err != nil {
		return err
	}
	table, err := readPrices(c.Prices)
	if err != nil {
		return err
	}
	limits, err := c.rateLimitFlags.readConfig()
	if err != nil {
		return err
	}
	if err := openData(c.Data); err != nil {
		return err
	}
	secret, err := readSecret(c.SecretFile, c.Data)
	if err != nil {
		return err
	}
	book, tls, err := c.identityFlags.open(c.Data, p)
	if err != nil {
		return err
	}
	store, newest, err := c.openStore(secret, log)
	if err != nil {
		return err
	}
	defer store.Close()
	common, err := openSharing(store, secret, log)
	if err != nil {
		return err
	}
	old, err := c.privacyFlags.oldSecrets()
	if err != nil {
		return err
	}
	if err := c.privacyFlags.claim(ctx, c.Data, store); err != nil {
		return err
	}
	live, err := lists.Open(filepath.Join(c.Data, "lists"), secret, old...)
	if err != nil {
		return err
	}
	defer live.Close()
	known, err := openConsent(ctx, c.Data, common, secret, old...)
	if err != nil {
		return err
	}
	defer known.close()
	asked, err := replies.Open(replies.Options{Path: filepath.Join(c.Data, "replies"), Size: int64(c.RepliesSize), Secret: secret, Shared: common.replies()})
	if err != nil {
		return err
	}
	defer asked.Close()
	seen, err := openEvidence(c.Data, int64(c.DetectSize), log, secret, old...)
	if err != nil {
		return err
	}
	defer func() {
		if err := seen.close(); err != nil {
			log.Error("what detection knows was not saved", "error", err)
		}
	}()

	clock := server.NewClock(newest)
	if c.ClockSpeed != 1 {
		clock = server.NewFastClock(newest, c.ClockSpeed)
		log.Warn("time passes faster than it does: for demonstrations only", "speed", c.ClockSpeed)
	} else {
		go clock.Watch(ctx, log, 10*time.Second)
	}
	trail, err := c.auditFlags.open(c.Data, secret, clock.Now, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := trail.Close(); err != nil {
			log.Error("the audit log did not end well", "error", err)
		}
	}()
	telemetry, sendRest, err := c.telemetryFlags.open(ctx, log)
	if err != nil {
		return err
	}
	defer sendRest()
	board, tally, recent := server.NewBoard(table), server.NewTally(table), server.NewRecent()
	beside, err := c.openShadow(secret, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := beside.close(); err != nil {
			log.Error("what shadow would have done was not saved", "error", err)
		}
	}()
	g, err := gate.New(ctx, beside.join(common.join(gate.Options{Policy: p, Store: store, Lists: live, Consent: known.Ledger, Templates: known.templates, Region: c.Region, Detect: seen.Engine, Prices: table, Replies: asked, Clock: clock.Now, Secret: secret, Observers: []gate.Observer{server.NewDenialLog(log), trail, tally, board, recent}, Stage: tally.Stage, Stopwatch: server.Stopwatch()})))
	if err != nil {
		return err
	}
	defer g.Close()
	common.start(ctx, g, live, known, seen)
	defer common.close()
	stopAlerts, err := c.alertFlags.open(seen, clock.Now, log)
	if err != nil {
		return err
	}
	defer stopAlerts()

	rateLimits, counters, err := c.rateLimitFlags.open(limits, common.counters(), c.Data, secret, clock.Now)
	if err != nil {
		return err
	}
	defer counters.Close()

	grpc, http, err := c.listen()
	if err != nil {
		return err
	}
	if err := c.refuse(book.Asked(), grpc, http); err != nil {
		return errors.Join(err, closeAll(grpc, http))
	}
	srv, err := server.New(server.Options{
		Identity: book, TLS: tls, OpenToAll: c.InsecureListen, Lists: live, Detect: seen.Engine, Forgotten: seen.save, Audit: trail, Trail: trail, Tally: tally, Telemetry: telemetry, RateLimits: rateLimits,
		Source: server.PolicySource{Policy: c.Policy, Prices: c.Prices, Refuse: func(_ *policy.Policy, asked bool) error { return c.refuse(asked, grpc, http) }},
		Recent: recent, Board: board, Console: c.consoleFlags.options(secret),
		Gate: g, Store: store, Log: log, Version: buildVersion(), GRPC: grpc, HTTP: http, MaxInFlight: c.MaxInFlight, Drain: c.Drain,
	})
	if err != nil {
		return err
	}
	if err := c.auditFlags.start(trail, g, seen); err != nil {
		return err
	}
	go known.sweep(ctx, clock.Now, log)
	go reloadOnHangup(ctx, log, srv.Reload)
	c.announce(log, p, store.Stats(), grpc, http)
	c.identityFlags.announce(log, book, tls, grpc, http)
	c.consoleFlags.announce(log, tls != nil, http)
	if limits != nil {
		log.Info("envoy rate limits", "source", c.EnvoyRatelimit, "domains", len(limits.Domains()), "limits", len(limits.Limits()), "windows", c.EnvoyRatelimitCompat)
	}
	if names := c.privacyFlags.refused(p); len(names) > 0 {
		log.Warn("accounts of another region are refused here", "accounts", names, "region", c.Region)
	}
	for _, note := range live.Notes() {
		log.Warn("lists", "note", note)
	}
	phone.Warm() // before it is ready: else the first number of each country waits
	defer tellSystemd(ctx, log)()
	if err := srv.Serve(ctx); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// table is where the counters are.
func (c *serveCommand) table() string { return filepath.Join(c.Data, "counters") }

// tableSize is that of the file: one that was there before keeps its own.
func tableSize(path string) size {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return size(info.Size())
}

func (c *serveCommand) listen() (grpc, http net.Listener, err error) {
	if grpc, err = server.ListenMode(c.GRPC, fs.FileMode(c.SocketMode)); err != nil || c.HTTP == "off" {
		return grpc, nil, err
	}
	if http, err = server.ListenMode(c.HTTP, fs.FileMode(c.SocketMode)); err != nil {
		return nil, nil, errors.Join(err, grpc.Close())
	}
	return grpc, http, nil
}

// announce says what runs here, so that nobody has to guess.
func (c *serveCommand) announce(log *slog.Logger, p *policy.Policy, stats limiter.Stats, listeners ...net.Listener) {
	source := "built-in default"
	if c.Policy != "" {
		source = c.Policy
	}
	log.Info("sendgate starts", "version", buildVersion(), "pid", os.Getpid())
	log.Info("policy", "source", source, "version", p.Version, "limits", len(p.Limits))
	if c.shared() {
		log.Info("state", "data", c.Data, "store", c.Store)
	} else {
		log.Info("state", "data", c.Data, "table", tableSize(c.table()).String(), "keys_that_fit", stats.Capacity, "keys_held", stats.Occupied)
	}
	for i, l := range listeners {
		if l == nil {
			continue
		}
		log.Info("listening", "surface", [...]string{"grpc", "http"}[i], "addr", address(l))
	}
}

func closeAll(listeners ...net.Listener) (err error) {
	for _, l := range listeners {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

// address is what a client would dial.
func address(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return l.Addr().String()
}
