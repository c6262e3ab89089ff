package identity

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sendgate/sendgate/policy"
)

// Options of New.
type Options struct {
	// Getenv and ReadFile are os.Getenv and os.ReadFile. Required.
	Getenv   func(string) string
	ReadFile func(string) ([]byte, error)
	// AdminKeyEnv is the environment variable of an admin key. Optional.
	AdminKeyEnv string
	// AdminKeyFile has admin keys, one a line, each with the name of who holds it before it. Optional.
	AdminKeyFile string
	// AdminIdentities are names in client certificates, as in accounts.NAME.identities of a policy. Optional.
	AdminIdentities []string
}

// Owner is who a key or certificate belongs to: an account, or an operator.
type Owner struct {
	Account string // "" for an operator
	Admin   bool
	Name    string // of an operator, where it is known
}

// Book knows keys and certificates. Every method is safe for concurrent use.
type Book struct {
	options Options
	secret  [sha256.Size]byte
	loading sync.Mutex
	set     atomic.Pointer[set]
}

// set is all that is known, at one time.
type set struct {
	keys   map[[sha256.Size]byte]Owner
	names  map[string]Owner // by canonical name in a certificate
	asked  bool             // some account has a key or an identity
	source [sha256.Size]byte
}

// New makes a book that knows nobody.
func New(o Options) *Book {
	b := &Book{options: o}
	rand.Read(b.secret[:])
	b.set.Store(&set{source: sha256.Sum256(nil)}) // so that loading nothing changes nothing
	return b
}

// Asked says whether callers are asked who they are: some account has a key or an identity.
func (b *Book) Asked() bool { return b.set.Load().asked }

// Version changes, in ==, with what the book knows. Who remembers an answer asks again when it did.
func (b *Book) Version() any { return b.set.Load() }

// Key finds the owner of an API key.
func (b *Book) Key(key string) (Owner, bool) {
	owner, ok := b.set.Load().keys[b.seal(sha256.Sum256([]byte(key)))]
	return owner, ok
}

// seal is what is kept of a key. Nobody outside can steer its bits, so a lookup by them tells nothing by its time.
func (b *Book) seal(sum [sha256.Size]byte) (sealed [sha256.Size]byte) {
	mac := hmac.New(sha256.New, b.secret[:])
	mac.Write(sum[:])
	mac.Sum(sealed[:0])
	return sealed
}

// Certificate finds the owner of a client certificate, which the caller has verified: by its SPIFFE ID, else by its whole
// subject.
func (b *Book) Certificate(c *x509.Certificate) (Owner, bool) {
	s := b.set.Load()
	for _, name := range namesOf(c) {
		if owner, ok := s.names[name]; ok {
			return owner, true
		}
	}
	return Owner{}, false
}

// Load reads what the accounts of a policy name, and the admin keys, again. The next lookup sees all of it. On an error, which
// tells all that is wrong, the book stays as it was. It reports whether anything changed.
func (b *Book) Load(accounts map[string]*policy.Account) (changed bool, err error) {
	b.loading.Lock()
	defer b.loading.Unlock()
	next, err := b.read(accounts)
	if err != nil {
		return false, err
	}
	return b.put(next), nil
}

// Ready is Load in two steps, for who has more to change at once: put makes what was read count, and cannot fail. asked is what
// Asked will say.
func (b *Book) Ready(accounts map[string]*policy.Account) (put func() (changed bool), asked bool, err error) {
	next, err := b.read(accounts)
	if err != nil {
		return nil, false, err
	}
	return func() bool {
		b.loading.Lock()
		defer b.loading.Unlock()
		return b.put(next)
	}, next.asked, nil
}

func (b *Book) put(next *set) (changed bool) {
	if b.set.Load().source == next.source {
		return false
	}
	b.set.Store(next)
	return true
}

func (b *Book) read(accounts map[string]*policy.Account) (*set, error) {
	r := reader{book: b, set: &set{keys: make(map[[sha256.Size]byte]Owner), names: make(map[string]Owner)}, hash: sha256.New()}
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		r.account(name, accounts[name])
	}
	r.set.asked = len(r.set.keys)+len(r.set.names) > 0 || r.promised
	r.admins(&b.options)
	if len(r.problems) > 0 {
		return nil, errors.Join(r.problems...)
	}
	r.hash.Sum(r.set.source[:0])
	return r.set, nil
}

// Files are the files that Load reads for these accounts.
func (b *Book) Files(accounts map[string]*policy.Account) []string {
	var files []string
	for _, name := range slices.Sorted(maps.Keys(accounts)) {
		files = append(files, accounts[name].KeysFromFile...)
	}
	if f := b.options.AdminKeyFile; f != "" {
		files = append(files, f)
	}
	return files
}

// reader builds a set and collects what is wrong.
type reader struct {
	book     *Book
	set      *set
	promised bool // an account names a source of keys, even if that is empty now
	problems []error
	hash     interface {
		Write([]byte) (int, error)
		Sum([]byte) []byte
	}
}

func (r *reader) bad(where, format string, args ...any) {
	r.problems = append(r.problems, fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
}

func (r *reader) account(name string, a *policy.Account) {
	where, owner := "accounts."+name, Owner{Account: name}
	for _, hashed := range a.Keys {
		r.key(where+".keys", hashed, owner)
	}
	for _, env := range a.KeysFromEnv {
		if key := r.book.options.Getenv(env); key == "" {
			r.bad(where+".keys_from_env", "the environment variable %s is not set", env)
		} else {
			r.key(where+".keys_from_env: "+env, key, owner)
		}
	}
	for _, file := range a.KeysFromFile {
		r.promised = true
		r.file(where+".keys_from_file", file, func(at, line string) { r.key(at, line, owner) })
	}
	for _, identity := range a.Identities {
		r.identity(where+".identities", identity, owner)
	}
}

func (r *reader) admins(o *Options) {
	if o.AdminKeyEnv != "" {
		if key := o.Getenv(o.AdminKeyEnv); key != "" {
			r.key(o.AdminKeyEnv, key, Owner{Admin: true})
		}
	}
	if o.AdminKeyFile != "" {
		r.file("admin key file", o.AdminKeyFile, func(at, line string) {
			fields := strings.Fields(line)
			switch len(fields) {
			case 1:
				r.key(at, fields[0], Owner{Admin: true})
			case 2:
				r.key(at, fields[1], Owner{Admin: true, Name: fields[0]})
			default:
				r.bad(at, "write a key, or a name and a key")
			}
		})
	}
	for _, identity := range o.AdminIdentities {
		r.identity("admin identity", identity, Owner{Admin: true, Name: identity})
	}
}

// file hands over the lines of a file that say something.
func (r *reader) file(where, file string, line func(at, text string)) {
	src, err := r.book.options.ReadFile(file)
	if err != nil {
		r.bad(where, "%w", err)
		return
	}
	n := 0
	for text := range bytes.Lines(src) {
		n++
		if text = bytes.TrimSpace(text); len(text) > 0 && text[0] != '#' {
			line(fmt.Sprintf("%s: %s:%d", where, file, n), string(text))
		}
	}
}

// key takes a key, plain or hashed.
func (r *reader) key(where, text string, owner Owner) {
	sum := sha256.Sum256([]byte(text))
	if strings.HasPrefix(text, hashPrefix) {
		var err error
		if sum, err = parseHash(text); err != nil {
			r.bad(where, "%w", err)
			return
		}
	} else if err := CheckKey(text); err != nil {
		r.bad(where, "%w", err)
		return
	}
	sealed := r.book.seal(sum)
	if known, taken := r.set.keys[sealed]; taken && known != owner {
		r.bad(where, "this key is also that of %s: make another with sendgate keys new", known)
		return
	}
	r.set.keys[sealed] = owner
	fmt.Fprintf(r.hash, "%x %+v\n", sealed, owner)
}

func (r *reader) identity(where, text string, owner Owner) {
	name, err := canonicalName(text)
	if err != nil {
		r.bad(where, "%w", err)
		return
	}
	if known, taken := r.set.names[name]; taken && known != owner {
		r.bad(where, "%s is also that of %s: name each certificate once", text, known)
		return
	}
	r.set.names[name] = owner
	fmt.Fprintf(r.hash, "%q %+v\n", name, owner)
}

// String says who it is, for people.
func (o Owner) String() string {
	switch {
	case o.Admin && o.Name != "":
		return "operator " + o.Name
	case o.Admin:
		return "an operator"
	}
	return "account " + o.Account
}
