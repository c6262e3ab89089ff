package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// rule is what a system is told to enforce: limit per window by number, and by client where clientLimit is not 0.
type rule struct {
	limit, clientLimit int
	window             time.Duration
	keys               int  // how many keys its memory may hold; 0: 2 million
	leaky              bool // gubernator's other algorithm
}

// tenPerHalfHour is what is measured; envoyproxy/ratelimit knows hours only.
var tenPerHalfHour = rule{limit: 10, window: 30 * time.Minute}

// system is one contender.
type system struct {
	name    string
	program string // in .tools/peers, or looked for in PATH
	start   func(h *host, r rule) error
	dialect func(r rule) dialect
	redis   bool // it is asked in Redis' protocol, not by gRPC
	noRule  bool // a floor: it admits everything
}

// host is a system that runs: its processes and where it is asked.
type host struct {
	system     *system
	rule       rule
	dir        string
	addr       string // 127.0.0.1:port or unix:/path
	store      string // address of its Redis
	main       *process
	redis      *process
	again      func() error // starts main anew, as it was
	redisAgain func() error
	conns      []*grpc.ClientConn
	speak      dialect
}

// systems are all contenders, in the order of the report.
func systems() []*system {
	same := func(d dialect) func(rule) dialect { return func(rule) dialect { return d } }
	return []*system{
		{name: floorDefault, program: "floor", start: startFloor(), dialect: same(sendgateDialect), noRule: true},
		{name: floorOurs, program: "floor", start: startFloor("sidecar"), dialect: same(sendgateDialect), noRule: true},
		{name: ours, program: "sendgate", start: startSendgate(""), dialect: same(sendgateDialect)},
		{name: oursOneRule, program: "sendgate", start: startSendgate("one-rule"), dialect: same(sendgateDialect)},
		{name: oursRedis, program: "redis-server", start: startSendgate("redis"), dialect: same(sendgateDialect)},
		{name: "limitador, memory", program: "limitador-peer", start: startLimitador, dialect: same(limitadorDialect)},
		{name: "gubernator", program: "gubernator", start: startGubernator, dialect: gubernatorDialect},
		{name: "envoyproxy/ratelimit + Redis", program: "ratelimit", start: startEnvoyRatelimit, dialect: same(rlsDialect)},
		{name: "redis-cell", program: "libredis_cell.so", start: startRedisCell, redis: true},
	}
}

const (
	floorDefault = "empty handler"
	floorOurs    = "empty handler, our options"
	ours         = "Sendgate, default policy"
	oursOneRule  = "Sendgate, one rule"
	oursRedis    = "Sendgate, one rule on Redis"
)

// tools is the folder with the peers' programs, made by build.sh.
var tools string

// find is the path of a program; an error says that it was not built.
func find(program string) (string, error) {
	path := filepath.Join(tools, program)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	return exec.LookPath(program)
}

// open starts a system and waits until it answers. unix asks for a unix socket, which only ours and the floors have.
func open(s *system, r rule, unix bool) (*host, error) {
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		return nil, err
	}
	h := &host{system: s, rule: r, dir: dir}
	if unix {
		h.addr = "unix:" + filepath.Join(dir, "grpc.sock")
	} else if h.addr, err = freePort(); err != nil {
		return nil, err
	}
	if err := s.start(h, r); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", s.name, err), h.close())
	}
	if !s.redis {
		h.speak = s.dialect(r)
	}
	return h, h.connect()
}

// connect waits for the first answer.
func (h *host) connect() error {
	begin := time.Now()
	h.awaitSocket()
	if err := h.dial(); err != nil {
		return err
	}
	for {
		c := h.caller(0)
		_, err := c.ask(ask{number: "+6590000000", client: h.anyClient()})
		c.close()
		if err == nil {
			return nil
		}
		select {
		case <-h.main.exited:
			return fmt.Errorf("%s ended: %s", h.system.name, h.main.log.String())
		default:
		}
		if time.Since(begin) > 20*time.Second {
			h.main.end(os.Kill)
			return fmt.Errorf("%s does not answer: %w\n%s", h.system.name, err, h.main.log.String())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// awaitSocket returns when somebody listens, or after 20 s: a gRPC client that came too early would wait a second before it comes again.
func (h *host) awaitSocket() {
	network, address := "tcp", h.addr
	if path, ok := strings.CutPrefix(h.addr, "unix:"); ok {
		network, address = "unix", path
	}
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(time.Millisecond) {
		select {
		case <-h.main.exited:
			return
		default:
		}
		if c, err := net.Dial(network, address); err == nil {
			c.Close()
			return
		}
	}
}

// anyClient is a client that nobody else is, where the rule looks at clients.
func (h *host) anyClient() string {
	if h.rule.clientLimit == 0 {
		return ""
	}
	return "198.18.255.254"
}

const connections = 2 // shared by all callers, as a service does

func (h *host) dial() error {
	for _, c := range h.conns {
		c.Close()
	}
	h.conns = nil
	if h.system.redis {
		return nil
	}
	target := h.addr
	if !strings.HasPrefix(target, "unix:") {
		target = "passthrough:///" + target
	}
	for range connections {
		c, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy(),
			grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{}), grpc.WaitForReady(false)))
		if err != nil {
			return err
		}
		h.conns = append(h.conns, c)
	}
	return nil
}

func (h *host) processes() []*process {
	if h.redis != nil && h.redis != h.main {
		return []*process{h.main, h.redis}
	}
	return []*process{h.main}
}

func (h *host) cpu() (total time.Duration, err error) {
	for _, p := range h.processes() {
		used, err := p.cpu()
		if err != nil {
			return 0, err
		}
		total += used
	}
	return total, nil
}

func (h *host) resident() (total int64, err error) {
	for _, p := range h.processes() {
		n, err := p.resident()
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// restart ends the main process by a signal and starts it anew on what it left behind.
func (h *host) restart(s os.Signal) error {
	h.main.end(s)
	if err := h.again(); err != nil {
		return err
	}
	return h.connect()
}

func (h *host) close() error {
	for _, c := range h.conns {
		c.Close()
	}
	if h.main != nil {
		h.main.end(os.Interrupt)
	}
	if h.redis != nil {
		h.redis.end(os.Interrupt)
	}
	return os.RemoveAll(h.dir)
}

// run starts the main process and remembers how.
func (h *host) run(env []string, name string, args ...string) error {
	h.again = func() (err error) {
		h.main, err = spawn(h.dir, env, name, args...)
		return err
	}
	return h.again()
}

func startFloor(options ...string) func(*host, rule) error {
	return func(h *host, _ rule) error {
		program, err := find("floor")
		if err != nil {
			return err
		}
		return h.run(nil, program, append(options, h.addr)...)
	}
}

// startSendgate runs the sidecar: on its built-in policy, or on the rule alone without detection.
func startSendgate(how string) func(*host, rule) error {
	return func(h *host, r rule) error {
		program, err := find("sendgate")
		if err != nil {
			return err
		}
		args := []string{"serve", "--grpc", h.addr, "--http", "off", "--data", filepath.Join(h.dir, "data"), "--log-level", "error"}
		if how != "" || r != tenPerHalfHour {
			policy := fmt.Sprintf("version: 1\nlimits:\n  - {name: number, by: [number], limit: %d, window: %s}\n", r.limit, r.window)
			if r.clientLimit > 0 {
				policy += fmt.Sprintf("  - {name: client, by: [client], limit: %d, window: %s}\n", r.clientLimit, r.window)
			}
			if err := write(filepath.Join(h.dir, "policy.yaml"), policy+"detect: {level: off}\n"); err != nil {
				return err
			}
			args = append(args, "--policy", filepath.Join(h.dir, "policy.yaml"))
		}
		if r.keys > 0 {
			args = append(args, "--table-size", "4MiB")
		}
		if how == "redis" {
			if err := h.startRedis(); err != nil {
				return err
			}
			if err := write(filepath.Join(h.dir, "secret"), strings.Repeat("peers---", 4)); err != nil {
				return err
			}
			args = append(args, "--store", "redis://"+h.store, "--secret-file", filepath.Join(h.dir, "secret"))
		}
		return h.run(nil, program, args...)
	}
}

// startRedis starts a Redis without persistence, which is the fastest it can be.
func (h *host) startRedis(more ...string) (err error) {
	program, err := find("redis-server")
	if err != nil {
		return err
	}
	if h.store, err = freePort(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(h.store)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", h.dir}, more...)
	if h.rule.keys > 0 {
		args = append(args, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru")
	}
	h.redisAgain = func() (err error) {
		if h.redis, err = spawn(h.dir, nil, program, args...); err != nil {
			return err
		}
		for range 1000 {
			if c, err := net.Dial("tcp", h.store); err == nil {
				return c.Close()
			}
			time.Sleep(5 * time.Millisecond)
		}
		return errors.New("redis-server does not answer")
	}
	return h.redisAgain()
}

// restartRedis kills it and waits until the system has it back.
func (h *host) restartRedis() error {
	h.redis.end(os.Kill)
	if err := h.redisAgain(); err != nil {
		return err
	}
	c := h.caller(0)
	defer c.close()
	var err error
	for begin := time.Now(); time.Since(begin) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
		if _, err = c.ask(ask{number: probeNumber("redis is back")}); err == nil {
			return nil
		}
	}
	return err
}

func startRedisCell(h *host, r rule) error {
	module, err := find("libredis_cell.so")
	if err != nil {
		return err
	}
	if err := h.startRedis("--loadmodule", module); err != nil {
		return err
	}
	h.main, h.addr = h.redis, h.store
	h.again = func() error {
		err := h.redisAgain()
		h.main = h.redis
		return err
	}
	return nil
}

func startLimitador(h *host, r rule) error {
	program, err := find("limitador-peer")
	if err != nil {
		return err
	}
	keys := r.keys
	if keys == 0 {
		keys = 2_000_000
	}
	args := []string{h.addr, fmt.Sprint(keys), fmt.Sprintf("%d,%d", r.limit, r.clientLimit), fmt.Sprint(int(r.window.Seconds())), "number"}
	if r.clientLimit > 0 {
		args = append(args, "client")
	}
	return h.run(nil, program, args...)
}

func startGubernator(h *host, r rule) error {
	program, err := find("gubernator")
	if err != nil {
		return err
	}
	http, err := freePort()
	if err != nil {
		return err
	}
	peers, err := freePort()
	if err != nil {
		return err
	}
	keys := r.keys
	if keys == 0 {
		keys = 2_000_000
	}
	// It must know itself as a peer before it answers.
	return h.run([]string{"GUBER_GRPC_ADDRESS=" + h.addr, "GUBER_HTTP_ADDRESS=" + http, "GUBER_ADVERTISE_ADDRESS=" + h.addr,
		"GUBER_PEER_DISCOVERY_TYPE=member-list", "GUBER_MEMBERLIST_ADDRESS=" + peers, "GUBER_MEMBERLIST_BIND_ADDRESS=" + peers,
		"GUBER_MEMBERLIST_KNOWN_NODES=" + peers, "OTEL_TRACES_EXPORTER=none", "GUBER_LOG_LEVEL=error", fmt.Sprint("GUBER_CACHE_SIZE=", keys)}, program)
}

func startEnvoyRatelimit(h *host, r rule) error {
	program, err := find("ratelimit")
	if err != nil {
		return err
	}
	if err := h.startRedis(); err != nil {
		return err
	}
	unit := "hour"
	if r.window == time.Second {
		unit = "second"
	}
	config := fmt.Sprintf("domain: peers\ndescriptors:\n  - {key: number, rate_limit: {unit: %s, requests_per_unit: %d}}\n", unit, r.limit)
	if r.clientLimit > 0 {
		config += fmt.Sprintf("  - {key: client, rate_limit: {unit: %s, requests_per_unit: %d}}\n", unit, r.clientLimit)
	}
	if err := write(filepath.Join(h.dir, "runtime", "ratelimit", "config", "peers.yaml"), config); err != nil {
		return err
	}
	var ports [2]string
	for i := range ports {
		addr, err := freePort()
		if err != nil {
			return err
		}
		_, ports[i], _ = net.SplitHostPort(addr)
	}
	_, port, _ := net.SplitHostPort(h.addr)
	return h.run([]string{"USE_STATSD=false", "DISABLE_STATS=true", "LOG_LEVEL=error", "BACKEND_TYPE=redis", "REDIS_SOCKET_TYPE=tcp", "REDIS_URL=" + h.store,
		"RUNTIME_ROOT=" + filepath.Join(h.dir, "runtime"), "RUNTIME_SUBDIRECTORY=ratelimit", "RUNTIME_WATCH_ROOT=false",
		"HOST=127.0.0.1", "GRPC_HOST=127.0.0.1", "DEBUG_HOST=127.0.0.1", "GRPC_PORT=" + port, "PORT=" + ports[0], "DEBUG_PORT=" + ports[1]}, program)
}

// caller asks one check at a time.
type caller interface {
	ask(ask) (admitted bool, err error)
	close()
}

func (h *host) caller(i int) caller {
	if h.system.redis {
		return &redisCaller{addr: h.addr, rule: h.rule}
	}
	return &grpcCaller{conn: h.conns[i%len(h.conns)], speak: &h.speak}
}

// grpcCaller makes a call a check.
type grpcCaller struct {
	conn  *grpc.ClientConn
	speak *dialect
	out   []byte
}

const askTimeout = 5 * time.Second

func (c *grpcCaller) ask(a ask) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	in := c.speak.one(nil, a) // the transport may hold it after the call
	if err := c.conn.Invoke(ctx, c.speak.unary, &in, &c.out); err != nil {
		return false, err
	}
	return c.speak.admitted(c.out)
}

func (c *grpcCaller) close() {}
