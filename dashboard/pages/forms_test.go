package pages

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
	"offload/jobs/orderform"
	"offload/remotes"
	"offload/transfer"
)

// testPreviews are previews whose plans are made by a function.
func testPreviews(plan func(context.Context, jobs.Order, func(jobs.Plan)) (jobs.Plan, error)) *previews {
	v := newPreviews(Config{Log: slog.New(slog.DiscardHandler)}, &background{})
	v.plan = plan
	v.same = func(context.Context, jobs.Order) ([]jobs.Job, error) { return nil, nil }
	return v
}

func TestPreviewsAreAPersonsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := testPreviews(func(context.Context, jobs.Order, func(jobs.Plan)) (jobs.Plan, error) {
			return jobs.Plan{Warnings: make([]string, 1000)}, nil
		})
		id, err := v.start(t.Context(), "anna", jobs.Order{Source: "a:"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if p, ok := v.get(id, "anna"); !ok || !p.Done || len(p.Plan.Warnings) > warningsMost+1 {
			t.Errorf("anna's preview: %v, %d warnings", ok, len(p.Plan.Warnings))
		}
		v.drop(id, "ben")
		if _, ok := v.get(id, "ben"); ok {
			t.Error("ben sees anna's preview")
		}
		if _, ok := v.get(id, "anna"); !ok {
			t.Error("ben dropped anna's preview")
		}
		<-time.After(previewLife + time.Second) // of the bubble's own clock
		if _, ok := v.get(id, "anna"); ok {
			t.Error("a preview is kept for ever")
		}
	})
}

func TestPreviewsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := testPreviews(func(ctx context.Context, _ jobs.Order, progress func(jobs.Plan)) (jobs.Plan, error) {
			progress(jobs.Plan{Files: jobs.PlanCount{Files: 7}})
			<-ctx.Done()
			return jobs.Plan{}, context.Cause(ctx)
		})
		var ids []string
		for i := range previewsAtOnce {
			id, err := v.start(t.Context(), fmt.Sprint(i), jobs.Order{})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if _, err := v.start(t.Context(), "0", jobs.Order{}); !errors.Is(err, errPreviews) {
			t.Errorf("one more: %v", err)
		}
		synctest.Wait()
		if p, _ := v.get(ids[0], "0"); p.Done || p.Found.Files != 7 {
			t.Errorf("%+v", p)
		}
		v.drop(ids[0], "0")
		synctest.Wait()
		if _, err := v.start(t.Context(), "0", jobs.Order{}); err != nil {
			t.Errorf("after one was dropped: %v", err)
		}
		v.bg.close()
		synctest.Wait()
		if p, _ := v.get(ids[1], "1"); !p.Done || p.Err == nil {
			t.Errorf("after the end: %+v", p)
		}
		if _, err := v.start(t.Context(), "", jobs.Order{}); err == nil {
			t.Error("a preview begins after the end")
		}
		v.plan = func(context.Context, jobs.Order, func(jobs.Plan)) (jobs.Plan, error) { return jobs.Plan{}, nil }
		v.bg = &background{}
		for range previewsMost * 2 {
			if _, err := v.start(t.Context(), "", jobs.Order{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if len(v.all) > previewsMost {
			t.Errorf("%d previews are kept", len(v.all))
		}
	})
}

// A remote that doesn't answer, whose backend heeds no end, hangs nobody: it is said after a minute, and it isn't asked again
// before it has let go.
func TestARemoteThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let, asked := make(chan struct{}), 0
		b := newRemoteBook(Config{Log: slog.New(slog.DiscardHandler), Check: func(context.Context, string) (transfer.RemoteCheck, error) {
			asked++
			<-let
			return transfer.RemoteCheck{Answers: true}, nil
		}}, &background{})
		b.look(t.Context(), "slow")
		<-time.After(remotes.CheckTime + time.Second)
		synctest.Wait()
		b.mu.Lock()
		s := *b.seen["slow"]
		b.mu.Unlock()
		if s.problem == "" || !s.looking || s.at.IsZero() {
			t.Errorf("after a minute: %+v", s)
		}
		b.look(t.Context(), "slow")
		synctest.Wait()
		close(let)
		synctest.Wait()
		if asked != 1 {
			t.Errorf("asked %d times", asked)
		}
		b.look(t.Context(), "slow")
		synctest.Wait()
		b.mu.Lock()
		defer b.mu.Unlock()
		if s := b.seen["slow"]; s.problem != "" || s.looking || s.found == nil {
			t.Errorf("once it answers: %+v", s)
		}
	})
}

// request asks the pages as a person.
func request(p *Pages, who guard.Person, method, path, form string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form))
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r.WithContext(guard.As(r.Context(), who)))
	return w
}

func TestFormsAreForOperators(t *testing.T) {
	p := bare(t)
	defer p.Close()
	for _, path := range []string{"GET /new", "POST /new", "POST /new/preview", "GET /new/preview/x", "POST /new/preview/x", "POST /new/preview/x/drop", "GET /remotes/add",
		"POST /remotes/add", "GET /remotes/x/sign-in", "POST /remotes/x/sign-in", "POST /remotes/x/begin", "POST /remotes/x/stop", "POST /remotes/x/check", "GET /remotes/x/remove", "POST /remotes/x/remove"} {
		method, at, _ := strings.Cut(path, " ")
		if w := request(p, guard.Person{Role: guard.Viewer}, method, at, ""); w.Code != http.StatusForbidden {
			t.Errorf("a viewer's %s: status %d", path, w.Code)
		}
		if w := request(p, guard.Person{Role: guard.Operator}, method, at, ""); w.Code == http.StatusForbidden || w.Code == http.StatusInternalServerError {
			t.Errorf("an operator's %s: status %d", path, w.Code)
		}
	}
	if w := request(p, guard.Person{Role: guard.Viewer}, "GET", "/remotes", ""); w.Code != http.StatusOK || strings.Contains(w.Body.String(), "/remotes/add") {
		t.Errorf("a viewer's list: status %d", w.Code)
	}
}

// Whatever people and clouds call things, no page becomes another one by it.
func TestHostileForms(t *testing.T) {
	p := bare(t)
	defer p.Close()
	p.cfg.Browse = func(context.Context, string, int) ([]transfer.DirEntry, bool, error) {
		return []transfer.DirEntry{{Name: hostile, IsDir: true}, {Name: "a/b", IsDir: true}, {Name: hostile, Size: 1}}, true, nil
	}
	operator := guard.Person{Role: guard.Operator}
	form := url.Values{"side": {hostile}, "at": {"/x"}}
	for _, name := range append(orderform.OptionNames(), orderform.Source, orderform.Dest) {
		form.Set(name, strings.Map(func(r rune) rune {
			if r < ' ' || r == '\u202e' {
				return -1 // a form gives back what was typed, as it was
			}
			return r
		}, hostile))
	}
	for _, path := range []string{"/new", "/new/preview"} {
		w := request(p, operator, "POST", path, form.Encode())
		safe(t, w.Body.String())
		if !strings.Contains(w.Body.String(), "&lt;script&gt;") {
			t.Errorf("%s keeps nothing of what was typed", path)
		}
	}
	page := &previewPage{preview: preview{ID: "X", Done: true, Order: jobs.Order{Source: hostile, Dest: hostile, Options: transfer.Options{DeleteSource: transfer.DeleteVerified}},
		Plan: jobs.Plan{Warnings: []string{hostile}, Examples: []jobs.FileRecord{{Path: hostile, Reason: hostile}}, TooLarge: []jobs.FileRecord{{Path: hostile, Reason: hostile}}},
		Same: []jobs.Job{{ID: "Y"}}}, Command: orderform.CommandLine(jobs.Order{Source: hostile, Dest: hostile, Label: hostile}), Wrong: hostile}
	wrong := &remotes.SignInError{Err: errors.New(hostile), Hint: hostile}
	view := remoteView{Known: remotes.Known{Name: hostile, Kind: hostile, Where: hostile, SignsIn: true}, At: time.Now(), Problem: hostile, Found: &transfer.RemoteCheck{ByKind: map[string]int64{hostile: 1}}}
	sign := &signInPage{SignInState: remotes.SignInState{Name: hostile, Kind: hostile, Note: hostile, Err: wrong, Question: &remotes.Question{Name: hostile, Help: hostile + "\n" + hostile,
		Choices: []remotes.Choice{{Value: "<b>", Help: hostile}}}}, There: true}
	sign.ask()
	busy := &signInPage{SignInState: remotes.SignInState{Name: hostile, Kind: hostile, Busy: true, Link: "javascript:alert(3)"}, There: true}
	for name, data := range map[string]any{"preview": page, "remotes": &remotesPage{All: []remoteView{view}, Hidden: []string{hostile}}, "sign_in": sign,
		"remote_add": &addPage{Chosen: "webdav", Name: "<b>", User: "<b>", Client: "<b>", Err: wrong}, "remote_remove": &removePage{Remote: &view, Jobs: []jobs.Job{{Label: hostile}}, Wrong: hostile}} {
		w := shown(t, operator, func(w http.ResponseWriter, r *http.Request) { p.render(w, r, 200, name, data) })
		if w.Code != 200 {
			t.Errorf("%s: status %d", name, w.Code)
		}
	}
	w := httptest.NewRecorder()
	p.render(w, httptest.NewRequest("GET", "/x", nil), 200, "sign_in", busy)
	if strings.Contains(w.Body.String(), `href="javascript:`) {
		t.Error("a link runs a script")
	}
}

func TestConfirms(t *testing.T) {
	for _, tt := range []struct {
		typed string
		want  bool
	}{{"1204", true}, {"1,204", true}, {" 1 204 ", true}, {"1.204", true}, {"icloud:Documents", true}, {"", false}, {"0", false}, {"+1204", false}, {"-1204", false},
		{"1205", false}, {"icloud:", false}, {"yes", false}, {"١٢٠٤", false}, {"12 04x", false}} {
		if got := confirms(tt.typed, "icloud:Documents", 1204); got != tt.want {
			t.Errorf("%q: %v", tt.typed, got)
		}
	}
	if confirms("", "", 0) {
		t.Error("nothing confirms")
	}
}

func TestSameMachine(t *testing.T) {
	for _, tt := range []struct {
		from, host string
		want       bool
	}{{"127.0.0.1:5", "localhost:7317", true}, {"[::1]:5", "[::1]:7317", true}, {"127.0.0.1:5", "127.0.0.1", true}, {"127.0.0.1:5", "offload.example", false},
		{"10.0.0.2:5", "localhost:7317", false}, {"", "localhost", false}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Host = tt.from, tt.host
		if got := sameMachine(r); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

func TestCrumbs(t *testing.T) {
	if got := fmt.Sprint(crumbs("icloud:a/b c")); got != "[{icloud: icloud:} {a icloud:a} {b c icloud:a/b c}]" {
		t.Error(got)
	}
	if crumbs("/local") != nil || below("icloud:", "x") != "icloud:x" || below("icloud:a", "x") != "icloud:a/x" {
		t.Error("paths are put together wrongly")
	}
}
