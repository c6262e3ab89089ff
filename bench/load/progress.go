package main

import (
	"fmt"
	"os"
	"time"
)

// progress shows how far a run is: one line that is written over on a terminal, a few lines elsewhere.
type progress struct {
	line func() string
	stop chan struct{}
	done chan struct{}
}

func startProgress(total time.Duration, line func() string) *progress {
	p := &progress{line: line, stop: make(chan struct{}), done: make(chan struct{})}
	every, before, after := max(total/5, time.Second), "", "\n"
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	if terminal {
		every, before, after = 200*time.Millisecond, "\r\x1b[K", ""
	}
	go func() {
		defer close(p.done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(os.Stderr, before, p.line(), after)
			case <-p.stop:
				if terminal {
					fmt.Fprint(os.Stderr, before)
				}
				return
			}
		}
	}()
	return p
}

// finish takes the line off the terminal.
func (p *progress) finish() {
	close(p.stop)
	<-p.done
}
