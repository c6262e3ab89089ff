// Package alert tells operators what detection sees, without telling them the same thing again and again.
//
// A [Teller] asks the engine for its alerts now and then, puts together what belongs together (all ranges of one country that are
// pumped are one attack), keeps quiet about it for a while, and delivers: to the log, and to a [Webhook] signed as Standard
// Webhooks (standardwebhooks.com) have it. What cannot be delivered after many tries is written to a dead-letter file. No text
// holds a full number.
package alert
