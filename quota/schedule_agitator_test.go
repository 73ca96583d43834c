package quota

import (
	"fmt"
	"time"
)

// agitate disturbs the processes every few parts of files: it changes limits and anchors, moves the clock and restarts
// Redis.
func agitate(a *actor) {
	w := a.w
	ready := func() bool {
		return w.actions > 0 && (w.parts >= w.nextAct || len(w.queue)+w.running == 0)
	}
	for a.await(ready) {
		w.mu.Lock()
		w.actions--
		w.nextAct = w.parts + 1 + a.rnd.IntN(10)
		w.mu.Unlock()
		if err := w.disturb(a); err != nil && !a.dead {
			w.fail(fmt.Errorf("agitator: %w", err))
			return
		}
	}
}

func (w *world) disturb(a *actor) error {
	if w.older && w.backup == "" {
		return w.save()
	}
	switch n := a.rnd.IntN(100); {
	case w.older && (w.isLast() || n >= 70):
		if n%5 == 0 {
			return w.save()
		}
		if err := w.restart(w.backup); err != nil || a.rnd.IntN(2) == 0 {
			return err
		}
		return w.changeLimit(a) // somebody says again what Redis has forgotten, or something else
	case n < 30:
		return w.changeLimit(a)
	case n < 36:
		day := 1 + a.rnd.IntN(31)
		w.hit(func(h *hits) { h.anchors++ })
		return w.set(a, w.subjects[0], Change{AnchorDay: &day})
	case n < 42:
		zone := testZones[a.rnd.IntN(len(testZones))]
		w.hit(func(h *hits) { h.zones++ })
		i := a.rnd.IntN(len(w.subjects))
		if i == 1 {
			i = 0 // days have no zone of their own
		}
		return w.set(a, w.subjects[i], Change{TimeZone: &zone})
	case n < 76:
		return w.moveClock(a)
	case n < 84:
		w.mu.Lock()
		defer w.mu.Unlock()
		w.down = 1 + a.rnd.IntN(12)
		w.notef("Redis is away for %d calls", w.down)
		return nil
	case n < 88:
		return w.restart("")
	}
	return w.moveClock(a)
}

// isLast tells whether the agitator does its last thing.
func (w *world) isLast() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.actions == 0
}

// changeLimit sets another limit or plan.
func (w *world) changeLimit(a *actor) error {
	s := w.subjects[a.rnd.IntN(len(w.subjects))]
	var c Change
	switch n := a.rnd.IntN(8); {
	case n == 7 && s == w.subjects[0]:
		return w.remove(a, s)
	case n < 3 && s == w.subjects[0]:
		c.Plan = &w.cfg.Tiers[a.rnd.IntN(len(w.cfg.Tiers))].Name
	case n == 3:
		c.Limit = ptr(int64(Unlimited))
	case n == 4:
		c.Limit = ptr(int64(0))
	default:
		c.Limit = ptr(a.rnd.Int64N(2 * s.initial))
	}
	w.hit(func(h *hits) { h.limits++ })
	return w.set(a, s, c)
}

// set changes a subject while the auditor knows that its limit may be the old or the new one.
func (w *world) set(a *actor, s *subject, c Change) error {
	w.auditing.Lock()
	s.high = 1 << 62
	w.auditing.Unlock()
	st, err := a.ledger.Set(w.ctx, s.name, c)
	if err != nil {
		return err
	}
	if w.free {
		w.look(nil)
	}
	w.auditing.Lock()
	s.high = st.Limit
	w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notef("%s: limit %d, anchor %d, zone %s, period %s", s.name, st.Limit, st.AnchorDay, st.TimeZone, st.Period.ID)
	w.changed()
	return nil
}

// remove closes an account; the next change of its limit opens it again.
func (w *world) remove(a *actor, s *subject) error {
	w.auditing.Lock()
	s.high = 1 << 62
	w.auditing.Unlock()
	if err := a.ledger.Remove(w.ctx, s.name); err != nil {
		return err
	}
	if w.free {
		w.look(nil)
	}
	w.auditing.Lock()
	s.high = 0
	w.auditing.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hits.removals++
	w.notef("%s is removed", s.name)
	w.changed()
	return nil
}

// moveClock lets time pass, or puts the clock ahead or back.
func (w *world) moveClock(a *actor) error {
	now := w.time()
	to := now.Add(time.Duration(a.rnd.Int64N(int64(70 * time.Second))))
	s := w.subjects[a.rnd.IntN(len(w.subjects))]
	switch a.rnd.IntN(8) {
	case 0: // about the end of a period
		st, err := a.ledger.Status(w.ctx, s.name)
		if err != nil {
			return err
		}
		to = st.Period.End.Add(time.Duration(a.rnd.Int64N(int64(4*time.Second))) - 2*time.Second)
	case 1:
		to = now.Add(time.Duration(a.rnd.Int64N(int64(70 * 24 * time.Hour))))
		w.hit(func(h *hits) { h.ahead++ })
	case 2:
		to = now.Add(-time.Duration(a.rnd.Int64N(int64(40 * 24 * time.Hour))))
		w.hit(func(h *hits) { h.back++ })
	case 3: // the weekend on which European clocks are put forward or back
		month := []time.Month{time.March, time.October}[a.rnd.IntN(2)]
		last := time.Date(now.Year()+1, month+1, 0, 1, 0, 0, 0, time.UTC)
		to = last.AddDate(0, 0, -int(last.Weekday())).Add(time.Duration(a.rnd.Int64N(int64(8*time.Hour))) - 4*time.Hour)
		w.hit(func(h *hits) { h.summertime++ })
	}
	w.note("the clock goes to %s", to.Format(time.DateTime))
	return w.setClock(to)
}

// save copies Redis' file for a later restart.
func (w *world) save() error {
	w.stage.gate.Lock()
	defer w.stage.gate.Unlock()
	w.backup = w.stage.server.Save()
	w.marked()
	w.note("Redis' file is copied")
	return nil
}

// restart kills Redis and starts it again, on a copy of its file where one is named.
func (w *world) restart(backup string) error {
	w.stage.gate.Lock()
	defer w.stage.gate.Unlock()
	if backup == "" {
		w.stage.server.Kill()
		w.stage.server.Run()
		w.hit(func(h *hits) { h.restarts++ })
	} else {
		w.stage.server.Restore(backup)
		w.restored()
		w.hit(func(h *hits) { h.restores++ })
	}
	w.note("Redis is restarted, with an older file: %t", backup != "")
	if err := w.stage.setClock(w.ctx, w.time()); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed()
	return nil
}
