package schedules

import (
	_ "embed"
	"strings"
)

//go:embed zones.txt
var zoneNames string

// Zones are the names of the time zones, for forms and suggestions.
func Zones() []string { return strings.Fields(zoneNames) }

// nearZone is the zone that somebody may have meant, "" for none: the name in another case, the city alone, or the one that
// begins alike.
func nearZone(name string) string {
	name = strings.ToLower(strings.ReplaceAll(strings.TrimSpace(name), " ", "_"))
	best, longest := "", 0
	for _, z := range Zones() {
		low := strings.ToLower(z)
		city := low[strings.LastIndex(low, "/")+1:]
		if name == low || name == city {
			return z
		}
		// Of a name that is mistyped the beginning tells enough: the area, and three letters of the city.
		if n := alike(name, low); n > longest && n >= len(low)-len(city)+3 {
			best, longest = z, n
		}
	}
	return best
}

// alike is how many bytes two words have in common at their beginning.
func alike(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}
