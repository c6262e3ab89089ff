package detect

// evidence is what is known about one shared key: a range of numbers, an address, an address block, a class of strangers.
type evidence struct {
	compose   float32 // CUSUM of composition and outcomes
	outcome   float32 // CUSUM of outcomes alone; never fades, so no pace is slow enough
	verified  float32 // sessions
	failures  float32 // sessions unverified, less those verified since
	sessions  uint32
	first     tick    // first session
	until     tick    // a block is in force
	attempts  float32 // attempts on the block, fading over an hour
	attempt   tick    // the last of them
	block     uint32  // place in the list of blocks, plus one
	lookups   uint16  // sessions that asked for an account that exists
	level     uint8   // blocks so far
	kind      Kind    // of the block
	confirmed bool    // the block rests on outcomes: it may deny
	_         [3]byte
}

// rangeCell is the evidence about a range of numbers.
type rangeCell struct {
	evidence
	seenAt uint32    // the country's session count at the last hit
	peers  [6]uint16 // fingerprints of the latest addresses
}

// addressCell is the evidence about an address or an address block, and what it may still ask for.
type addressCell struct {
	evidence
	open   float32 // sessions not yet verified, fading over a minute
	earned float32 // sessions verified, fading over six hours
	rated  tick
	_      uint32
}

// numberCell is what is remembered of one number.
type numberCell struct {
	try      tick // last attempt
	start    tick // of the session
	session  uint32
	ranged   tick // when it last was evidence about what it shares with others
	scored   tick // when the scores were brought up to date
	victim   float32
	failed   float32 // wrong codes
	until    tick    // held
	block    uint32  // place in the list of blocks, plus one
	verified uint8   // sessions, saturating
	kind     Kind    // of the hold
	gaps     uint8   // attempts in machine rhythm in a row
	level    uint8
	others   uint8     // more than two addresses were seen
	wrong    uint8     // wrong codes in this session
	address  [2]uint16 // fingerprints of the latest two
	hour     uint16    // in which it last counted for the control group
	origins  [8]uint16 // fingerprints of address blocks, latest first; the top bit says that the owner verified there
}

// originCell is an /16 or /32 of addresses, about one provider, and the countries it verified for.
type originCell struct {
	total   uint32
	country [15]uint16
	count   [15]uint16
}

// accountCell is the pace of an account.
type accountCell struct {
	minutes float32 // sends, fading over five minutes
	days    float32 // sends, fading over a day
	t       tick
	_       [52]byte
}

// session is one row of the ring.
type session struct {
	number  uint64
	network uint64
	seq     uint32
	start   tick
	fail    float32 // what its failure adds to a CUSUM
	success float32 // what its verification adds (negative)
	hit     [5]uint16
	country Country
	class   class
	state   uint8
	more    uint8
	hourly  bool // the number's first this hour: it counts for the control group, which nobody shall flood
	_       [16]byte
}

// What state a session is in.
const (
	sessionRanged  = 1 << iota // it is evidence about its ranges and its class: the number's first today
	sessionKnown               // the number had verified before
	sessionFailed              // it was counted as failed
	sessionDone                // it was verified, or never happened
	sessionStopped             // a challenge stood in its way
	sessionV4
	sessionNet
	sessionLookup
)

// More of the same.
const (
	sessionNarrow     = 1 << iota // a narrow block stopped it: broader ones do not hear of it
	sessionInhabited4             // people had verified in the range of four digits; the next two are five and six
	sessionInhabited5
	sessionInhabited6
	sessionByRange // a range stopped it: its address does not hear of it
	sessionSprayed // it was stopped because codes are guessed
	sessionStrange // the block on its class stopped it: wide ranges do not hear of it
	sessionSilent  // nobody will say whether it verified: it never counts as failed
)

// class is how much is known of who asks.
type class uint8

const (
	knownHome    class = iota // the number verified before, and the address is familiar
	newHome                   // a new number from a familiar address into a range where people verified
	knownStrange              // a known number from a strange address
	newElsewhere              // a new number from a familiar address into a range where nobody verified
	newStrange                // a new number from a strange address into a range where people verified
	newNowhere                // neither
	guessed                   // any number that had wrong codes, while guessing goes on
	classes
)

// watched is how many classes a country's outcomes are watched for: knownStrange and up.
const watched = int(classes - knownStrange)

var classNames = [classes]string{"known numbers", "new numbers", "known numbers from strange addresses",
	"new numbers in unused ranges", "new numbers from strange addresses", "new numbers in unused ranges from strange addresses", "numbers with wrong codes"}

// familiar says that the address block verified before, or its provider did for this country.
func (c class) familiar() bool { return c == knownHome || c == newHome || c == newElsewhere }
