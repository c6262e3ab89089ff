package envoyconfig

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/sendgate/sendgate/policy"
)

// Parts says which part of a send a descriptor's key stands for: the usual names.
func Parts() map[string]policy.Part {
	out := make(map[string]policy.Part)
	for part, keys := range map[policy.Part]string{
		policy.ByNumber:     "number to_number phone phone_number x-phone msisdn destination recipient to",
		policy.ByClient:     "client client_ip remote_address ip x-forwarded-for",
		policy.ByClient24:   "masked_remote_address",
		policy.ByAccount:    "account account_id tenant tenant_id customer customer_id",
		policy.BySubaccount: "subaccount subaccount_id",
		policy.ByEndpoint:   "endpoint path route",
		policy.ByChannel:    "channel",
		policy.ByPurpose:    "purpose message_type",
		policy.ByCountry:    "country country_code",
	} {
		for key := range strings.FieldsSeq(keys) {
			out[key] = part
		}
	}
	return out
}

// Import writes the limits as a policy. What a policy cannot say stands in it as a comment that begins with "not imported"; how
// many those are is returned too.
func (c *Config) Import(parts map[string]policy.Part) (text string, left int, err error) {
	var b, blocked strings.Builder
	b.WriteString("# Made of a configuration of envoyproxy/ratelimit. Windows are exact here: they begin anywhere, not at full minutes, and all\n" +
		"# limits of a send are charged or none. Which key stands for which part of a send was guessed by its name, or said with --map.\n" +
		"version: 1\n\nlimits:\n")
	names := make(map[string]bool)
	limits := 0
	for _, l := range c.limits {
		line, block, why := l.imported(parts, names)
		switch {
		case why != "":
			left++
			fmt.Fprintf(&b, "  # not imported: %s: %s\n", clean(l.Path), why)
		case block != "":
			fmt.Fprintf(&blocked, "    - %q # %s\n", block, clean(l.Path))
		default:
			limits++
			fmt.Fprintf(&b, "  # %s\n  - %s\n", clean(l.Path), line)
		}
	}
	text = b.String()
	if limits == 0 {
		text = strings.Replace(text, "limits:\n", "limits: []\n", 1)
	}
	if blocked.Len() > 0 {
		text += "\nlists:\n  block:\n" + blocked.String()
	}
	if _, err := policy.Parse("imported policy", []byte(text)); err != nil {
		return "", 0, err
	}
	return text, left, nil
}

// clean keeps a comment on its line.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xfeff {
			return ' '
		}
		return r
	}, s)
}

var (
	purposes = []string{"otp", "transactional", "marketing"}
	windows  = map[Unit]string{"SECOND": "1s", "MINUTE": "1m", "HOUR": "1h", "DAY": "1d", "WEEK": "7d", "MONTH": "30d", "YEAR": "365d"}
	isISO    = regexp.MustCompile(`^[A-Z]{2}$`).MatchString
	isWord   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`).MatchString
	isName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`).MatchString
)

// imported is one limit as a line of a policy, or an entry of its block list, or why it is neither.
func (l *Limit) imported(parts map[string]policy.Part, names map[string]bool) (line, block, why string) {
	by := make(map[policy.Part]bool)
	match := make(map[policy.Part]string)
	for _, e := range l.Entries {
		part, known := parts[e.Key]
		switch {
		case !known:
			return "", "", fmt.Sprintf("say what the key %s stands for: --map %s=PART", clean(e.Key), clean(e.Key))
		case strings.Contains(e.Value, "*"):
			return "", "", "a policy has no wildcards"
		case by[part]:
			return "", "", fmt.Sprintf("two keys stand for %s", part)
		}
		by[part] = true
		if e.Value == "" {
			continue
		}
		match[part] = e.Value
		ok := true
		switch part {
		case policy.ByPurpose:
			ok = slices.Contains(purposes, e.Value)
		case policy.ByCountry:
			ok = isISO(e.Value)
		case policy.ByChannel:
			ok = isWord(e.Value)
		case policy.ByAccount:
			ok = isName(e.Value)
		case policy.BySubaccount, policy.ByEndpoint:
			ok = len(e.Value) <= 128
		default:
			if l.RequestsPerUnit == 0 && !l.Unlimited && !l.Shadow && len(l.Entries) == 1 {
				return "", e.Value, ""
			}
			return "", "", fmt.Sprintf("a limit for one %s alone is for the lists of a policy", part)
		}
		if !ok {
			return "", "", fmt.Sprintf("a policy has no such %s", part)
		}
	}
	switch {
	case l.Unlimited:
		return "", "", "unlimited: what no limit matches is"
	case l.RequestsPerUnit == 0:
		return "", "", "0 requests: deny it where it is asked"
	case len(l.Replaces) > 0:
		return "", "", "replaces: write unless in the limit that it replaces"
	case l.Quota:
		return "", "", "a policy has no quotas"
	}
	line = fmt.Sprintf("{name: %s, by: [%s], limit: %d, window: %s", l.ruleName(names), join(slices.Sorted(maps.Keys(by))), l.RequestsPerUnit, windows[l.Unit])
	if len(match) > 0 {
		var fields []string
		for _, part := range slices.Sorted(maps.Keys(match)) {
			fields = append(fields, fmt.Sprintf("%s: %q", part, match[part]))
		}
		line += ", match: {" + strings.Join(fields, ", ") + "}"
	}
	if l.Shadow {
		line += ", mode: shadow"
	}
	return line + "}", "", ""
}

func join(parts []policy.Part) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = string(p)
	}
	return strings.Join(words, ", ")
}

// ruleName makes a name of a policy out of the limit's own, or its keys, that is not taken.
func (l *Limit) ruleName(taken map[string]bool) string {
	name := l.Name
	if name == "" {
		for _, e := range l.Entries {
			name += e.Key + "-" + e.Value + "-"
		}
		name += strings.ToLower(string(l.Unit))
	}
	name = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, name)
	for strings.Contains(name, "--") {
		name = strings.ReplaceAll(name, "--", "-")
	}
	if name = strings.Trim(name, "-_"); name == "" || name[0] < 'a' || name == "default" {
		name = "limit-" + name
	}
	name = strings.TrimRight(name[:min(len(name), 28)], "-_")
	unique := name
	for i := 2; taken[unique]; i++ {
		unique = fmt.Sprintf("%s-%d", name, i)
	}
	taken[unique] = true
	return unique
}
