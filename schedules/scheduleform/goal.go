package scheduleform

import (
	"errors"
	"strconv"
	"time"

	"offload/configs"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/transfer"
)

// room reads the order of a schedule that makes room: its goal, and the options of the jobs that it makes.
func (r *reader) room(options map[string][]string) jobs.Order {
	goal := map[string][]string{}
	for _, name := range []string{orderform.Target, orderform.Until, orderform.ForBackup, orderform.KeepRecent, orderform.Protect, orderform.Order} {
		if r.Given(name) {
			goal[name] = r.Values[name]
		}
	}
	g, wrong := orderform.ParseGoal(goal)
	r.Wrong = append(r.Wrong, wrong...)
	g.Remote, g.To = r.Path(Free, "a remote, such as icloud:"), r.Path(To, "a remote, such as dropbox:Archive")
	delete(options, orderform.Order) // another one is meant
	for _, name := range []string{orderform.FilesFrom, orderform.MaxTransfer, orderform.MaxDelete} {
		if _, ok := options[name]; ok {
			r.Fail(name, "leave it out", errors.New("doesn't go with making room: what is needed decides which files"))
		}
	}
	if _, ok := options[orderform.DeleteSource]; !ok { // without that nothing would become free
		options[orderform.DeleteSource] = []string{string(transfer.DeleteVerified)}
	}
	o, wrong := orderform.ParseOptions(options)
	r.Wrong = append(r.Wrong, wrong...)
	if !o.Deletes() {
		r.Fail(orderform.DeleteSource, "leave it out: each file is deleted as soon as it is proved", errors.New("with never nothing would become free"))
	}
	g.Purge = o.PurgeTrash
	o.Goal = &g
	return o
}

// putGoal writes a goal as room reads it.
func putGoal(values map[string][]string, g jobs.Goal) {
	put := func(name string, is bool, text string) {
		if is {
			values[name] = []string{text}
		}
	}
	delete(values, orderform.Source)
	delete(values, orderform.Dest)
	put(Free, true, g.Remote)
	put(To, true, g.To)
	put(orderform.Target, g.Free > 0, configs.Size(g.Free).String())
	put(orderform.ForBackup, g.Backup > 0, configs.Size(g.Backup).String())
	put(orderform.Until, g.Percent > 0, strconv.Itoa(g.Percent)+"%free")
	put(orderform.Order, g.Order != "", g.Order)
	put(orderform.KeepRecent, g.KeepRecent > 0, days(g.KeepRecent))
	if len(g.Protect) > 0 {
		values[orderform.Protect] = g.Protect
	}
}

// days writes a time in days where it is some.
func days(d time.Duration) string {
	if d%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(d/(24*time.Hour)), 10) + "d"
	}
	return d.String()
}
