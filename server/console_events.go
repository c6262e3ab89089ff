package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

const (
	// eventsPast is how many seconds a page begins with.
	eventsPast = 600
	// eventsPatience is how long a browser may take for one message.
	eventsPatience = 10 * time.Second
	// eventsRetry is how soon a browser comes back, in milliseconds.
	eventsRetry = 1500
)

// serveEvents sends the board as server-sent events.
func (c *console) serveEvents(w http.ResponseWriter, r *http.Request, _ *visitor) {
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) //nolint:errcheck // a connection that has none needs none taken off
	begun := false
	may := func() error { // the session may have ended, or its key be taken away
		if _, f := c.visitorOf(r); f != nil {
			return f
		}
		return nil
	}
	err := c.follow(r.Context(), eventsPast, may, func(m *sendgatev1.WatchBoardResponse) error {
		body, err := boardJSON.Marshal(m)
		if err != nil {
			return err
		}
		var event bytes.Buffer
		if !begun {
			h := w.Header()
			h.Set("Content-Type", "text/event-stream")
			h.Set("Cache-Control", "no-store")
			h.Set("X-Accel-Buffering", "no") // nginx would keep it
			fmt.Fprintf(&event, "retry: %d\n", eventsRetry)
			begun = true
		}
		event.WriteString("data: ")
		if err := json.Compact(&event, body); err != nil {
			return err
		}
		event.WriteString("\n\n")
		if err := control.SetWriteDeadline(time.Now().Add(eventsPatience)); err != nil {
			return err
		}
		if _, err := w.Write(event.Bytes()); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && !begun && !errors.Is(err, context.Canceled) {
		writeFailure(w, failureOf(err, c.log))
	}
}
