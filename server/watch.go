package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// watchEvery is how long a change may go unseen where the system tells nothing, such as on a network file system.
	watchEvery = time.Second
	// settleFor is how long content must stay as it is before it is believed: a file is not written at once.
	settleFor = 50 * time.Millisecond
)

// watch calls apply when the content of the files has changed and settled, until ctx ends. It goes by content: what the system
// tells of directories only wakes it. files is asked again each time.
func watch(ctx context.Context, log *slog.Logger, files func() []string, apply func()) {
	var events <-chan fsnotify.Event // nil: never
	var errs <-chan error
	notify, err := fsnotify.NewWatcher()
	if err != nil {
		log.Warn("files are looked at every second only", "err", err)
	} else {
		defer notify.Close()
		events, errs = notify.Events, notify.Errors
	}
	var seen [sha256.Size]byte // nothing, so that what changed before now is found
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if notify != nil {
			follow(notify, files())
		}
		for now := digest(files()); now != seen; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(settleFor):
			}
			if again := digest(files()); again == now {
				seen = now
				apply()
			} else {
				now = again
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-events:
		case <-errs: // too many events: the tick finds what they were about
		}
	}
}

// follow watches the directories of files: a file itself may be replaced.
func follow(w *fsnotify.Watcher, files []string) {
	for _, f := range files {
		_ = w.Add(filepath.Dir(f)) // adding one twice does nothing; one that is not there is found by the tick
	}
}

func digest(files []string) (sum [sha256.Size]byte) {
	h := sha256.New()
	for _, f := range files {
		src, err := os.ReadFile(f)
		fmt.Fprintf(h, "%q %t %d ", f, err == nil, len(src))
		h.Write(src)
	}
	h.Sum(sum[:0])
	return sum
}
