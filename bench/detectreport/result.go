package main

// result is how a scenario went, as score.py tells it.
type result struct {
	Name    string
	Attacks map[string]*attack `json:"attacks"`
	Benign  benign             `json:"benign"`
	Gray    map[string]*gray   `json:"gray"`
}

type attack struct {
	Type      string   `json:"type"`
	N         int      `json:"n"`
	Recall    float64  `json:"recall_stop"`
	Through   int      `json:"through"`
	Before    int      `json:"before_first_detect"`
	Seconds   float64  `json:"ttd_s"` // to the first detection
	USDLost   float64  `json:"usd_lost"`
	USDTotal  float64  `json:"usd_total"`
	TopReason []string `json:"top_reason"`

	Label  string  `json:"label"`
	rate   float64 // a minute
	spread bool    // over many victims, or over a whole country
}

type benign struct {
	N         int            `json:"n"`
	Users     int            `json:"users"`
	Hard      int            `json:"fp_hard"`
	Challenge int            `json:"fp_challenge"`
	Limit     int            `json:"fp_limit"`
	BySub     map[string]sub `json:"by_sub"`
}

type sub struct {
	N         int `json:"n"`
	Hard      int `json:"hard"`
	Challenge int `json:"challenge"`
	Limit     int `json:"limit"`
}

type gray struct {
	N             int            `json:"n"`
	Throttled     float64        `json:"throttled"`
	NamedAsAttack map[string]int `json:"named_as_attack"`
}

// scenario is what of a scenario's description is needed.
type scenario struct {
	Name    string
	Attacks []struct {
		Name    string
		Type    string
		Rate    float64 `json:"rate_per_min"`
		Numbers struct {
			Mode  string
			Count int
		}
	}
}

// describe adds what the scenario knows of its attacks.
func (r *result) describe(s *scenario) {
	r.Name = s.Name
	for label, a := range r.Attacks {
		a.Label = label
		for _, x := range s.Attacks {
			if x.Name == label {
				a.rate = x.Rate
				a.spread = x.Type == "conversion_collapse" && x.Numbers.Mode != "operator" || x.Type == "otp_bruteforce" && x.Numbers.Count > 1
			}
		}
	}
}
