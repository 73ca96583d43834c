package remotes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/fs/config"

	"offload/internal/cloudtest"
)

// play starts the played clouds and makes rclone meet them.
func play(t *testing.T) *cloudtest.World {
	t.Helper()
	w, err := cloudtest.Start(cloudtest.Options{Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	restore := w.UseByRclone()
	if err := config.SetCacheDir(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		restore()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// begin begins to sign in to the played account.
func begin(t *testing.T, acc *cloudtest.Account) *Draft {
	t.Helper()
	d, err := NewDraft("icloud", KindICloud, map[string]string{"apple_id": acc.AppleID(), "password": acc.Password()})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := d.Ask(t.Context(), false); err != nil || done || d.Question == nil || d.Question.Name != "config_2fa" {
		t.Fatalf("the first question: done %v, %v, %+v; want the code", done, err, d.Question)
	}
	return d
}

// wrong returns a code that isn't the right one.
func wrong(right string) string {
	if right == "000000" {
		return "111111"
	}
	return "000000"
}

// works opens the remote that the draft has become and lists its root.
func works(t *testing.T, d *Draft) {
	t.Helper()
	f, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.List(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
}

func TestSignInByCodeWrongFirst(t *testing.T) {
	w := play(t)
	acc := w.ICloud.Default()
	d := begin(t, acc)
	state := *d
	state.Values = maps.Clone(d.Values)
	if done, err := d.Answer(t.Context(), wrong(acc.Code())); err == nil || done {
		t.Fatal("a wrong code is taken")
	}
	if d.State != state.State || !maps.Equal(d.Values, state.Values) {
		t.Error("a wrong code changed the draft")
	}
	if done, err := d.Answer(t.Context(), acc.Code()); err != nil || !done {
		t.Fatalf("the right code: done %v, %v", done, err)
	}
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	values := d.Result(now)
	if values["trust_token"] == "" || values["cookies"] == "" || values["_auth_session"] != "" || values["trust_time"] != "2026-11-22T10:00:00Z" || values["type"] != KindICloud {
		t.Errorf("the keys are %v", slices.Sorted(maps.Keys(values)))
	}
	if acc.SignIns() != 1 {
		t.Errorf("%d sign-ins; want 1", acc.SignIns())
	}
	works(t, d)
}

// TestSignInBySMSWrongFirst: rclone forgets the sign-in after a wrong SMS code; here it can be typed again.
func TestSignInBySMSWrongFirst(t *testing.T) {
	for _, phones := range []int{1, 2} {
		t.Run(fmt.Sprint(phones, " phones"), func(t *testing.T) {
			w := play(t)
			acc := w.ICloud.Default()
			list := []cloudtest.Phone{{ID: 4, Number: "+49 ••••• ••12"}, {ID: 7, Number: "+49 ••••• ••34"}}[:phones]
			acc.SetPhones(list...)
			d := begin(t, acc)
			if done, err := d.Answer(t.Context(), "sms"); err != nil || done {
				t.Fatalf("asking for an SMS: done %v, %v", done, err)
			}
			id := list[phones-1].ID
			if phones > 1 {
				if d.Question.Name != "config_2fa_phone" || len(d.Question.Choices) != 2 {
					t.Fatalf("the question is %+v; want a choice of phones", d.Question)
				}
				if done, err := d.Answer(t.Context(), d.Question.Choices[1].Value); err != nil || done {
					t.Fatalf("choosing a phone: done %v, %v", done, err)
				}
			}
			if d.Question.Name != "config_2fa_sms" {
				t.Fatalf("the question is %+v; want the code of the message", d.Question)
			}
			code := acc.SMSCode(id)
			if done, err := d.Answer(t.Context(), wrong(code)); err == nil || done {
				t.Fatal("a wrong code is taken")
			}
			if done, err := d.Answer(t.Context(), code); err != nil || !done {
				t.Fatalf("the right code: done %v, %v", done, err)
			}
			works(t, d)
		})
	}
}

func TestASecondProcessEndsTheSignIn(t *testing.T) {
	w := play(t)
	acc := w.ICloud.Default()
	client := startRedis(t)
	first := open(t, client, "pass")
	d := begin(t, acc)
	if err := first.SaveDraft(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	second := open(t, client, "pass")
	if names := second.GetSectionList(); len(names) != 0 {
		t.Errorf("a half-way sign-in is a remote: %v", names)
	}
	got, err := second.Draft(t.Context(), "icloud")
	if err != nil || got == nil {
		t.Fatalf("the draft: %v, %v", got, err)
	}
	if done, err := got.Answer(t.Context(), acc.Code()); err != nil || !done {
		t.Fatalf("the right code: done %v, %v", done, err)
	}
	if acc.SignIns() != 1 {
		t.Errorf("%d sign-ins; want 1", acc.SignIns())
	}
	if err := second.DropDraft(t.Context(), "icloud"); err != nil {
		t.Fatal(err)
	}
	if d, err := first.Draft(t.Context(), "icloud"); d != nil || err != nil {
		t.Errorf("the draft is still there: %v, %v", d, err)
	}
}

func TestOldDraftsAreForgotten(t *testing.T) {
	s := open(t, startRedis(t), "pass")
	d, err := NewDraft("m", "memory", nil)
	if err != nil {
		t.Fatal(err)
	}
	d.Begun = time.Now().Add(-draftLife - time.Minute)
	if err := s.SaveDraft(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Draft(t.Context(), "m"); got != nil || err != nil {
		t.Errorf("got %v, %v; want none", got, err)
	}
}

func TestAWrongPasswordOfAppleIsAnError(t *testing.T) {
	w := play(t)
	acc := w.ICloud.Default()
	d, err := NewDraft("icloud", KindICloud, map[string]string{"apple_id": acc.AppleID(), "password": "planted-wrong"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Ask(t.Context(), false)
	if err == nil || strings.Contains(err.Error(), "planted") {
		t.Errorf("got %v; want an error without the password", err)
	}
}

// TestEmptyAnswersAreErrors: rclone's code for iCloud counts on answers that are whole.
func TestEmptyAnswersAreErrors(t *testing.T) {
	w := play(t)
	for _, endpoint := range w.Endpoints() {
		if !strings.HasPrefix(endpoint, "icloud:") {
			continue
		}
		t.Run(endpoint, func(t *testing.T) {
			hits := w.Fault(cloudtest.Fault{Endpoint: endpoint, Kind: cloudtest.Empty})
			defer hits.Remove()
			acc := w.ICloud.Default()
			d, err := NewDraft("icloud", KindICloud, map[string]string{"apple_id": acc.AppleID(), "password": acc.Password()})
			if err != nil {
				t.Fatal(err)
			}
			if done, err := d.Ask(t.Context(), false); err == nil && !done && d.Question != nil {
				_, _ = d.Answer(t.Context(), acc.Code()) // whatever it answers, it doesn't end the process
			}
		})
	}
}

// TestKindsAskTheirOwnQuestions goes through the questions of a kind that this package doesn't know.
func TestKindsAskTheirOwnQuestions(t *testing.T) {
	d, err := NewDraft("nas", "webdav", map[string]string{"url": "http://127.0.0.1:1/"})
	if err != nil {
		t.Fatal(err)
	}
	d.Fixed = map[string]string{"url": d.Values["url"], "config_fs_advanced": "false"}
	answers := map[string]string{"vendor": "other", "user": "anna", "pass": "planted", "bearer_token": ""}
	asked := []string{}
	done, err := d.Ask(t.Context(), true)
	for !done {
		if err != nil {
			t.Fatal(err)
		}
		asked = append(asked, d.Question.Name)
		answer, known := answers[d.Question.Name]
		if !known {
			t.Fatalf("asked for %s", d.Question.Name)
		}
		done, err = d.Answer(t.Context(), answer)
	}
	if want := []string{"vendor", "user", "pass", "bearer_token"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v; want %v", asked, want)
	}
	got := d.Result(time.Now())
	if got["pass"] == "planted" || d.Password("pass") != "planted" || got["user"] != "anna" || got["url"] == "" || got["type"] != "webdav" {
		t.Errorf("the values are %v", got)
	}
}

func TestUnknownKind(t *testing.T) {
	if _, err := NewDraft("x", "nocloud", nil); err == nil {
		t.Error("an unknown kind is taken")
	}
}

func TestTrustLeft(t *testing.T) {
	signed := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	conf := map[string]string{"type": KindICloud, "trust_token": "x", "trust_time": signed.Format(time.RFC3339)}
	for _, tt := range []struct {
		after time.Duration
		days  int
		soon  bool
	}{
		{0, 30, false}, {time.Hour, 30, false}, {19 * 24 * time.Hour, 11, false}, {20*24*time.Hour - time.Second, 11, false},
		{20 * 24 * time.Hour, 10, true}, {21 * 24 * time.Hour, 9, true}, {30*24*time.Hour - time.Minute, 1, true},
		{30 * 24 * time.Hour, 0, true}, {90 * 24 * time.Hour, 0, true},
	} {
		days, known := TrustLeft(conf, signed.Add(tt.after))
		if !known || days != tt.days || TrustEndsSoon(days) != tt.soon {
			t.Errorf("after %v: %d days, known %v, soon %v; want %d, %v", tt.after, days, known, TrustEndsSoon(days), tt.days, tt.soon)
		}
	}
	for _, drop := range []string{"type", "trust_token", "trust_time"} {
		less := maps.Clone(conf)
		delete(less, drop)
		if _, known := TrustLeft(less, signed); known {
			t.Errorf("known without %s", drop)
		}
	}
}
