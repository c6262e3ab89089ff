package server

// RegisterTally is what New does with Options.Tally.
var RegisterTally = (*Tally).register
