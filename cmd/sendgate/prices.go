package main

import (
	"fmt"
	"os"

	"github.com/sendgate/sendgate/internal/prices"
)

// readPrices reads a price table. Without a file there is none.
func readPrices(file string) (*prices.Table, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // no table is an answer: policies without budgets need none
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("prices %s: %w: give another with --prices", file, reason(err))
	}
	return prices.Parse(file, src)
}
