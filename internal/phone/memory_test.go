package phone

import (
	"strconv"
	"testing"
)

func TestMemoryIsBounded(t *testing.T) {
	const asked = 4 * memorySize
	number := func(i int) string { return "0065" + strconv.Itoa(90_000_000+i) }
	memory.Clear() // other tests fill it
	for i := range asked {
		remember("SG", number(i), func() outcome { return outcome{number: fromDigits(uint64(i + 1))} })
		if i%1000 == 0 {
			memory.Wait() // or most are dropped at the door
		}
	}
	memory.Wait()
	kept := 0
	for i := range asked {
		key, check := memoryKey("SG", number(i))
		r, ok := memory.Get(key)
		if !ok {
			continue
		}
		if kept++; r.check != check || r.answer.number != fromDigits(uint64(i+1)) {
			t.Fatalf("%s: another's answer", number(i))
		}
	}
	t.Logf("%d of %d answers are kept", kept, asked)
	if kept < memorySize/2 || kept > memorySize+memorySize/10 {
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
