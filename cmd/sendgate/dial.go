package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// keyEnv is the environment variable of an account's key, for the commands that ask a sidecar.
const keyEnv = "SENDGATE_KEY"

// dialFlags say where a sidecar is and how to speak to it. Keys never come from the command line, where others could read them.
type dialFlags struct {
	Addr    string        `help:"Where the sidecar listens: host:port or unix:/path (${default})." default:"127.0.0.1:7070" placeholder:"ADDR" env:"SENDGATE_ADDR"`
	CA      string        `name:"ca" help:"PEM file of the CA of the sidecar's certificate; turns TLS on." placeholder:"FILE" env:"SENDGATE_CA"`
	Cert    string        `help:"PEM file of a client certificate." placeholder:"FILE" env:"SENDGATE_CERT"`
	CertKey string        `help:"PEM file of its key." placeholder:"FILE" env:"SENDGATE_CERT_KEY"`
	Timeout time.Duration `help:"How long to wait for the answer (${default})." default:"5s" placeholder:"TIME"`
}

// ask connects and calls f, with a key where there is one.
func (d *dialFlags) ask(key string, f func(context.Context, *grpc.ClientConn) error) error {
	transport, err := d.transport()
	if err != nil {
		return err
	}
	// A sidecar is near: no proxy of the environment stands between.
	conn, err := grpc.NewClient(d.Addr, grpc.WithTransportCredentials(transport), grpc.WithNoProxy())
	if err != nil {
		return fmt.Errorf("--addr %s: write host:port or unix:/path", d.Addr)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), d.Timeout)
	defer cancel()
	if key != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
	}
	err = f(ctx, conn)
	if st, ok := status.FromError(err); ok && err != nil {
		return fmt.Errorf("%s: %s: %s", d.Addr, st.Code(), st.Message())
	}
	return err
}

func (d *dialFlags) transport() (credentials.TransportCredentials, error) {
	if d.CA == "" && d.Cert == "" && d.CertKey == "" {
		return insecure.NewCredentials(), nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if d.CA != "" {
		pem, err := readFile(d.CA)
		if err != nil {
			return nil, fmt.Errorf("--ca %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca %s: no certificate in PEM", d.CA)
		}
	}
	if d.Cert != "" || d.CertKey != "" {
		pair, err := tls.LoadX509KeyPair(d.Cert, d.CertKey)
		if err != nil {
			return nil, fmt.Errorf("--cert and --cert-key: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(config), nil
}

// operatorFlags are dialFlags and where the operator's key is.
type operatorFlags struct {
	dialFlags
	AdminKeyFile string `help:"File with the admin key, unless SENDGATE_ADMIN_KEY holds it (${default})." placeholder:"FILE" default:"data/admin.key" env:"SENDGATE_ADMIN_KEY_FILE"`
}

func (o *operatorFlags) ask(f func(context.Context, *grpc.ClientConn) error) error {
	key := os.Getenv(adminKeyEnv)
	if key == "" {
		file, err := os.Open(o.AdminKeyFile)
		switch {
		case err == nil:
			defer file.Close()
			if key, err = readKey(file); err != nil {
				return fmt.Errorf("admin key %s: %w", o.AdminKeyFile, err)
			}
		case o.Cert == "":
			return errors.Join(fmt.Errorf("admin key %s: %w: put the key into %s, name its file with --admin-key-file, or show a certificate with --cert",
				o.AdminKeyFile, reason(err), adminKeyEnv))
		}
	}
	return o.dialFlags.ask(key, f)
}
