package detect_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/sendgate/sendgate/detect"
)

// Numbers of one range are asked for one after the other from all over the world, and nobody enters a code.
func Example() {
	engine, err := detect.New(detect.Options{Size: 8 << 20, Seed: 42})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = engine.Close() }()

	at := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	for i := range uint64(60) {
		send := detect.Send{
			ID: i + 1, At: at.Add(time.Duration(i) * 5 * time.Second).UnixNano(),
			Number: 998_200_150_000 + i, CallingCode: 998, Country: detect.CountryOf("UZ"),
			Client: netip.AddrFrom4([4]byte{byte(80 + i), 1, 2, 3}), Account: 1,
		}
		result := engine.Observe(&send)
		if result.Advice.Stops() {
			fmt.Printf("send %d: %s, because of %s of %s\n", i+1, result.Advice, result.Kind, result.Signals[0].Subject)
			break
		}
	}
	// Output:
	// send 15: challenge, because of ait_range of +9982001500**
}
