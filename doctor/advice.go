package doctor

import (
	"fmt"

	"offload/internal/human"
)

// Advice is how the account stands beside the next smaller iCloud plan. Bytes.
type Advice struct {
	Plan    int64 `json:"plan"`    // that the account has
	Used    int64 `json:"used"`    // with what a backup still needs, where that was said
	Smaller int64 `json:"smaller"` // the next smaller plan; 0 where there is none
	Move    int64 `json:"move"`    // how much more must be moved out for it; 0 where it fits already
	// Movable tells whether so much lies in iCloud Drive; nil where the account doesn't tell.
	Movable *bool `json:"movable,omitempty"`
}

// advise compares what the account holds with the next smaller plan. It returns nil where no plans are configured. A backup
// that somebody asked for must still fit; an estimate asks for nothing, since it is in what is used already.
func advise(plans []int64, s *Storage) *Advice {
	if len(plans) == 0 {
		return nil
	}
	a := &Advice{Plan: s.Total, Used: s.Used}
	if !s.Estimated {
		a.Used += s.Backup
	}
	for _, p := range plans {
		if p < s.Total {
			a.Smaller = max(a.Smaller, p)
		}
	}
	if a.Smaller == 0 {
		return a
	}
	a.Move = max(0, a.Used-a.Smaller)
	if s.Movable != nil {
		n := *s.Movable
		if s.Trash != nil {
			n += s.Trash.Bytes // purging makes that room
		}
		can := a.Move <= n
		a.Movable = &can
	}
	return a
}

func (e *examined) planFinding(a *Advice) Finding {
	f := Finding{ID: "plan", Level: OK}
	with := ""
	if a.Used > 0 && e.p.Backup > 0 {
		with = ", a backup of " + human.Size(e.p.Backup) + " included"
	}
	switch {
	case a.Smaller == 0:
		f.What = human.Size(a.Plan) + " is the smallest iCloud plan"
	case a.Move == 0:
		f.Level = Note
		f.What = fmt.Sprintf("the plan of %s would do, too: %s is used of %s%s", human.Size(a.Smaller), human.Size(a.Used), human.Size(a.Plan), with)
	case a.Movable != nil && *a.Movable:
		f.Level = Note
		f.What = fmt.Sprintf("with %s more moved out, the plan of %s would do%s", human.Size(a.Move), human.Size(a.Smaller), with)
		f.Why = "so much lies in iCloud Drive"
	default:
		f.What = fmt.Sprintf("%s more would have to go for the plan of %s: more than offload can move", human.Size(a.Move), human.Size(a.Smaller))
	}
	return f
}
