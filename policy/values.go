package policy

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/sendgate/sendgate/limiter"
)

// maxFile bounds a policy file: more than that is data, not policy.
const maxFile = 16 << 20

const day = 24 * time.Hour

// Names that callers, metrics and stores see. A store's name has 64 bytes at most, prefixes included.
var (
	rulePattern     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	accountPattern  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	channelPattern  = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)
	currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)
	headerPattern   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")
	envPattern      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	regionPattern   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	hashPattern     = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

	integerPattern = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	decimalPattern = regexp.MustCompile(`^(0|[1-9][0-9]*)(\.[0-9]+)?$`)
	daysPattern    = regexp.MustCompile(`^([0-9]+)d(.*)$`)
)

const (
	ruleBounds    = "1 to 32 of a-z, 0-9, - and _, a letter first"
	accountBounds = "1 to 64 of A-Z, a-z, 0-9, dot, - and _"
)

func integer[T ~int | ~int64](dst *T, low, high T) value {
	bounds := fmt.Sprintf("%d to %d", low, high)
	if low == high {
		bounds = fmt.Sprint(low)
	}
	return scalar("number", bounds, func(text string, quoted bool) error {
		if quoted {
			return fmt.Errorf("%s is text: write the number without quotes", quote(text))
		}
		if !integerPattern.MatchString(text) {
			return fmt.Errorf("%s is not a whole number: write digits only, %s", quote(text), bounds)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil && text[0] != '-', err == nil && T(n) > high:
			return fmt.Errorf("%s is too much: write %s", quote(text), bounds)
		case err != nil, T(n) < low:
			return fmt.Errorf("%s is too little: write %s", quote(text), bounds)
		}
		*dst = T(n)
		return nil
	})
}

func boolean(dst *bool) value {
	return scalar("true or false", "true or false", func(text string, quoted bool) error {
		if quoted || text != "true" && text != "false" {
			return fmt.Errorf("%s is not true or false: write true or false", quote(text))
		}
		*dst = text == "true"
		return nil
	})
}

func duration(dst *time.Duration, low, high time.Duration) value {
	bounds := formatDuration(low) + " to " + formatDuration(high)
	return scalar("duration", bounds, func(text string, _ bool) error {
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		if d < low {
			return fmt.Errorf("%s is too short: write %s", quote(text), bounds)
		}
		if d > high {
			return fmt.Errorf("%s is too long: write %s", quote(text), bounds)
		}
		*dst = d
		return nil
	})
}

func timestamp(dst *time.Time) value {
	return scalar("time", "RFC 3339, such as 2026-03-02T06:00:00Z", func(text string, _ bool) error {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return fmt.Errorf("%s is not a time: write one like 2026-03-02T06:00:00Z", quote(text))
		}
		*dst = t.UTC()
		return nil
	})
}

// parseDuration reads Go's durations and, before them, days of 24 hours: 60s, 1h30m, 7d, 1d12h.
func parseDuration(text string) (time.Duration, error) {
	if decimalPattern.MatchString(text) {
		return 0, fmt.Errorf("%s has no unit: write %q for seconds, or ms, m, h, d", quote(text), cut(text)+"s")
	}
	var days time.Duration
	rest := text
	if m := daysPattern.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > math.MaxInt64/int(day) {
			return 0, fmt.Errorf("%s is too long: write at most %s", quote(text), formatDuration(limiter.MaxWindow))
		}
		if days, rest = time.Duration(n)*day, m[2]; rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || strings.HasPrefix(rest, "+") {
		return 0, fmt.Errorf("%s is not a duration: write a number and a unit, such as 500ms, 60s, 30m, 24h or 7d", quote(text))
	}
	if d > math.MaxInt64-days {
		return 0, fmt.Errorf("%s is too long: write at most %s", quote(text), formatDuration(limiter.MaxWindow))
	}
	return days + d, nil
}

// cut is text that goes into a remedy: the number without its unit, or an example where it is too long to be meant.
func cut(s string) string {
	if len(s) > 6 {
		return "60"
	}
	return s
}

// formatDuration writes a duration as a policy would: 366d, 30m, 90s.
func formatDuration(d time.Duration) string {
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{day, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}} {
		if d >= u.unit && d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.name
		}
	}
	return d.String()
}

// percent reads 10% as 0.1.
func percent(dst *float64, low, high float64) value {
	bounds := fmt.Sprintf("%g%% to %g%%", low*100, high*100)
	return scalar("percentage", bounds, func(text string, _ bool) error {
		digits, ok := strings.CutSuffix(text, "%")
		if !decimalPattern.MatchString(digits) {
			return fmt.Errorf("%s is not a percentage: write a number and a percent sign, such as 10%%", quote(text))
		}
		if !ok {
			return fmt.Errorf("%s has no percent sign: write %q, within %s", quote(text), cut(text)+"%", bounds)
		}
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil || f < low*100 || f > high*100 {
			return fmt.Errorf("%s is out of range: write %s", quote(text), bounds)
		}
		*dst = f / 100
		return nil
	})
}

func factor(dst *float64, low, high float64) value {
	bounds := fmt.Sprintf("%g to %g", low, high)
	return scalar("number", bounds, func(text string, quoted bool) error {
		f, err := strconv.ParseFloat(text, 64)
		if quoted || err != nil || !decimalPattern.MatchString(text) {
			return fmt.Errorf("%s is not a number: write %s", quote(text), bounds)
		}
		if f < low || f > high {
			return fmt.Errorf("%s is out of range: write %s", quote(text), bounds)
		}
		*dst = f
		return nil
	})
}

// money reads an exact decimal as micro-units: 50.00 is 50,000,000. Binary fractions never come near it.
func money(dst *int64) value {
	bounds := fmt.Sprintf("0.000001 to %d", int64(limiter.MaxN)/1_000_000)
	return scalar("amount", bounds, func(text string, _ bool) error {
		if !decimalPattern.MatchString(text) {
			return fmt.Errorf("%s is not an amount: write digits and at most 6 decimals, such as 50.00", quote(text))
		}
		whole, fraction, _ := strings.Cut(text, ".")
		if len(fraction) > 6 {
			return fmt.Errorf("%s has more than 6 decimals: money is counted in millionths", quote(text))
		}
		n, err := strconv.ParseInt(whole+fraction+"000000"[len(fraction):], 10, 64)
		if err != nil || n > limiter.MaxN {
			return fmt.Errorf("%s is too much: write %s", quote(text), bounds)
		}
		if n == 0 {
			return fmt.Errorf("%s is nothing: write %s", quote(text), bounds)
		}
		*dst = n
		return nil
	})
}

// prefix reads a CIDR, or an address as the block of one.
func prefix(dst *netip.Prefix) value {
	return scalar("CIDR", "an address or a CIDR, such as 10.0.0.0/8", func(text string, _ bool) error {
		p, err := parsePrefix(text)
		if err != nil {
			return err
		}
		*dst = p
		return nil
	})
}

func parsePrefix(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if addr, err2 := netip.ParseAddr(text); err2 == nil && addr.Zone() == "" {
		p, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s is not an address or a CIDR: write one such as 203.0.113.9, 10.0.0.0/8 or 2001:db8::/32", quote(text))
	case p.Addr().Is4In6():
		return netip.Prefix{}, errors.New("an IPv4 range in IPv6 spelling: write it as IPv4, such as 10.0.0.0/8")
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has bits behind its prefix: write %s", p, p.Masked())
	}
	return p, nil
}
