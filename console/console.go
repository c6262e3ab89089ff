// Package console holds the page that shows operators what the gate does: HTML, CSS and plain JavaScript modules, without a build
// step. The server serves it; see docs/console.md.
package console

import "embed"

// Root is the folder of [Files] that is the top of the page.
const Root = "static"

// Files are the page and all it needs. It loads nothing from anywhere else.
//
//go:embed static
var Files embed.FS
