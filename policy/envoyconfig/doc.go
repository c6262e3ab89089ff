// Package envoyconfig reads the configuration files of envoyproxy/ratelimit as they are, and finds the limit of a descriptor as that
// service does.
//
// What its files can say and only its own metrics show (detailed_metric, value_to_metric, metadata) is read and has no effect. Keys
// and values are compared one by one: where that service joins them with "_", and so takes ("a", "b_c") and ("a_b", "c") for the
// same, they are two.
package envoyconfig
