package prices_test

import (
	"fmt"

	"github.com/sendgate/sendgate/internal/prices"
)

func Example() {
	table, err := prices.Parse("prices.csv", []byte(`prefix,price,currency,country
1,0.0079,USD,US
65,0.0420,USD,SG
6591,0.0451,USD,SG
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, number := range []uint64{6581234567, 6591234567, 4915112345678} {
		micros, err := table.Cost(number, 2)
		_, known := table.Lookup(number)
		fmt.Println(micros, table.Currency(), "millionths, known:", known, err)
	}
	_, err = prices.Parse("prices.csv", []byte("prefix,price,currency\n65,\"0,042\",USD\n"))
	fmt.Println(err)
	// Output:
	// 84000 USD millionths, known: true <nil>
	// 90200 USD millionths, known: true <nil>
	// 90200 USD millionths, known: false <nil>
	// prices.csv:2: price: "0,042" is not a price: write digits with a point, such as 0.0075
}
