package jobs

import (
	"math"
	"time"

	"offload/transfer"
)

// Times of what is told of a job's speed.
const (
	speedNow    = 20 * time.Second // what "now" is an average of
	speedSteady = time.Minute      // what the time left is told by
	speedKnown  = 5 * time.Second  // less than that says nothing of what is to come
	speedOver   = time.Minute      // where no byte was read for so long, nothing moves, and no end can be told
)

// speed is an average of bytes a second over the time that went by, in which what is past weighs less and less. How often
// it is told of bytes changes nothing: a burst after a long pause counts as much as the same bytes one by one. What it was
// told of first doesn't weigh more than the rest: at the beginning it is the plain average.
type speed struct{ sum, weight float64 }

// add takes the bytes that were read in a time; over is the time after which it weighs a third of what is new.
func (s *speed) add(bytes int64, took, over time.Duration) {
	keep := math.Exp(-took.Seconds() / over.Seconds())
	s.sum = s.sum*keep + float64(bytes)/took.Seconds()*(1-keep)
	s.weight = s.weight*keep + 1 - keep
}

// rate is the average in bytes a second.
func (s speed) rate() float64 {
	if s.weight == 0 {
		return 0
	}
	return s.sum / s.weight
}

// speeds are how fast a job's bytes were read by one unit, and by the one before it.
type speeds struct {
	now, steady speed
	seen        time.Duration // that they are of
	moved       time.Time     // when it was last seen that bytes were read
}

// add takes the bytes that were read until a time.
func (s *speeds) add(bytes int64, at time.Time, took time.Duration) {
	if bytes > 0 {
		s.moved = at
	}
	s.now.add(bytes, took, speedNow)
	s.steady.add(bytes, took, speedSteady)
	s.seen += took
}

// speedsLeft hands the speeds of a batch that has ended on to the next one of the same job: else each batch would begin
// by knowing nothing. Its zero value is ready; the caller of both methods holds the lock that guards it.
type speedsLeft struct{ last *speeds }

// take returns what the last batch left, once; false where there is none, or it is too old.
func (l *speedsLeft) take(now time.Time) (speeds, bool) {
	last := l.last
	if l.last = nil; last == nil || now.Sub(last.moved) > speedOver {
		return speeds{}, false
	}
	return *last, true
}

// lowestRate is the lowest of several limits at a time, in bytes a second; 0 is none. One that can't be read (of a newer
// version) limits nothing here: it is only for what is shown.
func lowestRate(at time.Time, specs ...string) int64 {
	lowest := int64(0)
	for _, spec := range specs {
		band, err := transfer.ParseBandwidth(spec)
		if err != nil {
			continue
		}
		if rate := band.At(at); rate > 0 && (lowest == 0 || rate < lowest) {
			lowest = rate
		}
	}
	return lowest
}
