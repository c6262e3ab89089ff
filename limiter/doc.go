// Package limiter keeps one promise: for a rule of N per W, no interval of length W ever holds more than N admitted units of
// a key, under any concurrency, at any border, across restarts.
package limiter
