package phone_test

import (
	"fmt"

	"github.com/sendgate/sendgate/internal/phone"
)

func ExampleParse() {
	for _, s := range []string{"+6591234567", "9123 4567", "0065 9123-4567", "tel:+65-9123-4567", "９１２３ ４５６７"} {
		n, err := phone.Parse(s, "SG")
		fmt.Println(n, n.E164(), err)
	}
	_, err := phone.Parse("9123 4567 ext. 8", "SG")
	fmt.Println(err)
	// Output:
	// +65****67 +6591234567 <nil>
	// +65****67 +6591234567 <nil>
	// +65****67 +6591234567 <nil>
	// +65****67 +6591234567 <nil>
	// +65****67 +6591234567 <nil>
	// phone number has an extension: messages cannot be sent to one, leave it out
}

func ExampleNumber_Info() {
	n, _ := phone.Parse("+44 7911 123456", "")
	fmt.Printf("%+v\n", n.Info())
	// Output: {Country:GG CallingCode:44 Type:mobile Possible:true Valid:true}
}

func ExampleNumber_Range() {
	n, _ := phone.Parse("+6591234567", "")
	for masked := phone.MinMasked; masked <= phone.MaxMasked; masked++ {
		fmt.Println(n.Range(masked))
	}
	// Output:
	// +65912345**
	// +6591234***
	// +659123****
	// +65912*****
	// +6591******
}
