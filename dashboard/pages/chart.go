package pages

import (
	"fmt"
	"slices"
	"time"

	"offload/internal/human"
	"offload/quota"
)

// The inside of a chart, in its own units. It is stretched to the room that there is; texts stand beside it.
const (
	chartHeight = 100.0
	barStep     = 10.0
	barWide     = 7.0
)

// chart is the traffic of some days as bars, ready to be drawn.
type chart struct {
	Days     []chartDay // one for each day, with traffic or without
	Width    float64
	Top      string  // what the upper edge stands for
	Line     float64 // where the limit is, from above; negative is outside
	LineText string
	Sum      string // all of it in words, for who can't see it
	Empty    bool
}

// chartDay is one bar: the used part below, the wasted one above it.
type chartDay struct {
	quota.Day
	Label                     string
	X, Y, Height, WastedY, WH float64
	Wide                      float64
}

// chartOf draws the last days until now; days without traffic are drawn empty. A line of 0 is none.
func chartOf(days []quota.Day, now time.Time, many int, line int64, lineText string) chart {
	by := map[string]quota.Day{}
	for _, d := range days {
		by[d.Date] = d
	}
	c := chart{Width: float64(many) * barStep, Line: -1, Empty: true}
	var most, used, wasted int64
	for i := range many {
		// Noon, for midnight may be left out where clocks are put forward.
		at := time.Date(now.Year(), now.Month(), now.Day()-many+1+i, 12, 0, 0, 0, now.Location())
		d := by[at.Format(time.DateOnly)]
		d.Date = at.Format(time.DateOnly)
		label := fmt.Sprintf("%s: %s", at.Format("2 January"), human.Size(d.Used))
		if d.Wasted > 0 {
			label += fmt.Sprintf(", %s of it wasted", human.Size(d.Wasted))
		}
		c.Days = append(c.Days, chartDay{Day: d, Label: label, X: float64(i) * barStep, Wide: barWide})
		most, used, wasted = max(most, d.Used), used+d.Used, wasted+d.Wasted
		c.Empty = c.Empty && d.Used == 0
	}
	top := max(most, 1)
	if line > 0 && line <= 4*top { // farther away it would press the bars flat
		top = max(top, line)
		c.Line, c.LineText = round(chartHeight*(1-float64(line)/float64(top))), lineText+": "+human.Size(line)
	}
	for i := range c.Days {
		d := &c.Days[i]
		height := chartHeight * float64(d.Used) / float64(top)
		if d.Used > 0 {
			height = max(height, 1) // a little is seen, too
		}
		waste := height * float64(min(d.Wasted, d.Used)) / float64(max(d.Used, 1))
		d.WH, d.WastedY = round(waste), round(chartHeight-height)
		d.Height, d.Y = round(height-waste), round(chartHeight-height+waste)
	}
	c.Top = human.Size(top)
	c.Sum = fmt.Sprintf("Traffic of the last %d days: %s in all, %s of it wasted; the most on one day was %s.", many, human.Size(used),
		human.Size(wasted), human.Size(most))
	return c
}

// periodSum is what was moved in one month of an account.
type periodSum struct {
	Start, End   string
	Used, Wasted int64
	Busy         time.Duration
	Running      bool
}

// periodsShown is how many months of a history are shown.
const periodsShown = 14

// periodSums adds the days up to the months that the account has now, the newest first. A month that began by another anchor
// day is cut by today's.
func periodSums(days []quota.Day, st quota.Status) []periodSum {
	loc := zone(st.TimeZone)
	var all []periodSum
	for _, d := range slices.Backward(days) {
		at, err := time.ParseInLocation(time.DateOnly, d.Date, loc)
		if err != nil {
			continue
		}
		at = at.Add(12 * time.Hour)
		of := st.Period
		if at.Before(st.Period.Start) {
			of = quota.PeriodAt(at, max(1, st.AnchorDay), loc)
			if of.End.After(st.Period.Start) {
				of.End = st.Period.Start
			}
		}
		start, end := of.Start.In(loc).Format(time.DateOnly), of.End.In(loc).AddDate(0, 0, -1).Format(time.DateOnly)
		if len(all) == 0 || all[len(all)-1].Start != start {
			if len(all) == periodsShown {
				break
			}
			all = append(all, periodSum{Start: start, End: end, Running: of.Start.Equal(st.Period.Start)})
		}
		sum := &all[len(all)-1]
		sum.Used, sum.Wasted, sum.Busy = sum.Used+d.Used, sum.Wasted+d.Wasted, sum.Busy+d.Busy
	}
	return all
}
