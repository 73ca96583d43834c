package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offload/internal/leaktest"
	"offload/jobs"
	"offload/transfer"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }

const gib = 1 << 30

// roundTrip is a network that answers as it is told.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func answers(status int, date time.Time, body string) roundTrip {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"Date": {date.UTC().Format(http.TimeFormat)}}, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

type overview jobs.Overview

func (o overview) Overview(context.Context) (jobs.Overview, error) { return jobs.Overview(o), nil }

// withRoom is a remote that answers with so much.
func withRoom(kind string, total, used int64, by map[string]int64) Remote {
	return Remote{Name: "icloud:", Kind: kind, Dest: "dropbox:Archive", Look: func(context.Context) (transfer.RemoteCheck, error) {
		free := max(0, total-used)
		return transfer.RemoteCheck{Answers: true, Total: &total, Used: &used, Free: &free, ByKind: by}, nil
	}}
}

func found(t *testing.T, r Report, id string) Finding {
	t.Helper()
	for _, s := range r.Sections {
		if i := slices.IndexFunc(s.Findings, func(f Finding) bool { return f.ID == id }); i >= 0 {
			return s.Findings[i]
		}
	}
	t.Fatalf("no finding %q in %+v", id, r.Sections)
	return Finding{}
}

func TestStorage(t *testing.T) {
	tests := []struct {
		name                string
		total, used         int64
		by                  map[string]int64
		trash, backup       int64
		level               Level
		short               int64
		command, what, step string
	}{
		{"full", 50 * gib, 49 * gib, map[string]int64{"docs": 20 * gib, "photos": 29 * gib}, 0, 8 * gib, Problem, 8*gib + 8*gib/20 + 1 - gib,
			"offload free icloud: --for-backup 8GiB --to dropbox:Archive --purge-trash", "7.4 GiB more must be free", "takes out of the trash what it has moved"},
		{"the trash is enough", 50 * gib, 49 * gib, map[string]int64{"docs": 20 * gib}, 9 * gib, 8 * gib, Problem, 0, "", "doesn't fit", "empty that first"},
		{"nothing to move", 50 * gib, 49 * gib, map[string]int64{"photos": 49 * gib, "docs": 0}, 0, 8 * gib, Problem, 0, "", "doesn't fit", "a larger plan"},
		{"fits", 50 * gib, 40 * gib, nil, 0, 8 * gib, OK, 0, "", "fits, with 5% to spare", ""},
		{"only just", 50 * gib, 42 * gib, nil, 0, 8 * gib, Problem, 8*gib/20 + 1, "offload free", "410 MiB more", ""},
		{"over the plan", 5 * gib, 6 * gib, nil, 0, gib, Problem, 0, "offload free", "0 B is free", ""},
		{"nobody knows", 50 * gib, 20 * gib, nil, 0, 0, OK, 0, "", "30 GiB is free", ""},
		{"nearly full", 50 * gib, 49 * gib, nil, 0, 0, Warning, 0, "offload free", "--backup-size tells", ""},
		{"an estimate that fits", 50 * gib, 20 * gib, map[string]int64{"backup": 10 * gib}, 0, 0, OK, 0, "", "as much as the backups there take", ""},
		{"an estimate that doesn't", 50 * gib, 45 * gib, map[string]int64{"backup": 10 * gib}, 0, 0, Note, 0, "", "may", ""},
		{"an estimate, and full", 50 * gib, 49 * gib, map[string]int64{"backup": 10 * gib}, 0, 0, Warning, 0, "offload free", "doesn't fit", ""},
	}
	for _, tt := range tests {
		remote := withRoom(kindICloud, tt.total, tt.used, tt.by)
		remote.Trash = func(context.Context) (Trash, bool, error) { return Trash{Files: 3, Bytes: tt.trash}, true, nil }
		r := Examine(t.Context(), Patient{Remotes: []Remote{remote}, Backup: tt.backup})
		f, s := found(t, r, "storage"), r.Sections[0].Storage
		if f.Level != tt.level || !strings.HasPrefix(f.Command, tt.command) || tt.command == "" && f.Command != "" || !strings.Contains(f.What, tt.what) ||
			tt.step != "" && !strings.Contains(strings.Join(f.Steps, " "), tt.step) {
			t.Errorf("%s: %+v", tt.name, f)
		}
		if tt.short > 0 && max(s.Short-tt.short, tt.short-s.Short) > 1 {
			t.Errorf("%s: short of %d, want %d", tt.name, s.Short, tt.short)
		}
		if r.Content != (tt.level != Problem && tt.level != Warning) && tt.trash == 0 {
			t.Errorf("%s: content %v", tt.name, r.Content)
		}
	}
}

func TestAdvice(t *testing.T) {
	plans := []int64{5 * gib, 50 * gib, 200 * gib}
	yes, no := true, false
	tests := []struct {
		name          string
		total, used   int64
		docs, backup  int64
		smaller, move int64
		movable       *bool
		what          string
	}{
		{"the smallest", 5 * gib, 4 * gib, 0, 0, 0, 0, nil, "smallest iCloud plan"},
		{"would do already", 200 * gib, 30 * gib, gib, 0, 50 * gib, 0, &yes, "would do, too"},
		{"with more moved", 200 * gib, 60 * gib, 20 * gib, 0, 50 * gib, 10 * gib, &yes, "with 10 GiB more moved out"},
		{"with a backup", 200 * gib, 60 * gib, 20 * gib, 8 * gib, 50 * gib, 18 * gib, &yes, "a backup of 8.0 GiB included"},
		{"more than there is", 200 * gib, 150 * gib, 20 * gib, 0, 50 * gib, 100 * gib, &no, "more than offload can move"},
		{"between two plans", 250 * gib, 210 * gib, 20 * gib, 0, 200 * gib, 10 * gib, &yes, "the plan of 200 GiB"},
	}
	for _, tt := range tests {
		r := Examine(t.Context(), Patient{Remotes: []Remote{withRoom(kindICloud, tt.total, tt.used, map[string]int64{"docs": tt.docs})}, Backup: tt.backup, Plans: plans})
		a, f := r.Sections[0].Advice, found(t, r, "plan")
		if a.Smaller != tt.smaller || a.Move != tt.move || (a.Movable == nil) != (tt.movable == nil) || a.Movable != nil && *a.Movable != *tt.movable || !strings.Contains(f.What, tt.what) {
			t.Errorf("%s: %+v, %s", tt.name, a, f.What)
		}
	}
	if r := Examine(t.Context(), Patient{Remotes: []Remote{withRoom(kindDropbox, 50, 1, nil)}, Plans: plans}); r.Sections[0].Advice != nil || len(r.Phone) != 0 {
		t.Error("advice of iCloud for another cloud")
	}
}

// Where a connection fails is told, step by step.
func TestNetworkSteps(t *testing.T) {
	expired := &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "setup.icloud.com"}}, "(DNS)"},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, "(TCP)"},
		{&net.OpError{Op: "proxyconnect", Err: errors.New("no route")}, "(TCP)"},
		{expired, "(TLS)"},
	} {
		r := Examine(t.Context(), Patient{Remotes: []Remote{withRoom(kindICloud, 50*gib, 1, nil)},
			Network: roundTrip(func(*http.Request) (*http.Response, error) { return nil, tt.err })})
		f := found(t, r, "network")
		if f.Level != Problem || !strings.Contains(f.What, tt.want) || len(f.Steps) == 0 {
			t.Errorf("%v: %+v", tt.err, f)
		}
		if byDate := strings.Contains(f.Why, "clock is wrong"); byDate != (tt.err == error(expired)) {
			t.Errorf("%v: %s", tt.err, f.Why)
		}
		if found(t, r, "clock").Level != Unknown || found(t, r, "apple_status").Level != Unknown {
			t.Errorf("what couldn't be seen is told: %+v", r)
		}
	}
	r := Examine(t.Context(), Patient{Remotes: []Remote{withRoom(kindICloud, 50*gib, 1, nil)}, Network: answers(503, time.Now(), "")})
	if f := found(t, r, "network"); f.Level != Warning {
		t.Errorf("busy: %+v", f)
	}
}

func TestClock(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for off, want := range map[time.Duration]Level{0: OK, 30 * time.Second: OK, -30 * time.Second: OK, 2 * time.Minute: Warning, -2 * time.Minute: Warning,
		time.Hour: Problem, -9000 * time.Hour: Problem} {
		r := Examine(t.Context(), Patient{Remotes: []Remote{withRoom(kindICloud, 50*gib, 1, nil)}, Network: answers(404, now.Add(-off), ""), Now: func() time.Time { return now }})
		f := found(t, r, "clock")
		if f.Level != want || want != OK && strings.Contains(f.What, "behind") != (off < 0) || want != OK && strings.Contains(f.What, "ahead") != (off > 0) {
			t.Errorf("%v: %+v", off, f)
		}
	}
}

// The form of Apple's list isn't documented: whatever comes, nothing is claimed that isn't in it.
func TestStatusIsReadLeniently(t *testing.T) {
	well := `{"serviceName":"iCloud Backup","events":[]}`
	event := func(fields string) string {
		return `{"services":[{"serviceName":"iCloud Backup","events":[{` + fields + `}]}]}`
	}
	for body, want := range map[string]Level{
		`{"services":[` + well + `]}`: OK, "\ufeff" + `jsonCallback({"drpost":true,"services":[` + well + `]});`: OK,
		``: Unknown, `{}`: Unknown, `[]`: Unknown, `}{`: Unknown, `<html>{x}</html>`: Unknown, `{"services":{}}`: Unknown, `{"services":[1,null,"x"]}`: Unknown,
		`{"services":[{"serviceName":"App Store","events":[{"eventStatus":"ongoing"}]}]}`: Unknown,
		`{"services":[{"serviceName":7},` + well + `]}`:                                   OK,
		event(`"eventStatus":"resolved","statusType":"Outage"`):                           OK, event(`"eventStatus":"completed"`): OK, event(`"eventStatus":"upcoming"`): OK,
		event(`"eventStatus":"ongoing","statusType":"Outage"`): Problem, event(`"eventStatus":"ongoing","statusType":"Issue"`): Warning,
		event(`"statusType":"Issue","endDate":null`): Warning, event(`"statusType":"Issue","endDate":"11/22/2026"`): OK, event(`"eventStatus":"anything"`): Warning,
	} {
		r := checkStatus(t.Context(), func(context.Context) (pulse, error) { return pulse{status: 200, body: []byte(body)}, nil })
		if got := r.findings[0]; got.Level != want {
			t.Errorf("%s: %+v, want %s", body, got, want)
		}
	}
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte(`jsonCallback({"services":[{"serviceName":"iCloud Drive","events":[{"eventStatus":"ongoing"}]}]});`))
	f.Fuzz(func(t *testing.T, body []byte) {
		checkStatus(t.Context(), func(context.Context) (pulse, error) { return pulse{status: 200, body: body}, nil })
	})
}

// Whatever hangs, the report comes in time and says what couldn't be seen: and that is no reason to be content.
func TestReportComesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, let := context.WithCancel(context.Background())
		hang := func() { <-gone.Done() } // heeds no context
		p := Patient{Network: roundTrip(func(*http.Request) (*http.Response, error) { hang(); return nil, io.EOF }), Store: hangs(hang),
			Allowance: func(context.Context) (Allowance, error) { hang(); return Allowance{}, io.EOF }}
		for range 3 {
			p.Remotes = append(p.Remotes, Remote{Name: "icloud:", Kind: kindICloud, Dest: "dropbox:Archive",
				Look:   func(context.Context) (transfer.RemoteCheck, error) { hang(); return transfer.RemoteCheck{}, io.EOF },
				LookAt: func(context.Context) (transfer.RemoteCheck, error) { hang(); return transfer.RemoteCheck{}, io.EOF }})
		}
		began := time.Now()
		r := Examine(t.Context(), p)
		if took := time.Since(began); took > checkTime+time.Second {
			t.Errorf("it took %v", took)
		}
		if r.Content || found(t, r, "sign_in").Level != Warning || found(t, r, "storage").Level != Unknown || found(t, r, "jobs").Level != Unknown {
			t.Errorf("%+v", r)
		}
		let()
		synctest.Wait()
	})
}

type hangs func()

func (h hangs) Overview(context.Context) (jobs.Overview, error) { h(); return jobs.Overview{}, io.EOF }

// A sign-in that has ended isn't tried: each try counts at Apple.
func TestEndedSignInIsNotTried(t *testing.T) {
	days := 0
	r := Examine(t.Context(), Patient{Remotes: []Remote{{Name: "icloud:", Kind: kindICloud, TrustDays: &days, Look: func(context.Context) (transfer.RemoteCheck, error) {
		t.Error("it was asked")
		return transfer.RemoteCheck{}, nil
	}}}})
	if f := found(t, r, "sign_in"); f.Level != Problem || f.Command != "offload remotes reconnect icloud" {
		t.Errorf("got %+v", f)
	}
}

func TestJobsAndQuota(t *testing.T) {
	o := overview{Counts: map[jobs.State]int64{jobs.Queued: 2, jobs.Paused: 1}, Waiting: map[jobs.Reason]int64{jobs.ReasonSignIn: 1, jobs.ReasonSpace: 2}}
	p := Patient{Store: o, Backup: 8 * gib, Allowance: func(context.Context) (Allowance, error) { return Allowance{Account: "anna"}, nil }}
	r := Examine(t.Context(), p)
	for id, want := range map[string]Level{"jobs_sign_in": Warning, "jobs_space": Warning, "jobs_paused": Note, "workers": Warning, "quota": Warning} {
		if f := found(t, r, id); f.Level != want || f.Command == "" {
			t.Errorf("%s: %+v", id, f)
		}
	}
	p.Store = overview{Workers: []jobs.WorkerInfo{{State: jobs.WorkerIdle}, {State: jobs.WorkerSilent}}}
	p.Allowance = func(context.Context) (Allowance, error) { return Allowance{Account: "anna", Available: -1}, nil }
	r = Examine(t.Context(), p)
	if f := found(t, r, "workers"); f.Level != OK || !strings.HasPrefix(f.What, "1 worker ") || !r.Content {
		t.Errorf("%+v", r)
	}
}
