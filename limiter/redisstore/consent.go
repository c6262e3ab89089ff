package redisstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/sendgate/sendgate/consent"
)

//go:embed consent.lua
var consentSource string

// Consent is the [consent.Store] that sidecars share. It lies here and not in package consent because rueidis has one door.
//
// All of it has one hash tag, so that a transaction is one script and its keys are in one order: in a Cluster one primary carries it, some 300
// bytes a record. Names and values hold HMACs and no number, and have no time to live: how long a record is kept is decided by
// what it says, see [consent.Ledger.Sweep]. What tells of changes is gone after 20 minutes.
//
// Apply returns when the server has the changes. What of them is on its disk then is what its settings say: all with appendonly yes and
// appendfsync always; with everysec a crash of its machine loses up to a second, as a failover does. (WAITAOF does not help: without a
// replica Valkey 9 answers it before it has synced.) Of what was lost opt-outs, consent and templates come back: every sidecar has
// them on its own disk, see package shared.
type Consent struct {
	s      *Store
	keys   []string
	script *rueidis.Lua
	closed atomic.Bool
}

const (
	// consentPage is how many records are read at a time: a page of them takes the server a fraction of a millisecond.
	consentPage = 256
	// consentKeep is for how many seconds, at least, changes are told.
	consentKeep = 600
	// holdLife ends what a process holds that died: far longer than a change takes.
	holdLife = 15 * time.Second
)

// Consent returns it. Close closes only this view; the Store stays open.
func (s *Store) Consent() *Consent {
	c := &Consent{s: s, script: rueidis.NewLuaScript(consentSource)}
	for _, part := range []string{"records", "order", "changed", "about"} {
		c.keys = append(c.keys, s.named("consent", part))
	}
	return c
}

// followed are the kinds that sidecars know by heart.
var followed = string([]byte{byte(consent.KindOptOut), byte(consent.KindGrant), byte(consent.KindTemplate), byte(consent.KindForget)})

// Apply implements [consent.Store]. When it fails it is not known whether the changes were made.
func (c *Consent) Apply(ctx context.Context, changes ...consent.Change) error {
	if err := consent.CheckChanges(changes); err != nil {
		return err
	}
	if c.closed.Load() {
		return consent.ErrClosed
	}
	if len(changes) == 0 {
		return ctx.Err()
	}
	args := append(make([]string, 0, 4+2*len(changes)), "apply", rand.Text(), followed, strconv.Itoa(consentKeep))
	for _, ch := range changes {
		value := "-"
		if ch.Value != nil {
			value = "+" + string(ch.Value)
		}
		args = append(args, string(byte(ch.Kind))+string(ch.Key), value)
	}
	return c.s.beside(ctx, c.keys[0], besideTimeout, func(ctx context.Context, client rueidis.Client) error {
		return c.script.Exec(ctx, client, c.keys, args).Error()
	})
}

// Scan implements [consent.Store]. What is applied while it runs may be seen or not.
func (c *Consent) Scan(ctx context.Context, kind consent.Kind, prefix []byte, each func(key, value []byte) error) error {
	if kind.String() == "unknown" {
		return fmt.Errorf("redisstore: consent: scan of kind %d: use one of Kinds", kind)
	}
	from := string(byte(kind)) + string(prefix)
	below := "(" + after(from)
	for from = "[" + from; ; {
		if c.closed.Load() {
			return consent.ErrClosed
		}
		var page []rueidis.RedisMessage
		err := c.s.beside(ctx, c.keys[0], besideTimeout, func(ctx context.Context, client rueidis.Client) (err error) {
			page, err = c.script.Exec(ctx, client, c.keys, []string{"scan", from, below, strconv.Itoa(consentPage)}).ToArray()
			return err
		})
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page); i += 2 {
			field, err := page[i].ToString()
			if err != nil {
				return err
			}
			value, err := page[i+1].AsBytes()
			if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each([]byte(field[1:]), value); err != nil {
				return err
			}
			from = "(" + field
		}
		if len(page) < 2*consentPage {
			return nil
		}
	}
}

// after is the first text behind all that begin with a prefix, whose first byte is a kind and not the last.
func after(prefix string) string {
	b := []byte(prefix)
	for b[len(b)-1] == 0xff {
		b = b[:len(b)-1]
	}
	b[len(b)-1]++
	return string(b)
}

// After implements [consent.Followed]. It tells up to 256 changes.
func (c *Consent) After(ctx context.Context, epoch string, rev int64, got func(consent.Change)) (out consent.Place, err error) {
	if c.closed.Load() {
		return out, consent.ErrClosed
	}
	err = c.s.beside(ctx, c.keys[0], besideTimeout, func(ctx context.Context, client rueidis.Client) error {
		all, err := c.script.Exec(ctx, client, c.keys, []string{"after", epoch, strconv.FormatInt(rev, 10), strconv.Itoa(consentPage)}).ToArray()
		if err != nil {
			return err
		}
		if len(all) < 4 || len(all)%2 != 0 {
			return fmt.Errorf("an answer of %d parts", len(all))
		}
		if out.Epoch, err = all[0].ToString(); err != nil {
			return err
		}
		if out.Rev, err = all[1].AsInt64(); err != nil {
			return err
		}
		every, err := all[2].AsInt64()
		if err != nil {
			return err
		}
		if out.Began, err = all[3].AsInt64(); err != nil {
			return err
		}
		out.All = every == 1
		for i := 4; i < len(all); i += 2 {
			field, err := all[i].ToString()
			if err != nil {
				return err
			}
			value, err := all[i+1].ToString()
			if err != nil {
				return err
			}
			if len(field) < 2 || value == "" {
				return errors.New("a record of consent is cut off")
			}
			ch := consent.Change{Kind: consent.Kind(field[0]), Key: []byte(field[1:])}
			if value[0] == '+' {
				ch.Value = []byte(value[1:])
			}
			got(ch)
		}
		return nil
	})
	return out, err
}

// Hold implements [consent.Shared]. Who cannot have it waits, while ctx allows.
func (c *Consent) Hold(ctx context.Context, what []byte) (release func(), err error) {
	if c.closed.Load() {
		return nil, consent.ErrClosed
	}
	sum := sha256.Sum256(what)
	key, token := c.s.named("consent", "hold:"+base64.RawURLEncoding.EncodeToString(sum[:16])), c.s.token()
	for {
		err := c.s.beside(ctx, key, besideTimeout, func(ctx context.Context, client rueidis.Client) error {
			return client.Do(ctx, client.B().Set().Key(key).Value(token).Nx().Px(holdLife).Build()).Error()
		})
		if err == nil {
			break
		}
		if !rueidis.IsRedisNil(unavailable(err)) {
			return nil, err
		}
		if !sleep(ctx, c.s.stopping, 2*time.Millisecond) {
			return nil, errors.Join(ctx.Err(), &UnavailableError{errors.New("another sidecar changes the same for too long")})
		}
	}
	return func() {
		// Where this fails, what is held ends by itself.
		_ = c.s.beside(context.WithoutCancel(ctx), key, besideTimeout, func(ctx context.Context, client rueidis.Client) error {
			const free = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"
			return client.Do(ctx, client.B().Eval().Script(free).Numkeys(1).Key(key).Arg(token).Build()).Error()
		})
	}, nil
}

// unavailable is why the store could not be asked, or the error itself.
func unavailable(err error) error {
	if away := new(UnavailableError); errors.As(err, &away) {
		return away.Err
	}
	return err
}

// Turn says whether it is this sidecar's turn to do what one of them does, once in so long.
func (c *Consent) Turn(ctx context.Context, what string, every time.Duration) (mine bool, err error) {
	key := c.s.named("consent", "turn:"+what)
	err = c.s.beside(ctx, key, besideTimeout, func(ctx context.Context, client rueidis.Client) error {
		err := client.Do(ctx, client.B().Set().Key(key).Value("").Nx().Px(every).Build()).Error()
		mine = err == nil
		if rueidis.IsRedisNil(err) {
			return nil
		}
		return err
	})
	return mine, err
}

// Close implements [consent.Store].
func (c *Consent) Close() error {
	c.closed.Store(true)
	return nil
}
