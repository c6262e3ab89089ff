package envoyconfig

import (
	"math"
	"strings"
	"time"
)

// Config is some files, checked. It is immutable.
type Config struct {
	domains map[string]*node
	limits  []*Limit
}

// Limit is one rate_limit.
type Limit struct {
	// Path names it, equal over reloads: the domain, then key or key_value of each level, with dots between.
	Path string
	// Entries are the keys and values on the way to it; a value is empty where any fits.
	Entries         []Entry
	RequestsPerUnit int64 // 0: always over the limit
	Unit            Unit
	Unlimited       bool
	Name            string
	Replaces        []string
	// Shadow is counted, and never over the limit.
	Shadow bool
	// Quota counts as over the limit only when every quota of a request is.
	Quota bool
}

// Unit is a unit of time by its name in Envoy's API.
type Unit string

// Window is how long a unit is, as that service counts: a month has 30 days, a year 365. 0 for what is no unit.
func (u Unit) Window() time.Duration {
	const day = 24 * time.Hour
	switch u {
	case "SECOND":
		return time.Second
	case "MINUTE":
		return time.Minute
	case "HOUR":
		return time.Hour
	case "DAY":
		return day
	case "WEEK":
		return 7 * day
	case "MONTH":
		return 30 * day
	case "YEAR":
		return 365 * day
	}
	return 0
}

// Entry is one key and value of a descriptor.
type Entry struct{ Key, Value string }

// node is one level of the descriptors below a domain or a descriptor.
type node struct {
	exact     map[Entry]*descriptor
	wildcards []*descriptor // in the order of the file: the first that fits counts
	anyValue  map[string]*descriptor
}

func newNode() *node {
	return &node{exact: make(map[Entry]*descriptor), anyValue: make(map[string]*descriptor)}
}

type descriptor struct {
	entry  Entry
	parts  []string // of a value with wildcards
	shared bool     // all values that a wildcard fits share one counter
	limit  *Limit   // nil without rate_limit
	below  *node
}

// Domains are the names of the domains and how many limits each has.
func (c *Config) Domains() map[string]int {
	out := make(map[string]int)
	for name := range c.domains {
		out[name] = 0
	}
	for _, l := range c.limits {
		domain := ""
		for name := range c.domains {
			if strings.HasPrefix(l.Path, name+".") && len(name) > len(domain) {
				domain = name
			}
		}
		out[domain]++
	}
	return out
}

// Limits are all limits, in the order of the files.
func (c *Config) Limits() []*Limit { return c.limits }

// Has says that there is such a domain.
func (c *Config) Has(domain string) bool { return c.domains[domain] != nil }

// Find returns the limit of a descriptor: the one as deep as the descriptor, values before wildcards before keys alone. It is
// nil where there is none. The entries that come with it name the counter: values that share one are replaced by their wildcard.
func (c *Config) Find(domain string, entries []Entry) (*Limit, []Entry) {
	at := c.domains[domain]
	counter := entries
	for i, e := range entries {
		if at == nil {
			return nil, nil
		}
		d := at.find(e)
		if d == nil {
			return nil, nil
		}
		if d.shared {
			counter = append(append(append([]Entry(nil), counter[:i]...), Entry{e.Key, d.entry.Value}), counter[i+1:]...)
		}
		if i == len(entries)-1 {
			return d.limit, counter
		}
		at = d.below
	}
	return nil, nil
}

func (n *node) find(e Entry) *descriptor {
	if d := n.exact[e]; d != nil {
		return d
	}
	for _, d := range n.wildcards {
		if d.entry.Key == e.Key && fits(d.parts, e.Value) {
			return d
		}
	}
	return n.anyValue[e.Key]
}

// fits says whether a value is the parts in their order with anything between them.
func fits(parts []string, value string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(value) < len(first)+len(last) || !strings.HasPrefix(value, first) || !strings.HasSuffix(value, last) {
		return false
	}
	rest := value[len(first) : len(value)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return true
}

// maxRequests is the largest requests_per_unit: a uint32 there.
const maxRequests = math.MaxUint32
