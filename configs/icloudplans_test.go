package configs

import (
	"strings"
	"testing"
)

// A size that isn't one of a plan, or isn't in its place, is refused: advice by it would cost somebody a plan.
func TestICloudPlans(t *testing.T) {
	tests := []struct{ text, wrong string }{ // wrong is part of what is said; "any" is whatever; "" is taken
		{"[5GiB, 50GiB]", ""}, {"[1]", ""}, {"", ""}, {"[]", ""},
		{"[50GB]", "GiB"}, {"[unlimited]", "any"}, {"[0]", "any"}, {"[-5GiB]", "any"}, {"[many]", "any"}, {"[5٣GiB]", "any"}, {"[99999999PiB]", "any"},
		{"[50GiB, 5GiB]", "isn't larger"}, {"[5GiB, 5GiB]", "isn't larger"}, {"50GiB", "any"}, {"{a: 1}", "any"},
		{"[" + strings.Repeat("1GiB, ", 32) + "1GiB]", "more than 32"},
	}
	for _, tt := range tests {
		c, err := Parse("x.yaml", []byte("icloud_plans: "+tt.text+"\n"))
		if err == nil {
			err = c.WithDefaults("/d").Validate()
		}
		if (err != nil) != (tt.wrong != "") || err != nil && tt.wrong != "any" && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %v; want %q", tt.text, err, tt.wrong)
		}
	}
}
