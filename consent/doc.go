// Package consent knows who may be written to: who opted out, who agreed to what, and the proof of both.
package consent
