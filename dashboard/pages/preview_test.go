package pages

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offload/dashboard/guard"
	"offload/jobs"
)

// endless are pages whose previews of the folder /dead are never done, as where it accepts and doesn't answer.
func endless(t *testing.T) *Pages {
	t.Helper()
	p := bare(t)
	p.cfg.LocalPaths = true
	p.work.previews = testPreviews(func(ctx context.Context, o jobs.Order, _ func(jobs.Plan)) (jobs.Plan, error) {
		if o.Source == "/dead" {
			<-ctx.Done()
		}
		return jobs.Plan{Complete: true}, ctx.Err()
	})
	return p
}

// preview asks for one and returns the address of its page, "" where it was refused.
func (p *Pages) preview(t *testing.T, who, source string, more ...string) (at, body string) {
	t.Helper()
	form := url.Values{"source": {source}, "destination": {"/there"}}
	for i := 0; i+1 < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	w := request(p, guard.Person{Name: who, Role: guard.Operator}, "POST", "/new/preview", form.Encode())
	safe(t, w.Body.String())
	if w.Code != http.StatusSeeOther && w.Code != http.StatusServiceUnavailable {
		t.Fatalf("%s's preview of %s: status %d: %s", who, source, w.Code, w.Body)
	}
	return w.Header().Get("Location"), w.Body.String()
}

// look loads a preview's page.
func (p *Pages) look(t *testing.T, who, at string) string {
	t.Helper()
	if at == "" {
		t.Fatalf("%s's preview was refused", who)
	}
	synctest.Wait()
	w := request(p, guard.Person{Name: who, Role: guard.Operator}, "GET", at, "")
	safe(t, w.Body.String())
	return w.Body.String()
}

// Previews whose pages were closed end soon, whoever asked for them; one whose page is open goes on.
func TestPreviewsEndWithTheirPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := endless(t)
		defer p.work.previews.bg.close()
		open, _ := p.preview(t, "anna", "/dead")
		left, _ := p.preview(t, "anna", "/dead", "label", "of autumn")
		p.preview(t, "anna", "/dead")
		p.preview(t, "ben", "/dead")
		if at, body := p.preview(t, "cara", "/live"); at != "" || strings.Contains(body, "making-title") {
			t.Errorf("a fifth at once leads to %q: %s", at, body)
		}
		for range 20 { // a minute; the clock is the bubble's own
			<-time.After(3 * time.Second)
			holds(t, p.look(t, "anna", open), "Making a preview")
		}
		at, _ := p.preview(t, "cara", "/live")
		done := p.look(t, "cara", at)
		holds(t, done, "nothing is begun yet")
		holds(t, p.look(t, "anna", left), "The preview couldn't be made", "Its page wasn&#39;t open any more", "Make it again")
		holds(t, p.look(t, "anna", "/new?preview="+path.Base(left)), "of autumn")
		<-time.After(previewLife - time.Minute)
		holds(t, p.look(t, "cara", at), "nothing is begun yet")
	})
}

// A person's oldest preview gives way where that person begins too many.
func TestOldestPreviewGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := endless(t)
		defer p.work.previews.bg.close()
		bens, _ := p.preview(t, "ben", "/dead")
		var at []string
		for range previewsOfOne + 2 {
			<-time.After(time.Second)
			one, body := p.preview(t, "anna", "/dead")
			if one == "" {
				t.Fatalf("refused: %s", body)
			}
			at = append(at, one)
		}
		for i, one := range at {
			want := "Making a preview"
			if i < 2 {
				want = "this preview, your oldest, was ended"
			}
			holds(t, p.look(t, "anna", one), want)
		}
		holds(t, p.look(t, "ben", bens), "Making a preview")
	})
}

// Who is refused is told what of theirs is being made, and stops it with the same form.
func TestRefusedPreviewOffersToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := endless(t)
		defer p.work.previews.bg.close()
		mine, _ := p.preview(t, "anna", "/dead")
		var bens []string
		for range previewsAtOnce - 1 {
			at, _ := p.preview(t, "ben", "/dead")
			bens = append(bens, at)
		}
		at, body := p.preview(t, "anna", "/live", "label", "of autumn")
		if at != "" {
			t.Fatalf("one too many leads to %s", at)
		}
		holds(t, body, "too many previews", "Stop one of yours", `name="stop" value="`+path.Base(mine)+`"`, "of autumn")
		lacks(t, body, path.Base(bens[0]))
		if at, _ := p.preview(t, "anna", "/live", "stop", path.Base(bens[0])); at != "" {
			t.Error("anna stopped ben's preview")
		}
		at, _ = p.preview(t, "anna", "/live", "stop", path.Base(mine))
		holds(t, p.look(t, "anna", at), "nothing is begun yet")
		holds(t, p.look(t, "anna", mine), "isn&#39;t there any more")
		holds(t, p.look(t, "ben", bens[0]), "Making a preview")
	})
}
