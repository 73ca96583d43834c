package transfer

import "strings"

// longestWhy bounds Again.Why in bytes: bodies of answers may be in it.
const longestWhy = 240

// tellAgain tells the watcher that attempt n of so many follows, as the one before failed with err.
func (w *work) tellAgain(n, of int, err error) {
	w.again = true
	w.r.env.Watcher.Again(w.e.Path, Again{Attempt: n, Of: of, Why: whyAgain(err)})
}

// endAgain tells the watcher that no attempt follows any more.
func (w *work) endAgain() {
	if w.again {
		w.again = false
		w.r.env.Watcher.Again(w.e.Path, Again{})
	}
}

// whyAgain is an attempt's error in one short line, which side it came from first.
func whyAgain(err error) string {
	why := strings.Join(strings.Fields(WithoutQueries(err.Error())), " ")
	if side := sideOf(err); side != "" {
		why = side + ": " + why
	}
	if short := truncate(why, longestWhy); short != why {
		return short + "..."
	}
	return why
}
