package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/gate"
)

// auditFlags say what is kept in the audit log, and for how long.
type auditFlags struct {
	AuditAllow float64       `help:"Share of numbers, 0 to 1, of which the audit log also keeps what was allowed and what became of it (${default})." placeholder:"SHARE" default:"0.01" env:"SENDGATE_AUDIT_ALLOW"`
	AuditRate  float64       `help:"How many refusals a second the audit log has one by one, after a burst of half a minute's; those beyond are counted by reason and account, a line a second. 0: all (${default})." placeholder:"NUMBER" default:"3000" env:"SENDGATE_AUDIT_RATE"`
	AuditKeep  time.Duration `help:"How long old files of the audit log are kept (${default})." placeholder:"TIME" default:"2160h" env:"SENDGATE_AUDIT_KEEP"`
	AuditSize  size          `help:"How large the old files of each of its two logs, checks and changes, may get together; the oldest go first (${default})." placeholder:"SIZE" default:"1GiB" env:"SENDGATE_AUDIT_SIZE"`
}

func (f *auditFlags) validate() error {
	switch {
	case !(f.AuditAllow >= 0 && f.AuditAllow <= 1):
		return fmt.Errorf("--audit-allow %v: write a share from 0 to 1, such as 0.01", f.AuditAllow)
	case !(f.AuditRate >= 0 && f.AuditRate <= 1e9):
		return fmt.Errorf("--audit-rate %v: write a number of refusals a second, such as 3000, or 0 for all", f.AuditRate)
	case f.AuditKeep < time.Hour:
		return fmt.Errorf("--audit-keep %s: must be at least 1h", f.AuditKeep)
	}
	return nil
}

func auditDir(data string) string { return filepath.Join(data, "audit") }

func (f *auditFlags) open(data string, secret []byte, now func() time.Time, log *slog.Logger) (*audit.Trail, error) {
	return audit.OpenTrail(audit.TrailOptions{Dir: auditDir(data), Secret: secret, Now: now, Log: log,
		AllowSample: f.AuditAllow, Refusals: f.AuditRate, Keep: f.AuditKeep, KeepSize: int64(f.AuditSize)})
}

// started is the data of the record that a process begins with.
type started struct {
	Version string `json:"version"`
	PID     int    `json:"pid"`
	Policy  string `json:"policy"`
	// Allow is of which share of numbers the log has what was allowed.
	Allow float64 `json:"audit_allow"`
}

// reloaded is the data of the record that another policy is in force, whoever made it so.
type reloaded struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// start begins to follow what the gate and detection do.
func (f *auditFlags) start(trail *audit.Trail, g *gate.Gate, seen *evidence) error {
	about := started{Version: buildVersion(), PID: os.Getpid(), Policy: g.Policy().Version, Allow: f.AuditAllow}
	inForce := about.Policy
	return trail.Start(about, seen.Alerts, func() uint64 { // asked every second
		if now := g.Policy().Version; now != inForce && trail.Append(audit.KindReload, reloaded{From: inForce, To: now}) == nil {
			inForce = now
		}
		return g.Stats().Dropped
	})
}
