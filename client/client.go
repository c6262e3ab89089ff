package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

// FailMode is what a check says when the gate cannot answer.
type FailMode uint8

// The fail modes.
const (
	FailOpen   FailMode = iota // ALLOW: messages go out uncounted
	FailClosed                 // DENY: no message goes out
)

// Options of New. The zero value is right for a sidecar on the same machine.
type Options struct {
	// APIKey names the caller to the gate. Empty: none is sent.
	APIKey string
	// TLS is used if it is not nil. A certificate in it names the caller as well.
	TLS *tls.Config
	// ClearText allows the APIKey to leave this machine without TLS.
	ClearText bool
	// Timeout bounds a call, all tries together; a batch gets 100 us more for each item. Default: 250 ms.
	Timeout time.Duration
	// Tries is how often a call is tried at most, 1 to 10. Default: 3.
	Tries int
	// FailMode is what a check says when the gate cannot answer. Default: FailOpen.
	FailMode FailMode
	// OnUnanswered is told the cause of each check that the gate did not answer: count it, as failing open looks like success.
	// It is called on the caller's goroutine.
	OnUnanswered func(error)
	// DialOptions are added to those of the connection: for tracing, for tests.
	DialOptions []grpc.DialOption
}

const (
	defaultTimeout = 250 * time.Millisecond
	perItem        = 100 * time.Microsecond
	defaultTries   = 3
	maxTries       = 10
	maxMessage     = 16 << 20 // bytes of the answer to a batch of 10,000, with room for signals
)

// Client asks one gate over one connection. All its methods may be called concurrently.
type Client struct {
	conn    *grpc.ClientConn
	gate    sendgatev1.SendGateServiceClient
	health  healthgrpc.HealthClient
	retries retries
	o       Options
}

// New makes a client for a gate at host:port, unix:/path, or any target that grpc knows, such as dns:///host:port. It does not
// wait for the connection, which is made, and made again, in the background. Close it in the end.
func New(addr string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	switch {
	case o.Timeout < 0:
		return nil, fmt.Errorf("sendgate: Options.Timeout %v: must be more than 0", o.Timeout)
	case o.Tries < 1 || o.Tries > maxTries:
		return nil, fmt.Errorf("sendgate: Options.Tries %d: must be 1 to %d", o.Tries, maxTries)
	case o.FailMode > FailClosed:
		return nil, fmt.Errorf("sendgate: Options.FailMode %d: must be FailOpen or FailClosed", o.FailMode)
	case strings.ContainsFunc(o.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, errors.New("sendgate: Options.APIKey: must be printable ASCII without spaces: is there a newline at its end?")
	}
	local, err := readAddr(addr)
	if err != nil {
		return nil, err
	}
	dial := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(), // a sidecar is near: no proxy of the environment stands between
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(), // ours knows what is left of the time
		grpc.WithUserAgent("sendgate-go"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		// grpc's own waits a second before it connects again: a gate that restarts is back sooner.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: time.Second,
		}),
		// A connection whose other end is gone without a word is noticed by the next call, and not a quarter of an hour later. Only
		// while calls are open: a server allows no more.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: time.Second}),
	}
	if o.TLS != nil {
		dial = append(dial, grpc.WithTransportCredentials(credentials.NewTLS(o.TLS)))
	}
	if o.APIKey != "" {
		if o.TLS == nil && !local && !o.ClearText {
			return nil, errors.New("sendgate: Options.APIKey would leave this machine in clear text: set Options.TLS, or ClearText if the network is yours")
		}
		dial = append(dial, grpc.WithPerRPCCredentials(bearer{"authorization": "Bearer " + o.APIKey}))
	}
	conn, err := grpc.NewClient(addr, append(dial, o.DialOptions...)...)
	if err != nil {
		return nil, fmt.Errorf("sendgate: %w", err)
	}
	conn.Connect()
	return &Client{conn: conn, gate: sendgatev1.NewSendGateServiceClient(conn), health: healthgrpc.NewHealthClient(conn), o: o}, nil
}

// readAddr tells whether an address is on this machine.
func readAddr(addr string) (local bool, err error) {
	if strings.HasPrefix(addr, "unix:") && len(addr) > len("unix:") {
		return true, nil
	}
	if strings.Contains(addr, ":///") {
		return false, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return false, fmt.Errorf("sendgate: address %q: write host:port or unix:/path", addr)
	}
	ip, _ := netip.ParseAddr(host)
	return host == "localhost" || ip.IsLoopback(), nil
}

// bearer is the metadata that carries the API key.
type bearer map[string]string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return b, nil
}

// RequireTransportSecurity is false: New has seen to it.
func (b bearer) RequireTransportSecurity() bool { return false }

// Close ends the connection, and with it what is under way.
func (c *Client) Close() error { return c.conn.Close() }

// Ping asks the gate whether it is ready to answer. It tries once, within Options.Timeout, and waits for the connection if
// there is none yet.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	service := sendgatev1.SendGateService_ServiceDesc.ServiceName
	answer, err := c.health.Check(ctx, &healthgrpc.HealthCheckRequest{Service: service}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("sendgate: %w", err)
	}
	if answer.Status != healthgrpc.HealthCheckResponse_SERVING {
		return fmt.Errorf("sendgate: the gate says that it is %v", answer.Status)
	}
	return nil
}
