package phone

import "testing"

func TestMemoryIsBounded(t *testing.T) {
	const asked = 4 * memorySize
	number := func(i int) string { return "0065" + itoa(90_000_000+i) }
	for i := range asked {
		remember("SG", number(i), func() outcome { return outcome{number: fromDigits(uint64(i + 1))} })
		if i%1000 == 0 {
			memory.Wait() // or most are dropped at the door
		}
	}
	memory.Wait()
	kept := 0
	for i := range asked {
		want := outcome{number: fromDigits(uint64(i + 1))}
		got := remember("SG", number(i), func() outcome { kept--; return want })
		if kept++; got != want {
			t.Fatalf("%s: another's answer", number(i))
		}
	}
	if kept == 0 || kept > memorySize+memorySize/10 {
		t.Errorf("%d of %d answers are kept, want at most %d", kept, asked, memorySize)
	}
}

func TestMemoryTellsRegionsApart(t *testing.T) {
	for _, region := range []string{"", "SG", "GS"} {
		for range 2 {
			got := remember(region, "1234567", func() outcome { return outcome{reason: Reason(len(region) + int('A'+len(region)))} })
			if got.reason != Reason(len(region)+int('A'+len(region))) {
				t.Errorf("%q: %d", region, got.reason)
			}
		}
	}
}
