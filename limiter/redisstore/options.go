package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/redis/rueidis"
)

// Clock says whose time a check is judged by.
type Clock uint8

const (
	// ServersClock is the server's TIME; see the package comment for a Cluster. It is the default.
	ServersClock Clock = iota
	// CallersClock is the reading that a caller gives, as in an embedded table. It is for one caller with a clock of its own,
	// such as a test: sidecars whose clocks differ by d make a window shorter by d.
	CallersClock
)

// SecretSize is how many bytes Options.Secret has.
const SecretSize = 32

// Options of a store. The zero value of every field but Secret is usable.
type Options struct {
	// Addrs are host:port of servers, or one path of a unix socket: a server, some nodes of a Cluster, or Sentinels if Sentinel
	// is set. Default: 127.0.0.1:6379.
	Addrs []string
	Unix  bool
	// Sentinel is the name of the primary that Sentinels watch.
	Sentinel string
	Database int // not in a Cluster
	TLS      *tls.Config
	Username string
	// Password is asked for at each connect, so that it can change without a restart. Nil for none.
	Password func() (string, error)
	// SentinelUsername and SentinelPassword are those of the Sentinels, which know no others. Nil for none.
	SentinelUsername string
	SentinelPassword func() (string, error)
	// Prefix begins every key: 1 to 32 letters, digits, '-', '_', ':' or '.'. Default "sg".
	Prefix string
	// Secret keys the hashes in the names of keys: SecretSize bytes, the same in every sidecar. Another secret is another set of
	// counters.
	Secret []byte
	Clock  Clock
	// Slack is how far in a Cluster a reading may lie from a server's own time, and how much longer than it means something a
	// value is kept: 0 means 250ms.
	Slack time.Duration
	// Timeout bounds a command with all its retries, from call to answer: 0 means 100ms. The deadline of ctx does so as well.
	Timeout time.Duration
	// Near is for how long a denial may be answered without asking the server: 0 means 10s, less than 0 never. The server tells
	// when what it rests on changes.
	Near time.Duration
	// Connections to each server: 0 means 1, which lets the most commands share a write. A power of two up to 16.
	Connections int
	Log         *slog.Logger // nil for none
}

// ParseURL reads where a store is: redis://[user@]host:port[/database][?addr=host:port...][&master_set=NAME], rediss:// for
// TLS, unix:///path?db=N. A password does not belong there, where other users of the machine can read it.
func ParseURL(s string) (Options, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Options{}, errors.New("redisstore: the address is no URL: write redis://host:6379, rediss://host:6379 or unix:///path")
	}
	if _, ok := u.User.Password(); ok {
		return Options{}, errors.New("redisstore: the address has a password, which others can read: give it by a file or the environment")
	}
	c, err := rueidis.ParseURL(s)
	if err != nil {
		return Options{}, fmt.Errorf("redisstore: address %q: %w: write redis://host:6379, rediss://host:6379 or unix:///path", s, err)
	}
	return Options{Addrs: c.InitAddress, Unix: u.Scheme == "unix", Sentinel: c.Sentinel.MasterSet, Database: c.SelectDB, TLS: c.TLSConfig, Username: c.Username}, nil
}

func (o *Options) complete() error {
	if len(o.Secret) != SecretSize {
		return fmt.Errorf("redisstore: the secret is %d bytes: give %d, the same in every sidecar", len(o.Secret), SecretSize)
	}
	if o.Prefix == "" {
		o.Prefix = "sg"
	}
	if len(o.Prefix) > 32 {
		return fmt.Errorf("redisstore: prefix %q: write at most 32 characters", o.Prefix)
	}
	for _, c := range []byte(o.Prefix) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == ':' || c == '.') {
			return fmt.Errorf("redisstore: prefix %q: write letters, digits, '-', '_', ':' or '.'", o.Prefix)
		}
	}
	if o.Connections < 0 || o.Connections > 16 || o.Connections&(o.Connections-1) != 0 {
		return fmt.Errorf("redisstore: %d connections: write 1, 2, 4, 8 or 16", o.Connections)
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		usual    time.Duration
		from, to time.Duration
	}{
		{"slack", &o.Slack, 250 * time.Millisecond, time.Millisecond, time.Hour},
		{"timeout", &o.Timeout, 100 * time.Millisecond, time.Millisecond, time.Minute},
		{"near", &o.Near, 10 * time.Second, -1 << 62, time.Hour},
	} {
		if *d.value == 0 {
			*d.value = d.usual
		}
		if *d.value < d.from || *d.value > d.to {
			return fmt.Errorf("redisstore: %s %v: write %v to %v", d.name, *d.value, d.from, d.to)
		}
	}
	if len(o.Addrs) == 0 {
		o.Addrs = []string{"127.0.0.1:6379"}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// client is how rueidis is asked for connections.
func (o *Options) client(dropped func([]rueidis.RedisMessage)) rueidis.ClientOption {
	multiplex := -1 // one connection
	for n := o.Connections; n > 1; n /= 2 {
		multiplex = max(multiplex, 0) + 1
	}
	c := rueidis.ClientOption{
		InitAddress: o.Addrs,
		SelectDB:    o.Database,
		TLSConfig:   o.TLS,
		Username:    o.Username,
		ClientName:  "sendgate",
		Sentinel: rueidis.SentinelOption{MasterSet: o.Sentinel, TLSConfig: o.TLS, TopologyRefreshInterval: 5 * time.Second,
			Username: o.SentinelUsername, Dialer: net.Dialer{Timeout: time.Second, KeepAlive: sentinelKeepAlive}},
		PipelineMultiplex: multiplex,
		// A caller's deadline must not cost a connection that others wait on.
		AlwaysPipelining: true,
		// Commands of callers that come together share a write: a tenth of the processor time, here and on the server.
		MaxFlushDelay: 20 * time.Microsecond,
		// Whether to try again is decided here, by deadline and token.
		DisableRetry: true,
		// A connection that answers nothing for so long is given up and made anew.
		ConnWriteTimeout:  max(time.Second, 2*o.Timeout),
		CacheSizeEachConn: 4 << 20,
		DisableCache:      o.Near < 0,
		OnInvalidations:   dropped,
		// Small buffers are enough: commands and answers are some hundred bytes.
		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,
		ClusterOption:       rueidis.ClusterOption{ShardsRefreshInterval: 5 * time.Second, MaxMovedRedirections: 4},
		Dialer:              net.Dialer{Timeout: time.Second, KeepAlive: time.Second},
	}
	if o.Unix {
		c.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
		c.ForceSingleClient = true
	}
	if o.Near < 0 {
		c.OnInvalidations = nil
	}
	if o.Sentinel != "" {
		c.DialCtxFn = dialMarked
	}
	if o.Password != nil || o.SentinelPassword != nil {
		c.AuthCredentialsFn = o.credentials
	}
	return c
}

// credentials are asked for at each connect, to a server or a Sentinel.
func (o *Options) credentials(to rueidis.AuthCredentialsContext) (c rueidis.AuthCredentials, err error) {
	ask := o.Password
	c.Username = o.Username
	if _, ok := to.Address.(sentinelAddr); ok {
		ask, c.Username = o.SentinelPassword, o.SentinelUsername
	}
	if ask != nil {
		c.Password, err = ask()
	}
	return c, err
}

// sentinelKeepAlive marks the dialer for Sentinels: rueidis asks for credentials by nothing but the address of a connection, and
// which addresses are Sentinels only their dialer knows.
const sentinelKeepAlive = 2 * time.Second

type sentinelConn struct{ net.Conn }

type sentinelAddr struct{ net.Addr }

func (c sentinelConn) RemoteAddr() net.Addr { return sentinelAddr{c.Conn.RemoteAddr()} }

// dialMarked dials as rueidis does, and marks connections to Sentinels.
func dialMarked(ctx context.Context, addr string, d *net.Dialer, t *tls.Config) (conn net.Conn, err error) {
	if t != nil {
		conn, err = (&tls.Dialer{NetDialer: d, Config: t}).DialContext(ctx, "tcp", addr)
	} else {
		conn, err = d.DialContext(ctx, "tcp", addr)
	}
	if err == nil && d.KeepAlive == sentinelKeepAlive {
		conn = sentinelConn{conn}
	}
	return conn, err
}
