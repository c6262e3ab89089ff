// Package proxies proves what Sendgate does behind the real proxies. Each test runs an example of this repository, as it is but
// for ports and paths, and reads the proxy's own statistics: a proxy that fails open looks like one that was told yes.
package proxies
