package jobs

import "time"

// longestGuess is the longest time that is told from the pace: beyond it the pace says nothing.
const longestGuess = 30 * 24 * time.Hour

// ToMove estimates the bytes that the job moves in all. What is skipped isn't moved, and of the skipped files only the
// number is known: they are taken to be of average size.
func (p Progress) ToMove() int64 {
	f, b := p.Job.Files, p.Job.Bytes
	if f.Found == 0 {
		return 0
	}
	left := float64(b.Found) * float64(f.Found-f.Skipped-f.SetAside) / float64(f.Found)
	return max(int64(left), b.Copied+p.Moving)
}

// Left is the time that the rest takes at the pace of the last minutes, but no faster than the limit of now; false where that
// can't be told: while too little was read, or when nothing has been for a while. Waits to come aren't in it: see
// Service.Forecast. Where it would be more than a month it is that month.
func (p Progress) Left() (time.Duration, bool) {
	rest := p.ToMove() - p.Job.Bytes.Copied - p.Moving
	pace := p.Pace
	if p.Limit > 0 {
		pace = min(pace, float64(p.Limit))
	}
	if pace < 1 || rest <= 0 || !p.Job.ScanComplete || p.Job.State != Transferring {
		return 0, false
	}
	seconds := float64(rest) / pace
	if seconds >= longestGuess.Seconds() {
		return longestGuess, true
	}
	return time.Duration(seconds * float64(time.Second)), true
}
