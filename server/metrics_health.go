package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sendgate/sendgate/audit"
	"github.com/sendgate/sendgate/limiter/redisstore"
)

// faulty is a store on a server elsewhere, which can be away.
type faulty interface{ Faults() redisstore.Faults }

// condition is what is read of the store's server and of the audit log when somebody scrapes.
type condition struct {
	store faulty       // nil where there is none
	trail *audit.Trail // nil where there is none
}

// Describe sends nothing, as that of state.
func (h *condition) Describe(chan<- *prometheus.Desc) {}

func (h *condition) Collect(ch chan<- prometheus.Metric) {
	tell := func(kind prometheus.ValueType, name, help, label, of string, value float64) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_"+name, help, []string{label}, nil), kind, value, of)
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	var f redisstore.Faults // a file has none
	if h.store != nil {
		f = h.store.Faults()
	}
	for fault, n := range map[string]int64{
		"failed": f.Failed, "retried": f.Retried, "refused": f.Refused, "opened": f.Opened, "given_up": f.GivenUp, "stuck": f.Stuck,
		"undone": f.Undone, "unsettled": f.Unsettled,
	} {
		tell(counter, "store_faults_total", "What went wrong between here and the store's server: commands that failed, were retried, or refused while it was away; times that it went away (opened); checks taken back (given_up), not taken back in time (stuck), taken in part and given back (undone), denied for that (unsettled).",
			"fault", fault, float64(n))
	}
	ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("sendgate_store_near_denials_total", "Denials answered without asking the store's server.", nil, nil), counter, float64(f.Near))
	if h.trail == nil {
		return
	}
	for log, s := range h.trail.Stats() {
		tell(counter, "audit_records_total", "Records written to the audit log.", "log", log, float64(s.Written))
		tell(counter, "audit_bytes_total", "Bytes written to the audit log.", "log", log, float64(s.Bytes))
		tell(counter, "audit_dropped_total", "Records missing in the audit log, because they came faster than they could be written or the disk did not take them.", "log", log, float64(s.Dropped))
		tell(counter, "audit_failures_total", "Times that the disk did not take something of the audit log.", "log", log, float64(s.Failed))
		tell(gauge, "audit_queued_records", "Records that wait to be written to the audit log.", "log", log, float64(s.Queued))
	}
}
