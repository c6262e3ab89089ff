package detect

// Kind is what a signal says is going on.
type Kind uint8

// The kinds, in the order of the catalogue.
const (
	None               Kind = iota
	IPFanout                // one address or address block asks for many numbers
	VictimFlood             // many addresses ask for one number
	AITRange                // numbers of one range are pumped
	CountryAnomaly          // newcomers of a country do not verify
	ConversionCollapse      // newcomers of an operator do not verify
	OTPBruteforce           // codes are guessed
	Enumeration             // numbers are probed for accounts
	RetryStorm              // a broken client repeats itself; no attack
	LoadTest                // somebody's load test; no attack
	kinds
)

var kindNames = [kinds]string{"", "ip_fanout", "victim_flood", "ait_range", "country_anomaly", "conversion_collapse",
	"otp_bruteforce", "enumeration", "retry_storm", "load_test"}

// String returns the name used in policies and reasons, such as "ait_range"; "" for None.
func (k Kind) String() string {
	if k < kinds {
		return kindNames[k]
	}
	return ""
}

// ParseKind finds a kind by its name.
func ParseKind(name string) (Kind, bool) {
	for k := IPFanout; k < kinds; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return None, false
}

// Kinds lists all kinds in the order of the catalogue.
func Kinds() []Kind {
	all := make([]Kind, 0, kinds)
	for k := IPFanout; k < kinds; k++ {
		all = append(all, k)
	}
	return all
}

// Attack says whether the kind means ill will; a retry storm and a load test do not.
func (k Kind) Attack() bool { return k != None && k < RetryStorm }

// Advice is what the engine would do. The order is the order of strictness.
type Advice uint8

// The advices.
const (
	Allow     Advice = iota
	Flag             // let it pass, but tell someone
	Delay            // refuse for now, see RetryAfter
	Challenge        // let it pass after a step up, such as a CAPTCHA
	Deny
)

// String returns "allow", "flag", "delay", "challenge" or "deny".
func (a Advice) String() string {
	return [...]string{"allow", "flag", "delay", "challenge", "deny"}[min(a, Deny)]
}

// Stops says that the send does not go out as it stands: Delay, Challenge or Deny.
func (a Advice) Stops() bool { return a >= Delay }

// Scope is what a signal or block is about, from narrow to broad.
type Scope uint8

// The scopes.
const (
	NoScope        Scope = iota
	ScopeNumber          // one number
	ScopeRange2          // a number with the last two digits masked
	ScopeRange3          // three
	ScopeRange4          // four
	ScopeRange5          // five
	ScopeOperator        // six digits masked, about one operator's prefix
	ScopeAddress         // an IPv4 address or an IPv6 /64
	ScopeAddrBlock       // an IPv4 /24 or an IPv6 /48
	ScopeNewcomers       // numbers and address blocks of a country that never verified
	ScopeAccount         // one account
	scopes
)

var scopeNames = [scopes]string{"", "number", "range2", "range3", "range4", "range5", "operator", "address", "address_block",
	"country_newcomers", "account"}

// String returns the name used in reasons, such as "range3".
func (s Scope) String() string {
	if s < scopes {
		return scopeNames[s]
	}
	return ""
}

// Masked is how many last digits of a number the scope leaves out: 2 to 6 for ranges, 0 else.
func (s Scope) Masked() int {
	if s >= ScopeRange2 && s <= ScopeOperator {
		return int(s-ScopeRange2) + 2
	}
	return 0
}
