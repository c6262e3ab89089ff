package policy

import (
	"maps"
	"slices"

	"github.com/sendgate/sendgate/internal/extract"
)

// Proxies says how sends are found in the requests that proxies ask about.
type Proxies struct {
	// Unmatched is for requests that no profile is for.
	Unmatched Uncheckable
	// ClientAddress is where the end user's address is; the first that is there counts.
	ClientAddress []extract.Selector
	Challenge     ChallengeAnswer
	// Profiles by name. At least one.
	Profiles map[string]*Profile
	// Checks by name: what the HTTP check does for one proxy.
	Checks map[string]*ProxyCheck

	routes []route
}

// route is one template of a profile. Those with fewer variables come first, so that a path is taken by the nearest.
type route struct {
	template extract.Template
	profile  string
}

// ProfileFor finds the profile of a request by its method and path; nil where there is none. The reading then has the path's
// variables.
func (x *Proxies) ProfileFor(r *extract.Reading) (string, *Profile) {
	for i := range x.routes {
		if r.MatchPath(x.routes[i].template) {
			return x.routes[i].profile, x.Profiles[x.routes[i].profile]
		}
	}
	return "", nil
}

// settle puts the routes into their order.
func (x *Proxies) settle() {
	for _, name := range slices.Sorted(maps.Keys(x.Profiles)) {
		for _, t := range x.Profiles[name].Match {
			x.routes = append(x.routes, route{t, name})
		}
	}
	slices.SortStableFunc(x.routes, func(a, b route) int { return a.template.Variables() - b.template.Variables() })
}

// Uncheckable is what happens to a request that cannot be checked.
type Uncheckable string

// The choices. Count lets it pass, and metrics and the proxy's log say that Refuse would not have.
const (
	Refuse Uncheckable = "deny"
	Pass   Uncheckable = "allow"
	Count  Uncheckable = "count"
)

// ChallengeAnswer is how an end user, or the page he is on, is told to step up.
type ChallengeAnswer struct {
	Status        int
	Header, Value string
}

// Profile says which requests are sends, and where in them the facts of a send stand.
type Profile struct {
	// Match is the requests it is for, where the proxy does not name it.
	Match []extract.Template `json:",omitempty"`
	// Number may find several: each is a send of its own, and the request passes if all do.
	Number extract.Selector
	// The others are zero where the request does not say. All but ClientAddress may be fixed.
	ClientAddress, Account, Subaccount, Endpoint, Channel, Purpose, IdempotencyKey, ChallengePassed extract.Selector
	// On is what happens by fault.
	On map[extract.Fault]Uncheckable
	// MaxSends is how many numbers one request may have.
	MaxSends int
}

// ProxyCheck is the HTTP check as one proxy asks for it.
type ProxyCheck struct {
	// Original is where the request that is asked about stands.
	Original Original
	// DenyStatus stands for every status of a refusal; 0 for none.
	DenyStatus int
	// Profile is the profile of every request; "" for that of their path.
	Profile string
	// ClientAddress is where the end user's address is; the first that is there counts.
	ClientAddress []extract.Selector
}

// Original is where a proxy writes the method and the path of the request that it asks about.
type Original string

// The places.
const (
	AsPath     Original = "path"        // the check's own method, and its path behind the check's
	XOriginal  Original = "x-original"  // x-original-method and x-original-uri
	XForwarded Original = "x-forwarded" // x-forwarded-method and x-forwarded-uri
)

// proxyChecks are the checks that every policy has. A header for the client's address must be set by the proxy, over
// whatever the client sent: the examples do so.
func proxyChecks() map[string]*ProxyCheck {
	client := selectors("header.x-rl-client-ip")
	return map[string]*ProxyCheck{
		"envoy":   {Original: AsPath, ClientAddress: client},
		"nginx":   {Original: XOriginal, ClientAddress: client, DenyStatus: 403}, // it knows no other
		"njs":     {Original: XOriginal, ClientAddress: client},
		"haproxy": {Original: XOriginal, ClientAddress: client},
		"caddy":   {Original: XForwarded, ClientAddress: client},
		"traefik": {Original: XForwarded}, // it cannot set a header, so only client_address.trusted_proxies helps
	}
}

// selectors are those of this file, which parse.
func selectors(texts ...string) []extract.Selector {
	out := make([]extract.Selector, len(texts))
	for i, text := range texts {
		out[i], _ = extract.ParseSelector(text)
	}
	return out
}
