package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ID names a template in one language of one business account of a platform.
type ID struct {
	Account  string `json:"account"`  // who pays: the account of sends
	Business string `json:"business"` // the platform's account: of WhatsApp a Business Account, of RCS an agent
	Name     string `json:"name"`
	Language string `json:"language"`
}

// AgentName is the Name under which the state of an RCS agent itself is kept. Its Language is the region of a carrier.
const AgentName = "\x01agent"

// Category is what a template is for, as the platform writes it.
type Category string

// The categories.
const (
	Marketing      Category = "MARKETING"
	Utility        Category = "UTILITY"
	Authentication Category = "AUTHENTICATION"
)

// Status is where a template stands.
type Status string

// The statuses. Paused ends by itself, Paced is ended by hand or by the platform.
const (
	Pending  Status = "pending"
	Approved Status = "approved"
	Paused   Status = "paused"
	Paced    Status = "paced"
	Rejected Status = "rejected"
	Disabled Status = "disabled"
	Deleted  Status = "deleted"
)

// Quality is what readers think of a template.
type Quality string

// The qualities.
const (
	Unknown Quality = "UNKNOWN"
	Green   Quality = "GREEN"
	Yellow  Quality = "YELLOW"
	Red     Quality = "RED"
)

// What Meta says of pauses for low quality: the first is 3 h, the second 6 h, the third is for good.
const (
	firstPause  = 3 * time.Hour
	secondPause = 6 * time.Hour
)

// State is what is known of one template. The zero value is a template nobody told about.
type State struct {
	Status   Status    `json:"status,omitempty"`
	Category Category  `json:"category,omitempty"`
	Quality  Quality   `json:"quality,omitempty"`
	Pauses   int       `json:"pauses,omitempty"` // for low quality
	Until    time.Time `json:"until,omitzero"`   // when a pause is over
	Updated  time.Time `json:"updated,omitzero"` // of the newest event about the status
	Rated    time.Time `json:"rated,omitzero"`   // of the newest event about the quality
	// Sent counts sends of a new marketing template, and Held is since when it waits for its quality.
	Sent int       `json:"sent,omitempty"`
	Held time.Time `json:"held,omitzero"`
}

// What an event is about.
type What string

// The kinds of event.
const (
	StatusUpdate   What = "status"
	QualityUpdate  What = "quality"
	CategoryUpdate What = "category"
)

// Event is one update from the platform.
type Event struct {
	ID   ID
	What What
	At   time.Time
	// Event and Title are those of a status update: PAUSED, FIRST_PAUSE.
	Event, Title string
	Quality      Quality
	Category     Category
}

// Check tells whether an event says something that a platform says.
func (e *Event) Check() error {
	one := func(what, text string, words ...string) error {
		if text != "" && !slices.Contains(words, text) {
			return fmt.Errorf("template: %s: write %s", what, strings.Join(words, ", "))
		}
		return nil
	}
	return errors.Join(
		one("status", e.Event, "APPROVED", "PENDING", "REJECTED", "PAUSED", "DISABLED", "DELETED", "REINSTATED"),
		one("title", e.Title, "FIRST_PAUSE", "SECOND_PAUSE", "RATE_LIMITING_PAUSE", "UNPAUSE", "DISABLED"),
		one("quality", string(e.Quality), string(Green), string(Yellow), string(Red), string(Unknown)),
		one("category", string(e.Category), string(Marketing), string(Utility), string(Authentication)))
}

// after is the state after an event.
func (s State) after(e *Event) State {
	switch e.What {
	case QualityUpdate:
		if !e.At.Before(s.Rated) {
			s.Quality, s.Rated = e.Quality, e.At
		}
		if s.Quality == Green {
			s.Held = time.Time{}
		}
		return s
	case CategoryUpdate:
		s.Category = e.Category
		return s
	}
	if !e.At.After(s.Updated) { // twice, or overtaken by a newer one
		return s
	}
	if e.Category != "" {
		s.Category = e.Category
	}
	if next, ok := s.status(e); ok {
		next.Updated = e.At
		return next
	}
	return s
}

// status is what a status update does; false for one that says nothing about sending, such as LOCKED or FLAGGED.
func (s State) status(e *Event) (State, bool) {
	switch e.Event {
	case "APPROVED", "UNARCHIVED":
		s.Status, s.Until = Approved, time.Time{}
	case "REINSTATED":
		s.Status, s.Until, s.Pauses = Approved, time.Time{}, 0
	case "PENDING", "IN_APPEAL":
		s.Status = Pending
	case "REJECTED":
		s.Status = Rejected
	case "DISABLED":
		s.Status = Disabled
	case "DELETED", "PENDING_DELETION", "ARCHIVED":
		s.Status = Deleted
	case "PAUSED":
		return s.paused(e), true
	default:
		if e.Title != "UNPAUSE" {
			return s, false
		}
		s.Status, s.Until = Approved, time.Time{}
	}
	return s, true
}

func (s State) paused(e *Event) State {
	switch e.Title {
	case "RATE_LIMITING_PAUSE":
		s.Status, s.Until = Paced, time.Time{}
		return s
	case "FIRST_PAUSE":
		s.Pauses = 1
	case "SECOND_PAUSE":
		s.Pauses = 2
	case "DISABLED":
		s.Pauses = 3
	case "UNPAUSE":
		s.Status, s.Until = Approved, time.Time{}
		return s
	default: // a platform that does not say which: the next one
		s.Pauses++
	}
	switch s.Pauses {
	case 1:
		s.Status, s.Until = Paused, e.At.Add(firstPause)
	case 2:
		s.Status, s.Until = Paused, e.At.Add(secondPause)
	default:
		s.Status, s.Until = Disabled, time.Time{}
	}
	return s
}

// Pacing holds back a new marketing template until readers were heard.
type Pacing struct {
	// First is how many sends pass before its quality is known. Default 0: no pacing.
	First int
	// Wait is how long it is then held if no quality comes. Default 30 minutes; Meta waits about 15 for its own pacing.
	Wait time.Duration
}

// Ruling is what a template says to a send. The zero value lets it pass.
type Ruling struct {
	Reason     string        // "template:paused", "template:disabled", ...
	RetryAfter time.Duration // 0 where waiting does not help
}

// judge is the ruling at a time.
func (s *State) judge(now time.Time, p Pacing) Ruling {
	switch s.Status {
	case "", Approved:
	case Paused:
		if now.Before(s.Until) {
			return Ruling{"template:paused", s.Until.Sub(now)}
		}
	case Paced:
		return Ruling{Reason: "template:paced"}
	default:
		return Ruling{Reason: "template:" + string(s.Status)}
	}
	if over := s.Held.Add(p.Wait); s.paced(p) && s.Sent >= p.First && (s.Held.IsZero() || now.Before(over)) {
		return Ruling{"template:pacing", over.Sub(now)}
	}
	return Ruling{}
}

// paced says that a template is new, and marketing, and nobody has heard readers yet.
func (s *State) paced(p Pacing) bool {
	return p.First > 0 && s.Category == Marketing && (s.Quality == "" || s.Quality == Unknown) && s.Status != ""
}
