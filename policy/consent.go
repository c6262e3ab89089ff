package policy

import (
	"net/netip"
	"time"

	"github.com/sendgate/sendgate/consent/keyword"
)

// Consent says who may be written to: how keywords are heard and answered, and what needs proof that somebody agreed.
type Consent struct {
	// Voice is how senders hear and answer that are not among Senders.
	Voice
	Senders []SenderVoice `json:",omitempty"`
	// BySender makes STOP count for the sender that it was sent to, else it counts for the whole account.
	BySender bool
	// DenyOTP refuses one-time codes, too, to those who opted out.
	DenyOTP bool
	Require []Requirement `json:",omitempty"`
	// ConfirmWithin is how long a double opt-in can be confirmed.
	ConfirmWithin time.Duration
	// ReconfirmAfter is after how many months consent has to be given again; 0 for never. PastDue is Challenge or Deny.
	ReconfirmAfter int
	PastDue        Action
	Retention      Retention
	Templates      Templates
	// Webhooks by name, which is the last part of their path.
	Webhooks map[string]*Webhook `json:",omitempty"`
}

// Voice is how senders hear and answer.
type Voice struct {
	Keywords keyword.Options
	// Replies are nil where nothing here answers.
	Replies *keyword.Texts `json:",omitempty"`
}

// SenderVoice is the Voice of one sender, or of an account where Sender is empty.
type SenderVoice struct {
	Account, Sender string
	Voice
}

// Requirement says that sends of a purpose need consent.
type Requirement struct {
	Purpose string
	Channel string // "" for every channel
	// Double wants consent confirmed from the number itself.
	Double bool
}

// Retention is how long records about consent are kept.
type Retention struct{ Unconfirmed, Proof, Forgotten, Messages time.Duration }

// Templates says what is asked of message templates.
type Templates struct {
	// PaceFirst is how many sends of a new marketing template pass before its quality is known, 0 for all; PaceWait is how long it
	// is then held if none comes.
	PaceFirst int
	PaceWait  time.Duration
	// Watch is content that the platform prohibits or restricts, nil for the built-in list.
	Watch []Watch `json:",omitempty"`
}

// Watch is one kind of content that is warned of.
type Watch struct {
	Name, Why string
	Words     []string
}

// Webhook is where a platform posts messages from people, and what it thinks of templates.
type Webhook struct {
	// Platform is one of [Platforms].
	Platform string
	// Account and Sender are whom messages were written to. An empty Sender is what the platform says.
	Account, Sender string
	// URL is where the platform believes to post: some sign it.
	URL string
	// Secrets are where the secrets are that the platform signs with; any of them may have signed.
	SecretsFromEnv, SecretsFromFile []string
	// VerifyTokenFromEnv and VerifyTokenFromFile are where the word is that the platform shows when the webhook is set up.
	VerifyTokenFromEnv, VerifyTokenFromFile string
	// Addresses are those that the platform posts from, Published names regions of the built-in list. Both empty: any.
	Addresses []netip.Prefix
	Published []string
}

// Platforms are the platforms whose webhooks are read.
func Platforms() []string {
	return []string{"generic", "twilio", "meta", "telnyx", "vonage", "sinch", "rbm"}
}
