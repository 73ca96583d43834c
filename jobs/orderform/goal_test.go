package orderform

import (
	"strings"
	"testing"
	"time"

	"offload/jobs"
)

func TestGoals(t *testing.T) {
	for text, want := range map[string]jobs.Goal{
		"target=20GiB":                    {Free: 20 << 30},
		"until=40%free":                   {Percent: 40},
		"until=99%":                       {Percent: 99},
		"for-backup=1KiB,keep-recent=90d": {Backup: 1 << 10, KeepRecent: 90 * 24 * time.Hour},
		"target=1B,order=fewest,protect=/a/**,protect=*.b": {Free: 1, Order: "fewest", Protect: []string{"/a/**", "*.b"}},
	} {
		g, wrong := ParseGoal(valuesOf(text))
		if len(wrong) > 0 || g.Free != want.Free || g.Percent != want.Percent || g.Backup != want.Backup || g.Order != want.Order ||
			g.KeepRecent != want.KeepRecent || strings.Join(g.Protect, " ") != strings.Join(want.Protect, " ") {
			t.Errorf("%s: %+v, %v", text, g, wrong)
		}
	}
	for text, field := range map[string]string{
		"": Target, "target=1GiB,until=3%": Target, "target=": Target, "target=0": Target, "target=-1GiB": Target, "target=NaN": Target,
		"target=1e400": Target, "target=99999999999GiB": Target, "for-backup=0B": ForBackup, "until=0%": Until, "until=100%": Until, "until=40": Until,
		"until=NaN%": Until, "until=４0%": Until, "target=1GiB,keep-recent=-1d": KeepRecent, "target=1GiB,keep-recent=soon": KeepRecent,
		"target=1GiB,protect=": Protect, "target=1GiB,order=newest": Order, "target=1GiB,target=2GiB": Target,
	} {
		if _, wrong := ParseGoal(valuesOf(text)); len(wrong) != 1 || wrong[0].Field != field || wrong[0].Hint == "" || wrong[0].Err == nil {
			t.Errorf("%s: %v", text, wrong)
		}
	}
}

func valuesOf(text string) map[string][]string {
	values := map[string][]string{}
	for pair := range strings.SplitSeq(text, ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			values[name] = append(values[name], value)
		}
	}
	return values
}
