package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sendgate/sendgate/internal/identity"
	"github.com/sendgate/sendgate/policy"
	"github.com/sendgate/sendgate/server"
)

// adminKeyEnv is the environment variable of the operator's key, for serve and for the commands that ask it.
const adminKeyEnv = "SENDGATE_ADMIN_KEY"

// identityFlags are the part of serve that is about who may come in.
type identityFlags struct {
	TLSCert        string   `name:"tls-cert" help:"PEM file of the certificate chain of TCP listeners. It may be replaced while this runs." placeholder:"FILE" env:"SENDGATE_TLS_CERT"`
	TLSKey         string   `name:"tls-key" help:"PEM file of its key." placeholder:"FILE" env:"SENDGATE_TLS_KEY"`
	TLSClientCA    string   `name:"tls-client-ca" help:"PEM file of the CA of client certificates. It may be replaced while this runs." placeholder:"FILE" env:"SENDGATE_TLS_CLIENT_CA"`
	AdminKeyFile   string   `help:"File of operators' keys, one a line, each with a name before it. Default: admin.key in the data directory, made at the first start, unless SENDGATE_ADMIN_KEY holds a key." placeholder:"FILE" env:"SENDGATE_ADMIN_KEY_FILE"`
	AdminIdentity  []string `help:"SPIFFE ID or subject of an operator's client certificate. May be given several times; in the environment separated by semicolons." placeholder:"NAME" sep:";" env:"SENDGATE_ADMIN_IDENTITY"`
	SocketMode     fileMode `help:"Mode of unix sockets (${default})." placeholder:"MODE" default:"0660" env:"SENDGATE_SOCKET_MODE"`
	InsecureListen bool     `help:"Listen beyond loopback though callers are not asked who they are, or their keys travel in the clear." env:"SENDGATE_INSECURE_LISTEN"`
}

func (f *identityFlags) validate() error {
	switch {
	case (f.TLSCert == "") != (f.TLSKey == ""):
		return errors.New("--tls-cert and --tls-key belong together: give both")
	case f.TLSClientCA != "" && f.TLSCert == "":
		return errors.New("--tls-client-ca needs --tls-cert and --tls-key")
	}
	return nil
}

// open reads who may come in. data is where the operator's key is made if there is none.
func (f *identityFlags) open(data string, p *policy.Policy) (*identity.Book, *server.TLS, error) {
	if f.AdminKeyFile == "" && os.Getenv(adminKeyEnv) == "" {
		f.AdminKeyFile = adminKeyFile(data)
		if err := makeAdminKey(f.AdminKeyFile); err != nil {
			return nil, nil, fmt.Errorf("make the operator's key %s: %w", f.AdminKeyFile, reason(err))
		}
	}
	book := identity.New(identity.Options{Getenv: os.Getenv, ReadFile: os.ReadFile, AdminKeyEnv: adminKeyEnv,
		AdminKeyFile: f.AdminKeyFile, AdminIdentities: f.AdminIdentity})
	if _, err := book.Load(p.Accounts); err != nil {
		return nil, nil, err
	}
	if f.TLSCert == "" {
		return book, nil, nil
	}
	tls, err := server.NewTLS(server.TLSFiles{Cert: f.TLSCert, Key: f.TLSKey, ClientCA: f.TLSClientCA}, book.Asked)
	return book, tls, err
}

func adminKeyFile(data string) string { return filepath.Join(data, "admin.key") }

// makeAdminKey makes a file with a key in it, unless it is there.
func makeAdminKey(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return makeFile(file, []byte("# The operator's key, made at the first start. One a line, a name may stand before it: alice sgk_...\n"+identity.NewKey()+"\n"))
}

// refuse is why not to listen here: somebody beyond this machine could spend, or read the key of somebody who may.
func (f *identityFlags) refuse(asked bool, listeners ...net.Listener) error {
	identified, encrypted := asked || f.TLSClientCA != "", f.TLSCert != ""
	if f.InsecureListen || identified && encrypted {
		return nil
	}
	for _, l := range listeners {
		if l == nil || isLocal(l) {
			continue
		}
		var lacks []string
		if !identified {
			lacks = append(lacks, "callers are not asked who they are (give accounts keys or identities in the policy, or --tls-client-ca)")
		}
		if !encrypted {
			lacks = append(lacks, "nothing is encrypted (give --tls-cert and --tls-key)")
		}
		return fmt.Errorf("listen on %s: others than this machine can reach it, and %s; else listen on 127.0.0.1 or unix:/path, or say --insecure-listen",
			address(l), strings.Join(lacks, " and "))
	}
	return nil
}

func isLocal(l net.Listener) bool {
	tcp, ok := l.Addr().(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

// announce says who may come in.
func (f *identityFlags) announce(log *slog.Logger, book *identity.Book, tls *server.TLS, listeners ...net.Listener) {
	switch {
	case book.Asked():
		log.Info("callers are asked for the key or certificate of an account")
	case f.TLSClientCA != "":
		log.Info("callers are asked for a client certificate; they may name any account")
	default:
		log.Info("callers are not asked who they are: the policy names no keys. Whoever reaches a loopback port or a socket may check and spend")
	}
	source := adminKeyEnv
	if f.AdminKeyFile != "" {
		source = f.AdminKeyFile
	}
	log.Info("operators are asked for an admin key", "keys", source)
	if tls != nil {
		log.Info("tls", "certificate", f.TLSCert, "expires", tls.Expires(), "client_ca", f.TLSClientCA)
	}
	for _, l := range listeners {
		if l != nil && !isLocal(l) && f.refuseWithoutFlag(book, l) != nil {
			log.Warn("--insecure-listen: others than this machine can reach this port, and may spend or read keys", "addr", address(l))
		}
	}
}

func (f *identityFlags) refuseWithoutFlag(book *identity.Book, l net.Listener) error {
	strict := *f
	strict.InsecureListen = false
	return strict.refuse(book.Asked(), l)
}

// fileMode is the permissions of a file, in octal.
type fileMode fs.FileMode

// UnmarshalText reads octal digits.
func (m *fileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 8, 9)
	if err != nil {
		return fmt.Errorf("%q is not a file mode: write octal digits, such as 0660", text)
	}
	*m = fileMode(n)
	return nil
}
