package detect

// cell is the evidence about one shared key: a range of numbers, an address, an address block, a country's newcomers.
type cell struct {
	compose  float32 // CUSUM of composition and outcomes
	outcome  float32 // CUSUM of outcomes alone; never fades, so no pace is slow enough
	seenAt   uint32  // the country's session count at the last hit (ranges)
	verified float32
	failures float32 // sessions unverified, less those verified since
	until    tick    // a block is in force
	attempts float32 // attempts on the block, fading over an hour
	attempt  tick    // the last of them
	first    tick    // first session
	sessions uint32
	level    uint8 // blocks so far
	kind     Kind  // of the block
	lookups  uint16
	block    uint32  // place in the list of blocks, plus one
	open     float32 // sessions not yet verified, fading over a minute (addresses)
	earned   float32 // sessions verified, fading over six hours (addresses)
	rated    tick
	_        uint32
}

// numberCell is what is remembered of one number.
type numberCell struct {
	try      tick // last attempt
	start    tick // of the session
	session  uint32
	ranged   tick // when it last was evidence about its ranges
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
	_        uint8     //
	address  [2]uint16 // fingerprints of the first two
	origins  [9]uint16 // fingerprints of address blocks, latest first; the top bit says that the owner verified there
}

// origin is an /16 or /32 of addresses, about one provider, and the countries it verified for.
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
	_       [18]byte
}

// What state a session is in.
const (
	sessionRanged  = 1 << iota // it is evidence about its ranges
	sessionKnown               // the number had verified before
	sessionFailed              // it was counted as failed
	sessionDone                // it was verified, or never happened
	sessionStopped             // a challenge stood in its way
	sessionV4
	sessionNet
	sessionLookup
)

// class is how much is known of who asks.
type class uint8

const (
	classKnown    class = iota // the number verified before
	classTrusted               // the address block did, or its provider did for this country
	classNewcomer              // neither
)
