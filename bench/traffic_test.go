package bench

import (
	"net/netip"
	"testing"
)

func TestTraffic_populationIsAsLargeAsAsked(t *testing.T) {
	traffic := Traffic{Numbers: 100_000, Clients: MaxClients, Accounts: 7}
	numbers, clients, accounts := map[string]bool{}, map[netip.Prefix]bool{}, map[string]bool{}
	for i := range uint64(MaxClients) {
		r := traffic.Request(i)
		numbers[r.GetNumber()] = true
		accounts[r.GetAccount()] = true
		client, err := netip.ParseAddr(r.GetClientAddress())
		if err != nil {
			t.Fatal(err)
		}
		bits := 64 // an IPv6 client is counted by /64
		if client.Is4() {
			bits = 32
		}
		block, err := client.Prefix(bits)
		if err != nil {
			t.Fatal(err)
		}
		clients[block] = true
	}
	if len(numbers) != 100_000 || len(clients) != MaxClients || len(accounts) != 7 {
		t.Errorf("%d numbers, %d clients, %d accounts; want 100000, %d, 7", len(numbers), len(clients), len(accounts), MaxClients)
	}
}

func TestTraffic_numbersAreNoNeighbours(t *testing.T) {
	traffic := Traffic{Numbers: MaxNumbers, Clients: 1}
	const step = uint64(len(mobiles)) // the next number of the same country
	if a, b := traffic.Request(0).GetNumber(), traffic.Request(step).GetNumber(); a != "+6590000000" || b != "+6596180339" {
		t.Errorf("numbers %s and %s, want +6590000000 and +6596180339", a, b)
	}
}
