// Package shared lets sidecars that have one store know what the others know: what detection saw ([Evidence]), lists made by hand
// ([Lists]), and how many they are ([Members]). It runs beside the checks, never on their road, over whatever log and map the
// store offers; while the store is away each sidecar goes on with what it knows, and catches up.
package shared
