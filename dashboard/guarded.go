package dashboard

import (
	"context"
	"net/http"
	"time"

	"offload/dashboard/guard"
	"offload/dashboard/pages"
	"offload/jobs"
)

// auditTime is how long the record of a deed may keep the answer to it.
const auditTime = 2 * time.Second

// local names whoever did something where nobody has to sign in.
const local = "somebody on this machine"

// guarded is the guard of a dashboard: it speaks by the pages, and jobs hear from it who does what.
func guarded(cfg Config, p *pages.Pages) guard.Options {
	o := cfg.Guard
	o.Log = cfg.Log
	o.Fail = p.Error
	o.Login = func(w http.ResponseWriter, r *http.Request, l guard.LoginPage) {
		p.Login(w, r, l.Status, pages.Login{User: l.User, Next: l.Next, Error: l.Error})
	}
	o.Context = func(ctx context.Context, who guard.Person) context.Context {
		if who.Name == "" {
			return ctx
		}
		return jobs.By(ctx, who.Name)
	}
	o.Audit = func(ctx context.Context, d guard.Deed) {
		ctx, cancel := context.WithTimeout(ctx, auditTime)
		defer cancel()
		if d.Who == "" {
			d.Who = local
		}
		// What was done is done: it is in the log at least.
		if err := cfg.Jobs.Audit(ctx, jobs.Deed{Who: d.Who, Action: d.Action, Subject: d.Subject, Detail: d.Detail}); err != nil {
			cfg.Log.Warn("record what was done", "who", d.Who, "action", d.Action, "subject", d.Subject, "error", err)
		}
	}
	return o
}
