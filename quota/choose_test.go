package quota

import "testing"

func TestTierFor(t *testing.T) {
	l, err := New(nil, Config{Tiers: []Tier{{"unlimited", Unlimited}, {"plus", 1000}, {"free", 10}}, DefaultTier: "free"})
	if err != nil {
		t.Fatal(err)
	}
	for bytes, want := range map[int64]string{0: "free", 10: "free", 11: "plus", 1000: "plus", 1001: "unlimited", 1 << 52: "unlimited"} {
		if got, ok := l.TierFor(bytes); !ok || got.Name != want {
			t.Errorf("%d bytes: %v %v, want %s", bytes, got, ok, want)
		}
	}
	if l, err = New(nil, Config{Tiers: []Tier{{"free", 10}}}); err != nil {
		t.Fatal(err)
	}
	if got, ok := l.TierFor(11); ok {
		t.Errorf("11 bytes are carried by %v", got)
	}
}
