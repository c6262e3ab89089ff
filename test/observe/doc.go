// Package observe runs the whole sidecar and looks at everything that comes out of it: a real Prometheus scrapes it, promtool checks its
// alerts, and no number is to be found in any output or file.
package observe
