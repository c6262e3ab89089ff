package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	sendgatev1 "github.com/sendgate/sendgate/proto/sendgate/v1"
)

type statusCommand struct {
	operatorFlags
	JSON bool `name:"json" help:"Print the answers of the sidecar as JSON: status and board."`
}

func (c *statusCommand) Run(s *streams) error {
	var st *sendgatev1.StatusResponse
	err := c.ask(func(ctx context.Context, conn *grpc.ClientConn) (err error) {
		st, err = sendgatev1.NewAdminServiceClient(conn).Status(ctx, &sendgatev1.StatusRequest{})
		return err
	})
	if err != nil {
		return err
	}
	board, err := c.board(60)
	if err != nil {
		return err
	}
	if c.JSON {
		return printTogether(s.out, map[string]proto.Message{"status": st, "board": board})
	}
	return printStatus(s.out, st, board)
}

// printTogether writes several messages as one JSON object.
func printTogether(out io.Writer, messages map[string]proto.Message) error {
	all := make(map[string]json.RawMessage)
	for name, m := range messages {
		body, err := protojson.Marshal(m)
		if err != nil {
			return err
		}
		all[name] = body
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(all)
}

// printStatus writes one page.
func printStatus(out io.Writer, st *sendgatev1.StatusResponse, m *sendgatev1.WatchBoardResponse) error {
	b := topBoard{}
	b.take(m)
	g, p := b.state.Gate, st.Policy
	ready := "ready"
	if !st.Ready {
		ready = "NOT READY"
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", name, clean(fmt.Sprintf(format, args...)))
	}

	row("sendgate", "%s, %s, up %s", st.Version, ready, st.Uptime.AsDuration().Round(time.Second))
	source := p.Source
	if source == "" {
		source = "the built-in default"
	}
	row("policy", "%s from %s, in force since %s", p.Version, source, p.LoadedAt.AsTime().Local().Format(time.DateTime))
	if p.Error != "" {
		row("", "THE NEWEST FILE WAS REFUSED: %s", p.Error)
	}
	checks := b.mean(60, checksOf)
	through := ""
	if checks > 0 {
		through = fmt.Sprintf(", %.1f %% let through", 100*b.mean(60, func(s *sendgatev1.BoardSecond) float64 { return float64(s.Allowed) })/checks)
	}
	row("now", "%s checks a second in the last minute%s", decimal(checks), through)
	c := st.Checks
	row("since start", "%s allowed, %s denied, %s challenged, %s failed, %s outcomes", thousands(c.Allowed), thousands(c.Denied), thousands(c.Challenged), thousands(c.Failed), thousands(c.Outcomes))
	if g.Currency != "" {
		row("money", "%s spent, %s not spent", b.money(g.Spent), b.money(g.Stopped))
	}
	row("store", "%s, %s keys", storeOf(g), thousands(g.StoreOccupied))
	if st.Store.Error != "" {
		row("", "IT CANNOT BE ASKED: %s", st.Store.Error)
	}
	row("detection", "level %s, reports of entered codes: %s", g.DetectLevel, g.Feedback)
	row("blocks", "%d", b.state.Blocks.GetTotal())
	for _, a := range b.state.Attacks.GetAttacks() {
		shadow := ""
		if a.Shadow {
			shadow = " (shadow: stops nothing)"
		}
		row("", "%s %s: %d blocks, %s sends stopped since %s%s", a.Kind, a.Country, a.Blocks, thousands(a.Stopped), a.Since.AsTime().Local().Format("15:04"), shadow)
	}
	for i, x := range b.state.Budgets.GetBudgets() {
		name := "budgets"
		if i > 0 {
			name = ""
		}
		row(name, "%s, %s: %s of %s (%.1f %%)", x.Rule, x.Key, b.money(x.Spent), b.money(x.Budget), 100*float64(x.Spent)/float64(max(1, x.Budget)))
	}
	for _, warning := range st.Warnings {
		row("WARNING", "%s", warning)
	}
	return w.Flush()
}
