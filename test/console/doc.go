// Package console opens the console in a real Chromium, in front of a real sidecar that is driven by made-up traffic.
package console
