package server

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	rlsv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/detect"
	"github.com/sendgate/sendgate/gate"
	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/internal/lists"
	"github.com/sendgate/sendgate/limiter"
	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// Options of New.
type Options struct {
	// Gate answers. Required. The server does not close it.
	Gate *gate.Gate
	// Store is only asked for its statistics. Required.
	Store limiter.Store
	// Log gets what an operator should know. Default slog.Default().
	Log *slog.Logger
	// Version of the program, for metrics.
	Version string
	// Identity knows the callers. Default: nobody is asked who he is, and nobody is an operator. The server reads it again
	// when a key file changes.
	Identity *identity.Book
	// TLS is for TCP listeners. Default none. The server reads its files again when they change.
	TLS *TLS
	// Lists are those that operators change, which the gate judges by. Default none: such changes are refused.
	Lists *lists.Store
	// Audit gets one line of JSON about each change by an operator. A change whose line cannot be written is not made. Default
	// none: such changes are only logged.
	Audit io.Writer
	// RateLimits answers Envoy's rate limit filter. Default: such calls are not implemented.
	RateLimits *RateLimits
	// Forgotten is called when a number was forgotten, before the operator is told: what was saved of detection is saved anew. Default
	// none.
	Forgotten func() error
	// Detect is the gate's, to show to operators. Default none.
	Detect *detect.Engine
	// Source is where the gate's policy came from. Default: it is never read again.
	Source PolicySource
	// Recent keeps the latest decisions, for operators; it must observe the gate. Default: they are not told.
	Recent *Recent
	// Board is an observer of Gate, for operators who watch. Default none: then there is no console either.
	Board *Board
	// Console is about the page on the HTTP port.
	Console ConsoleOptions
	// Tally is an observer of Gate, for metrics. Default none: then they are fewer.
	Tally *Tally
	// Trail is the audit log, for metrics. Default none.
	Trail *audit.Trail
	// Telemetry is where spans and metrics are sent. Default nowhere. The server does not close it.
	Telemetry *Telemetry
	// OpenToAll lets callers without an identity in from other machines too, where nobody is asked for one.
	OpenToAll bool
	// GRPC and HTTP are where it listens; either may be nil. Serve closes them.
	GRPC, HTTP net.Listener
	// MaxInFlight is how many calls may be answered at a time, and how many streams may be open. Default 4096.
	MaxInFlight int64
	// Drain is how long calls in flight may take to finish when the server ends. Default 10s.
	Drain time.Duration
}

// Server is the surfaces of one process and their lifetimes.
type Server struct {
	options    Options
	service    *service
	reloads    *reloader
	rateLimits *rls // nil where there is none
	grpc       *grpcServer
	http       *http.Server
	boards     *boards // nil where there are none
	ready      atomic.Bool
}

// New makes a server. It answers nothing before Serve.
func New(o Options) (*Server, error) {
	if o.Gate == nil || o.Store == nil {
		return nil, errors.New("server: Options.Gate and Options.Store are required")
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 4096
	}
	if o.Drain == 0 {
		o.Drain = 10 * time.Second
	}
	if o.Identity == nil {
		o.Identity = identity.New(identity.Options{})
	}
	s := &Server{options: o, service: &service{gate: o.Gate, log: o.Log, doorman: &doorman{book: o.Identity, tls: o.TLS, openToAll: o.OpenToAll, now: time.Now}}}
	s.service.inFlight.max = o.MaxInFlight
	s.service.metrics = newMetrics(o.Version, o.Gate, o.Store, func() float64 { return float64(s.service.inFlight.now.Load()) })
	s.service.metrics.more(&o)
	if o.Telemetry != nil {
		s.service.tracing = o.Telemetry.tracing
	}
	operators := &admin{service: s.service, lists: o.Lists, store: o.Store, version: o.Version, ready: s.ready.Load, started: time.Now(),
		audit: auditLog{out: o.Audit, log: o.Log}, forgotten: o.Forgotten, recent: o.Recent, reloads: newReloader(&o)}
	s.reloads = operators.reloads
	s.service.metrics.registry.MustRegister(s.reloads)
	s.grpc = newGRPC(s.service, o.MaxInFlight, transportOf(o.GRPC, o.TLS))
	sendgatev1.RegisterAdminServiceServer(s.grpc.server, operators)
	sendgatev1.RegisterReportServiceServer(s.grpc.server, &reports{admin: operators})
	sendgatev1.RegisterConsentServiceServer(s.grpc.server, &consents{service: s.service})
	sendgatev1.RegisterConsentAdminServiceServer(s.grpc.server, &consentAdmin{admin: operators})
	detection := &detection{admin: operators, engine: o.Detect, draining: s.grpc.draining}
	sendgatev1.RegisterDetectionServiceServer(s.grpc.server, detection)
	var page *console
	if o.Board != nil {
		s.boards = newBoards(operators, o.Board, o.Detect, s.grpc.draining)
		sendgatev1.RegisterBoardServiceServer(s.grpc.server, s.boards)
		if o.Console.Access != ConsoleOff {
			var err error
			if page, err = newConsole(s.boards, detection, o.Console); err != nil {
				return nil, err
			}
		}
	}
	if o.Gate.Book() != nil {
		s.service.metrics.registry.MustRegister(&shadowState{o.Gate})
	}
	if o.Detect != nil {
		s.service.metrics.registry.MustRegister(&detectionState{o.Detect, o.Gate.Now})
	}
	if o.RateLimits != nil {
		limits, err := newRLS(context.Background(), s.service, o.RateLimits)
		if err != nil {
			return nil, err
		}
		s.rateLimits = limits
		rlsv3.RegisterRateLimitServiceServer(s.grpc.server, limits)
	}
	s.http = newHTTP(s.service, operators, page, s.ready.Load)
	o.Telemetry.export(s.service.metrics.registry)
	s.http.ErrorLog = slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn)
	return s, nil
}

// Serve answers until ctx ends, then drains: first it says that it is not ready any more, then it takes no new connections,
// lets what is in flight finish for at most Options.Drain, and cuts off the rest. It returns an error only if a listener
// failed. It is called once.
func (s *Server) Serve(ctx context.Context) error {
	watching, done := context.WithCancel(ctx)
	defer done()
	go watch(watching, s.options.Log, s.watched, s.Reload)
	go s.grpc.overload.watch(watching)
	if s.boards != nil {
		go s.boards.run(watching)
	}
	failed := make(chan error, 2)
	running := 0
	if l := s.options.GRPC; l != nil {
		running++
		go func() { failed <- ignoreClosed(s.grpc.server.Serve(l)) }()
	}
	if l := s.options.HTTP; l != nil {
		running++
		go func() { failed <- ignoreClosed(s.serveHTTP(l)) }()
	}
	s.ready.Store(true)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
	}
	s.drain()
	for ; running > 0; running-- {
		err = errors.Join(err, <-failed)
	}
	return err
}

// serveHTTP answers on a listener, with TLS where there is any and the listener is not a unix socket.
func (s *Server) serveHTTP(l net.Listener) error {
	if s.options.TLS == nil || l.Addr().Network() == "unix" {
		return s.http.Serve(l)
	}
	s.http.TLSConfig = s.options.TLS.config()
	return s.http.ServeTLS(l, "", "")
}

func (s *Server) watched() []string {
	files := append(s.reloads.files(), s.options.Identity.Files(s.options.Gate.Policy().Accounts)...)
	if l := s.options.RateLimits; l != nil && l.Files != nil {
		files = append(files, l.Files()...)
	}
	if t := s.options.TLS; t != nil {
		files = append(files, t.files.Cert, t.files.Key)
		if t.files.ClientCA != "" {
			files = append(files, t.files.ClientCA)
		}
	}
	return files
}

// Reload reads the policy again, and prices, key files, those of TLS and the limits of Envoy's rate limit service. The server does so
// itself when one of the files changes. What cannot be read leaves what was there in force and is logged.
func (s *Server) Reload() {
	log := s.options.Log
	_, _ = s.reloads.reload(context.Background(), false) // it has logged what there is to say
	if l := s.rateLimits; l != nil && l.limits.Read != nil {
		switch changed, err := l.reload(context.Background()); {
		case err != nil:
			log.Error("the limits of envoy's rate limit service were refused: those of before stay in force", "err", err)
		case changed:
			log.Info("the limits of envoy's rate limit service were read again")
		}
	}
	if changed, err := s.options.Identity.Load(s.options.Gate.Policy().Accounts); err != nil {
		log.Error("keys could not be read: those of before stay in force", "err", err)
	} else if changed {
		log.Info("keys were read again")
	}
	if t := s.options.TLS; t == nil {
		return
	} else if changed, err := t.Load(); err != nil {
		log.Error("TLS files could not be read: those of before stay in force", "err", err)
	} else if changed {
		log.Info("TLS files were read again", "certificate_expires", t.Expires())
	}
}

func (s *Server) drain() {
	s.ready.Store(false)
	s.grpc.health.Shutdown()
	close(s.grpc.draining)

	ctx, cancel := context.WithTimeout(context.Background(), s.options.Drain)
	defer cancel()
	late := context.AfterFunc(ctx, func() {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.options.Log.Warn("calls were still in flight at the end of the drain and are cut off", "after", s.options.Drain)
			s.grpc.server.Stop()
		}
	})
	defer late()
	httpDone := make(chan struct{})
	go func() {
		defer close(httpDone)
		if s.http.Shutdown(ctx) != nil {
			s.http.Close()
		}
	}()
	s.grpc.server.GracefulStop()
	<-httpDone
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}
