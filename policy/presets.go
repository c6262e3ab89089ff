package policy

import (
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/sendgate/sendgate/limiter"
)

// delayPresets are the shapes that others wait in between codes, as published. What a source does not say is filled in here and
// said so.
func delayPresets() map[string]limiter.Backoff {
	return map[string]limiter.Backoff{
		// Twilio, "Best practices for managing retry logic with SMS 2FA" (2021-07-27): start with 30 seconds between retries; error
		// 60203: 5 sends to one number within 10 minutes. Doubling from 30s makes the fifth wait 8m. The cap is ours.
		"twilio": {Base: 30 * time.Second, Factor: 2, Max: 10 * time.Minute, ForgetAfter: 10 * time.Minute},
		// AWS Cognito developer guide, "Lockout behavior for failed sign-in attempts": after n failures, five and more, 2^(n-5)
		// seconds, at most about 15 minutes; forgotten after 15 minutes without a try.
		"cognito": {Free: 4, Base: time.Second, Factor: 2, Max: 15 * time.Minute, ForgetAfter: 15 * time.Minute},
		// Supabase, "Phone Login": one code per 60 seconds (the default of auth.rate_limits.otp.period). It does not grow.
		"supabase": {Base: time.Minute, Factor: 1, Max: time.Minute, ForgetAfter: time.Minute},
		// FedRAMP AC-7, as 18F applied it to codes (identity-idp#703): three within 15 minutes, then 30 minutes of none.
		"fedramp": {Free: 2, Base: 30 * time.Minute, Factor: 1, Max: 30 * time.Minute, ForgetAfter: 15 * time.Minute},
	}
}

func presetNames() []string { return slices.Sorted(maps.Keys(delayPresets())) }

// delay reads a Delay. With a preset, only what differs from it has to be written.
func delay(y *Delay) value {
	v := object(delayFields(y))
	v.read = func(d *decoder, n *yaml.Node, path string) {
		shape, known := delayPresets()[wordIn(n, "preset")]
		if known {
			y.By, y.OnLimit, y.Mode, y.Backoff = []Part{ByNumber}, Deny, Enforce, shape
		}
		d.object(n, path, delayFields(y), known)
	}
	return v
}
