package main

import (
	"crypto/tls"
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
	Store                     string        `help:"Where counters, consent and what sidecars share are: file (in the data directory), or a Redis or Valkey server that other sidecars share: redis://[user@]host:port[/db][?addr=host:port...][&master_set=NAME], rediss:// for TLS, unix:///path (${default})." placeholder:"URL" default:"file" env:"SENDGATE_STORE"`
	StorePasswordFile         string        `help:"File of the server's password, read at each connect. Default: SENDGATE_STORE_PASSWORD in the environment, if set." placeholder:"FILE" env:"SENDGATE_STORE_PASSWORD_FILE"`
	StoreCA                   string        `name:"store-ca" help:"PEM file of who may vouch for the server, with rediss://. Default: the system's." placeholder:"FILE" env:"SENDGATE_STORE_CA"`
	StoreCert                 string        `name:"store-cert" help:"PEM file of the certificate to show the server, with rediss://. Read at each connect, as its key." placeholder:"FILE" env:"SENDGATE_STORE_CERT"`
	StoreKey                  string        `name:"store-key" help:"PEM file of its private key." placeholder:"FILE" env:"SENDGATE_STORE_KEY"`
	StoreSentinelUser         string        `help:"The user at the Sentinels, where they want one." placeholder:"NAME" env:"SENDGATE_STORE_SENTINEL_USER"`
	StoreSentinelPasswordFile string        `help:"File of the Sentinels' password. Default: SENDGATE_STORE_SENTINEL_PASSWORD in the environment, if set." placeholder:"FILE" env:"SENDGATE_STORE_SENTINEL_PASSWORD_FILE"`
	StorePrefix               string        `help:"What the names of keys on the server begin with (${default})." placeholder:"TEXT" default:"sg" env:"SENDGATE_STORE_PREFIX"`
	StoreTimeout              time.Duration `help:"How long a check may wait for the server, retries and all (${default})." placeholder:"TIME" default:"100ms" env:"SENDGATE_STORE_TIMEOUT"`
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
	o.Secret, o.Prefix, o.Timeout, o.Log = secret, c.StorePrefix, c.StoreTimeout, log
	o.Password = passwordOf("the store", c.StorePasswordFile, "SENDGATE_STORE_PASSWORD")
	o.SentinelUsername, o.SentinelPassword = c.StoreSentinelUser, passwordOf("the Sentinels", c.StoreSentinelPasswordFile, "SENDGATE_STORE_SENTINEL_PASSWORD")
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
	if c.StoreCert != "" || c.StoreKey != "" {
		if o.TLS == nil {
			return nil, time.Time{}, errors.New("--store-cert: there is no TLS without rediss:// in --store")
		}
		if err := c.clientCertificate(o.TLS); err != nil {
			return nil, time.Time{}, err
		}
	}
	if c.ClockSpeed != 1 {
		o.Clock = redisstore.CallersClock
	}
	for _, ask := range []func() (string, error){o.Password, o.SentinelPassword} {
		if ask != nil {
			if _, err := ask(); err != nil {
				return nil, time.Time{}, err
			}
		}
	}
	store, err := redisstore.Open(o)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("--store: %w", err)
	}
	return store, time.Time{}, nil
}

// clientCertificate shows the server who this is. The files are read at each connect: a certificate may have been renewed since.
func (f *storeFlags) clientCertificate(t *tls.Config) error {
	read := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(f.StoreCert, f.StoreKey)
		if err != nil {
			return nil, fmt.Errorf("--store-cert %s, --store-key %s: %w: give both, as PEM", f.StoreCert, f.StoreKey, reason(err))
		}
		return &cert, nil
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() }
	_, err := read()
	return err
}

// passwordOf is asked for at each connect: a file may have changed since. Nil for none.
func passwordOf(whose, file, variable string) func() (string, error) {
	if file == "" {
		password := os.Getenv(variable)
		if password == "" {
			return nil
		}
		return func() (string, error) { return password, nil }
	}
	return func() (string, error) {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("password of %s %s: %w", whose, file, reason(err))
		}
		password := strings.TrimRight(string(b), "\r\n")
		if password == "" {
			return "", fmt.Errorf("password of %s %s: the file is empty", whose, file)
		}
		return password, nil
	}
}
