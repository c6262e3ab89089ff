package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/sendgate/sendgate/limiter"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// storeFlags say where the counters are.
type storeFlags struct {
	Store             string        `help:"Where the counters are: file (in the data directory), or a Redis or Valkey server that other sidecars share: redis://[user@]host:port[/db][?addr=host:port...][&master_set=NAME], rediss:// for TLS, unix:///path (${default})." placeholder:"URL" default:"file" env:"SENDGATE_STORE"`
	StorePasswordFile string        `help:"File of the server's password, read at each connect. Default: SENDGATE_STORE_PASSWORD in the environment, if set." placeholder:"FILE" env:"SENDGATE_STORE_PASSWORD_FILE"`
	StoreCA           string        `name:"store-ca" help:"PEM file of who may vouch for the server, with rediss://. Default: the system's." placeholder:"FILE" env:"SENDGATE_STORE_CA"`
	StorePrefix       string        `help:"What the names of keys on the server begin with (${default})." placeholder:"TEXT" default:"sg" env:"SENDGATE_STORE_PREFIX"`
	StoreTimeout      time.Duration `help:"How long a check may wait for the server, retries and all (${default})." placeholder:"TIME" default:"100ms" env:"SENDGATE_STORE_TIMEOUT"`
}

// shared says that other sidecars have the same counters.
func (f *storeFlags) shared() bool { return f.Store != "file" }

// openStore opens the counters, and says which time they have seen: zero where a server keeps it.
func (c *serveCommand) openStore(secret []byte, log *slog.Logger) (limiter.Store, time.Time, error) {
	if !c.shared() {
		table, err := limiter.Open(limiter.Options{Path: c.table(), Size: int64(c.TableSize), Secret: secret})
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("counters %s: %w", c.table(), err)
		}
		return table, table.Newest(), nil
	}
	if c.SecretFile == "" {
		return nil, time.Time{}, errors.New("--store: sidecars that share counters share their secret: give all of them the same file with --secret-file")
	}
	o, err := redisstore.ParseURL(c.Store)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("--store: %w", err)
	}
	o.Secret, o.Prefix, o.Timeout, o.Log, o.Password = secret, c.StorePrefix, c.StoreTimeout, log, c.password()
	if c.StoreCA != "" {
		if o.TLS == nil {
			return nil, time.Time{}, errors.New("--store-ca: there is no TLS without rediss:// in --store")
		}
		pem, err := os.ReadFile(c.StoreCA)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("--store-ca %s: %w", c.StoreCA, reason(err))
		}
		o.TLS.RootCAs = x509.NewCertPool()
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, time.Time{}, fmt.Errorf("--store-ca %s: there is no certificate in it: write PEM", c.StoreCA)
		}
	}
	if c.ClockSpeed != 1 {
		o.Clock = redisstore.CallersClock
	}
	if o.Password != nil {
		if _, err := o.Password(); err != nil {
			return nil, time.Time{}, err
		}
	}
	store, err := redisstore.Open(o)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("--store: %w", err)
	}
	return store, time.Time{}, nil
}

// password is asked for at each connect: a file may have changed since. Nil for none.
func (f *storeFlags) password() func() (string, error) {
	if f.StorePasswordFile == "" {
		password := os.Getenv("SENDGATE_STORE_PASSWORD")
		if password == "" {
			return nil
		}
		return func() (string, error) { return password, nil }
	}
	return func() (string, error) {
		b, err := os.ReadFile(f.StorePasswordFile)
		if err != nil {
			return "", fmt.Errorf("password of the store %s: %w", f.StorePasswordFile, reason(err))
		}
		password := strings.TrimRight(string(b), "\r\n")
		if password == "" {
			return "", fmt.Errorf("password of the store %s: the file is empty", f.StorePasswordFile)
		}
		return password, nil
	}
}
