package consent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sendgate/sendgate/consent/keyword"
)

// Purposes and channels of sends.
const (
	OTP           = "otp"
	Transactional = "transactional"
	Marketing     = "marketing"
)

// Rules are what the operator decides. They are immutable and replaced as a whole with SetRules. The zero value hears English
// keywords, answers none of them, and asks for no proof.
type Rules struct {
	// Voice is how senders hear and answer that have none in Voices. Default English keywords and no replies.
	Voice Voice
	// Voices are by sender, or by account where the sender is empty.
	Voices map[Scope]Voice
	// BySender makes STOP count for the sender that it was sent to. Default false: for the whole account. STOPALL is always for
	// the account.
	BySender bool
	// DenyOTP refuses one-time passwords as well to those who opted out. Default false: who asks for a code wants it.
	DenyOTP bool
	// Require is what needs proof of consent.
	Require []Requirement
	// ConfirmWithin is how long a double opt-in can be confirmed. Default 24 h.
	ConfirmWithin time.Duration
	// ReconfirmAfter is after how many months consent has to be given again: 3, 6 or 12; 0 for never, which is the default.
	ReconfirmAfter int
	// DenyDue refuses sends without a fresh consent. Default false: they are challenged.
	DenyDue bool
	// Retention is how long records are kept. Fields that are 0 have the defaults of DefaultRetention.
	Retention Retention
}

// Voice is how one sender hears and answers.
type Voice struct {
	Book *keyword.Book
	// Replies answer keywords. Default nil: something else answers.
	Replies *keyword.Replies
}

// Requirement says that sends of a purpose need consent.
type Requirement struct {
	Purpose string // OTP, Transactional or Marketing
	Channel string // such as "sms"; "" for every channel
	// Double wants consent confirmed from the number itself.
	Double bool
}

// Checked fills in defaults and says what is wrong.
func (r Rules) Checked() (*Rules, error) { return &r, r.check() }

// check fills in defaults.
func (r *Rules) check() error {
	if r.Voice.Book == nil {
		var err error
		if r.Voice.Book, err = keyword.NewBook(keyword.Options{}); err != nil {
			return err
		}
	}
	for of, v := range r.Voices {
		if v.Book == nil {
			return fmt.Errorf("consent: voices: %+v: give it a book", of)
		}
	}
	for _, q := range r.Require {
		if !slices.Contains([]string{OTP, Transactional, Marketing}, q.Purpose) {
			return fmt.Errorf("consent: require: purpose %q: write otp, transactional or marketing", q.Purpose)
		}
	}
	if r.ConfirmWithin == 0 {
		r.ConfirmWithin = 24 * time.Hour
	}
	if !slices.Contains([]int{0, 3, 6, 12}, r.ReconfirmAfter) {
		return fmt.Errorf("consent: reconfirm after %d months: write 3, 6 or 12, or 0 for never", r.ReconfirmAfter)
	}
	if r.ConfirmWithin < 0 {
		return errors.New("consent: confirm within: write a positive time, such as 24h")
	}
	return r.Retention.check()
}

// voice is how a sender hears and answers.
func (r *Rules) voice(s Scope) Voice {
	for _, of := range []Scope{s, {Account: s.Account}} {
		if v, ok := r.Voices[of]; ok {
			return v
		}
	}
	return r.Voice
}

// requires is the rule for a send, nil for none.
func (r *Rules) requires(purpose, channel string) *Requirement {
	for i := range r.Require {
		if q := &r.Require[i]; q.Purpose == purpose && (q.Channel == "" || q.Channel == channel) {
			return q
		}
	}
	return nil
}
