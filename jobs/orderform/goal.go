package orderform

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"offload/configs"
	"offload/jobs"
)

// The names of a goal's fields, beside Order.
const (
	Target     = "target"
	Until      = "until"
	ForBackup  = "for-backup"
	KeepRecent = "keep-recent"
	Protect    = "protect"
)

// GoalOrders are the orders in which files are chosen to make room, the default first.
func GoalOrders() []string { return []string{"oldest", "largest", "fewest"} }

// ParseGoal reads how much room is to be made and which files may go for it. The remotes are left to whoever asks. All
// mistakes are returned, each with its field.
func ParseGoal(values map[string][]string) (g jobs.Goal, wrong []*jobs.OrderError) {
	f := Fields{Values: values}
	size := func(field string) int64 {
		n, err := configs.ParseSize(f.Text(field))
		if err == nil && n <= 0 {
			err = errors.New("0 is no room")
		}
		if err != nil {
			f.Fail(field, "write a size like 500MiB or 20GiB", err)
		}
		return n
	}
	given := 0
	for field, read := range map[string]func(){
		Target:    func() { g.Free = size(Target) },
		ForBackup: func() { g.Backup = size(ForBackup) },
		Until: func() {
			var err error
			if g.Percent, err = percent(f.Text(Until)); err != nil {
				f.Fail(Until, "write a part of the whole, 1% to 99%, such as 40%free", err)
			}
		},
	} {
		if f.Given(field) {
			given++
			read()
		}
	}
	if given != 1 {
		return g, []*jobs.OrderError{{Field: Target, Hint: "such as --target 20GiB, --until 40%free or --for-backup 12GiB",
			Err: errors.New("exactly one of --target, --until and --for-backup says how much is to be free")}}
	}
	if f.Given(KeepRecent) {
		var err error
		if g.KeepRecent, err = configs.ParseDuration(f.Text(KeepRecent)); err != nil {
			f.Fail(KeepRecent, "write a duration like 90d or 12w", err)
		}
	}
	if g.Protect = values[Protect]; slices.Contains(g.Protect, "") {
		f.Fail(Protect, "write a pattern like *.jpg or /Photos/**", errors.New("the pattern is empty"))
	}
	if f.Given(Order) {
		if g.Order = f.Text(Order); !slices.Contains(GoalOrders(), g.Order) {
			f.Fail(Order, "choose "+strings.Join(GoalOrders(), ", "), fmt.Errorf("unknown value %s", configs.Quote(g.Order)))
		}
	}
	return g, f.Wrong
}

// percent reads a part of the whole: "40%free" or "40%".
func percent(text string) (int, error) {
	digits, ok := strings.CutSuffix(strings.TrimSuffix(strings.TrimSpace(text), "free"), "%")
	n, err := configs.ParseCount(digits, 1, 99)
	if !ok || err != nil {
		return 0, fmt.Errorf("%s is no part of the whole", configs.Quote(text))
	}
	return int(n), nil
}
