package webhook

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// PublishedOn is the day of the list of addresses. Platforms change theirs: an operator's own list (addresses, in the policy) goes
// before it.
const PublishedOn = "2026-11-23"

// published are the addresses that platforms say they post from, by platform and region. Twilio and Meta publish none that last and say to
// verify signatures.
func published() map[string]map[string][]string {
	return map[string]map[string][]string{
		"telnyx": {"global": {"192.76.120.192/27"}}, // support.telnyx.com, Webhooks
		"vonage": {"global": {"216.147.0.0/18"}},    // api.support.vonage.com, callback service
	}
}

// Published are the addresses that a platform posts from in regions.
func Published(platform string, regions ...string) (out []netip.Prefix, err error) {
	known := published()[platform]
	for _, region := range regions {
		list, ok := known[region]
		if !ok {
			if len(known) == 0 {
				return nil, fmt.Errorf("webhook: no addresses of %s are known (%s): write them yourself", platform, PublishedOn)
			}
			return nil, fmt.Errorf("webhook: %s has no region %q: write %s", platform, region, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		for _, text := range list {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fmt.Errorf("webhook: %w", err)
			}
			out = append(out, p)
		}
	}
	return out, nil
}
