package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sendgate/sendgate/audit"
)

type auditExportCommand struct {
	auditSource
	auditFilter
}

// Help is what `sendgate audit export --help` says below its first line.
func (auditExportCommand) Help() string {
	return `  sendgate audit export --since 24h | sendgate replay --policy new.yaml --in -

The audit log has no numbers and no addresses, so each gets a stand-in: the same each time, in the same country, and with the same neighbours, so that limits, delays, fan-out and pumped ranges come out as they did. What does not: list entries and prices by the last six digits, and number types that depend on them.

All refusals are in the audit log, and what was allowed to the numbers in its sample. For a replay of everything serve with --audit-allow 1.`
}

// replayed is a line that sendgate replay reads.
type replayed struct {
	T          time.Time `json:"t"`
	Type       string    `json:"type"`
	ID         string    `json:"id"`
	Number     string    `json:"msisdn,omitempty"`
	Client     string    `json:"ip,omitempty"`
	Account    string    `json:"account,omitempty"`
	Subaccount string    `json:"subaccount,omitempty"`
	Endpoint   string    `json:"endpoint,omitempty"`
	Purpose    string    `json:"purpose,omitempty"`
	Channel    string    `json:"channel,omitempty"`
	Outcome    string    `json:"outcome,omitempty"`
	Cost       int64     `json:"cost,omitempty"`
	Passed     bool      `json:"challenge_passed,omitempty"`
}

func (c *auditExportCommand) Run(s *streams) error {
	c.Log = audit.ChecksDir
	all, err := c.entries(&c.auditSource)
	if err != nil {
		return err
	}
	buffered := bufio.NewWriter(s.out)
	out := json.NewEncoder(buffered)
	count, counted := map[string]int{}, uint64(0)
	var at time.Time
	for e, err := range all {
		if err != nil {
			return err
		}
		if e.Kind == audit.KindCounted {
			var c audit.Counted
			_ = json.Unmarshal(e.Data, &c)
			counted += c.Total()
		}
		line, ok := toReplay(e)
		if !ok {
			continue
		}
		if line.T.Before(at) { // an outcome is recorded when it is reported; replay wants time to go on
			line.T = at
		}
		at = line.T
		count[e.Kind]++
		if err := out.Encode(&line); err != nil {
			return err
		}
	}
	if err := buffered.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(s.err, "%d denied, %d challenged, %d allowed; %d outcomes\n", count[audit.KindDeny], count[audit.KindAsk], count[audit.KindAllow], count[audit.KindOutcome])
	if counted > 0 {
		fmt.Fprintf(s.err, "%d refusals of a flood were only counted and are not in it: for all of them serve with --audit-rate 0\n", counted)
	}
	return nil
}

func toReplay(e *entry) (line replayed, ok bool) {
	switch e.Kind {
	case audit.KindDeny, audit.KindAsk, audit.KindAllow:
	case audit.KindOutcome:
		var o audit.Outcome
		if json.Unmarshal(e.Data, &o) != nil {
			return replayed{}, false
		}
		return replayed{T: e.Time, Type: "outcome", ID: o.CheckID, Outcome: o.Outcome}, true
	default:
		return replayed{}, false
	}
	c := &e.check
	line = replayed{T: e.Time, Type: "send", ID: c.CheckID, Number: audit.Unveil(c.Number), Account: c.Account, Subaccount: c.Subaccount,
		Endpoint: c.Endpoint, Purpose: c.Purpose, Channel: c.Channel, Cost: c.Cost, Passed: c.Passed}
	if a, err := audit.UnveilAddress(c.Client); err == nil {
		line.Client = a.String()
	}
	return line, c.CheckID != ""
}
