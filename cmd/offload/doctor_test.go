package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"offload/doctor"
	"offload/internal/cloudtest"
)

// newSick is a home with both played clouds signed in.
func newSick(t *testing.T) *played {
	t.Helper()
	p := newPlayed(t)
	if err := os.WriteFile(p.env["RCLONE_CONFIG"], []byte(p.world.RcloneConf()), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// examine runs the doctor with --json.
func (p *played) examine(t *testing.T, code int, args ...string) doctor.Report {
	t.Helper()
	got := p.expect(t, code, "", append([]string{"doctor", "--json"}, args...)...)
	var r doctor.Report
	if err := json.Unmarshal([]byte(got.out), &r); err != nil {
		t.Fatalf("%v: %s", err, got.out)
	}
	return r
}

// finding is the first finding of that ID.
func finding(t *testing.T, r doctor.Report, id string) doctor.Finding {
	t.Helper()
	for _, s := range r.Sections {
		for _, f := range s.Findings {
			if f.ID == id {
				return f
			}
		}
	}
	t.Fatalf("there is no finding %q: %+v", id, r.Sections)
	return doctor.Finding{}
}

const gib = 1 << 30

// The account of issue 7: 50 GB plan, 49 GB used, a backup that needs 8 GB.
func TestDoctorFindsTheFullAccount(t *testing.T) {
	p := newSick(t)
	p.acc.PutGenerated("Videos/holiday.mov", 3<<20, 1)
	p.acc.SetStorage(50*gib, 29*gib, 18*gib, 2*gib)
	p.world.ResetCounts()
	r := p.examine(t, exitWarnings, "--backup-size", "8GiB")
	f := finding(t, r, "storage")
	if f.Level != doctor.Problem || f.Command != "offload free icloud: --for-backup 8GiB --to dropbox:Archive --purge-trash" {
		t.Errorf("got %+v", f)
	}
	for _, words := range []string{"photos 29 GiB", "device backups 18 GiB"} {
		if !strings.Contains(f.Why, words) {
			t.Errorf("%q isn't told: %s", words, f.Why)
		}
	}
	if s := r.Sections[0].Storage; s == nil || s.Short == 0 || s.Backup != 8*gib || s.Estimated || *s.Movable != 3<<20 {
		t.Errorf("storage: %+v", s)
	}
	for _, id := range []string{"sign_in", "network", "apple_status", "clock", "destination"} {
		if f := finding(t, r, id); f.Level != doctor.OK {
			t.Errorf("%s: %+v", id, f)
		}
	}
	if f := finding(t, r, "plan"); f.Level != doctor.OK || r.Sections[0].Advice.Smaller != 5*gib {
		t.Errorf("plan: %+v, %+v", f, r.Sections[0].Advice)
	}
	p.looksOnly(t)
	p.acc.SetStorage(50*gib, 19*gib, 18*gib, 2*gib)
	if r := p.examine(t, exitDone, "--backup-size", "8GiB"); !r.Content || finding(t, r, "storage").Level != doctor.OK {
		t.Errorf("not content: %+v", r.Sections)
	}
	text := p.expect(t, exitDone, "", "doctor", "icloud", "--backup-size", "8GiB").out
	for _, words := range []string{"nothing stands in the way", "icloud: holds", "Settings > your name > iCloud"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q isn't told:\n%s", words, text)
		}
	}
}

// looksOnly fails where a call changed anything in a cloud.
func (p *played) looksOnly(t *testing.T) {
	t.Helper()
	writes := []string{"moveItemsToTrash", "deleteItems", "putBackItemsFromTrash", "createFolders", "renameItems", "moveItems", "upload_web",
		"update_documents", "content_upload", "upload", "delete", "create_folder", "move", "copy", "start", "append", "finish"}
	reads := []string{"icloud:retrieveItemDetailsInFolders", "icloud:retrieveItemDetails", "icloud:storageUsageInfo", "icloud:validate", "icloud:accountLogin",
		"icloud:lookup_by_path", "icloud:unknown", "icloud:requestPCS", "apple:systemStatus", "dropbox:unknown", "dropbox:list_folder", "dropbox:get_space_usage",
		"dropbox:get_current_account", "dropbox:get_metadata", "dropbox:token"}
	for _, req := range p.world.Requests() {
		_, name, _ := strings.Cut(req.Endpoint, ":")
		if slices.Contains(writes, name) || !slices.Contains(reads, req.Endpoint) {
			t.Errorf("the doctor called %s", req.Endpoint)
		}
	}
	said := p.said.String()
	for _, secret := range p.acc.Secrets() {
		if secret != "" && strings.Contains(said, secret) {
			t.Errorf("a secret is shown")
		}
	}
}

// What lies in the trash counts until it is purged, and is told.
func TestDoctorTellsTheTrash(t *testing.T) {
	p := newSick(t)
	p.acc.PutGenerated("big.bin", 6<<20, 1)
	p.acc.SetStorage(20<<20, 13<<20, 0, 0)
	p.acc.Discard("big.bin")
	r := p.examine(t, exitWarnings, "--backup-size", "5MiB")
	f, s := finding(t, r, "trash"), r.Sections[0].Storage
	if f.Level != doctor.Warning || !strings.Contains(f.What, "6.0 MiB in icloud: lie in its trash (1 item)") || s.Trash == nil || s.Trash.Bytes != 6<<20 || *s.Movable != 0 {
		t.Errorf("got %+v, %+v", f, s)
	}
	if f := finding(t, r, "storage"); f.Level != doctor.Problem || f.Command != "" {
		t.Errorf("nothing can be moved, but: %+v", f)
	}
	p.looksOnly(t)
}

// Why nothing is known of the account is told, each cause with what mends it.
func TestDoctorTellsWhatKeepsItOut(t *testing.T) {
	tests := map[string]struct {
		break_  func(p *played)
		id      string
		level   doctor.Level
		command string
	}{
		"a code is wanted": {func(p *played) { p.acc.ExpireSessions(); p.acc.ExpireTrust() }, "sign_in", doctor.Problem, "offload remotes reconnect icloud"},
		"the password was changed": {func(p *played) { p.acc.SetPassword("another one"); p.acc.ExpireSessions() }, "sign_in", doctor.Problem,
			"offload remotes reconnect icloud"},
		"terms wait": {func(p *played) {
			p.acc.ExpireSessions()
			p.world.Fault(cloudtest.Fault{Endpoint: "icloud:accountLogin", Kind: cloudtest.Status, Status: 200,
				Body: `{"dsInfo":{"hsaVersion":2,"dsid":"1"},"hsaTrustedBrowser":true,"termsUpdateNeeded":true,"webservices":{}}`})
		}, "terms", doctor.Problem, ""},
		"the account is locked": {func(p *played) {
			p.acc.ExpireSessions()
			p.world.Fault(cloudtest.Fault{Endpoint: "icloud:signin_complete", Kind: cloudtest.Status, Status: 403})
		}, "account", doctor.Problem, "offload remotes reconnect icloud"},
		"the cloud hangs": {func(p *played) { p.world.Fault(cloudtest.Fault{Endpoint: "icloud:*", Kind: cloudtest.Hang}) }, "sign_in", doctor.Warning, "offload remotes check icloud:"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newSick(t)
			tt.break_(p)
			began := time.Now()
			r := p.examine(t, exitWarnings)
			if took := time.Since(began); took > 2*doctorTime { // a busy machine takes its time around it, rclone would take minutes
				t.Errorf("it took %v", took)
			}
			if f := finding(t, r, tt.id); f.Level != tt.level || f.Command != tt.command {
				t.Errorf("got %+v", f)
			}
			if f := finding(t, r, "storage"); f.Level != doctor.Unknown {
				t.Errorf("storage: %+v", f)
			}
			p.looksOnlyButSignsIn(t)
		})
	}
}

// looksOnlyButSignsIn is looksOnly for a session that was renewed, or refused, on the way.
func (p *played) looksOnlyButSignsIn(t *testing.T) {
	t.Helper()
	for _, req := range p.world.Requests() {
		for _, w := range []string{"Trash", "deleteItems", "create", "rename", "moveItems", "upload", "update", "trust", "verify"} {
			if strings.Contains(req.Endpoint, w) {
				t.Errorf("the doctor called %s", req.Endpoint)
			}
		}
	}
	for _, secret := range p.acc.Secrets() {
		if secret != "" && strings.Contains(p.said.String(), secret) {
			t.Errorf("a secret is shown")
		}
	}
}

// What Apple reports of its services; an odd or missing answer is unknown, and no reason to worry.
func TestDoctorReadsApplesStatus(t *testing.T) {
	p := newSick(t)
	outage := cloudtest.ServiceEvent{Type: "Outage", Status: "ongoing", Message: "Users may be unable to back up.", Started: time.Now()}
	p.world.Apple.SetEvents("iCloud Backup", outage)
	p.world.Apple.SetCallback("jsonCallback")
	f := finding(t, p.examine(t, exitWarnings), "apple_status")
	if f.Level != doctor.Problem || !strings.Contains(f.What, "iCloud Backup (Outage)") || f.Why != outage.Message {
		t.Errorf("got %+v", f)
	}
	outage.Status, outage.Ended = "resolved", time.Now()
	p.world.Apple.SetEvents("iCloud Backup", outage)
	if f := finding(t, p.examine(t, exitDone), "apple_status"); f.Level != doctor.OK {
		t.Errorf("got %+v", f)
	}
	for _, fault := range []cloudtest.Fault{{Kind: cloudtest.Status, Status: 503}, {Kind: cloudtest.Empty}, {Kind: cloudtest.Drop},
		{Kind: cloudtest.Status, Status: 200, Body: "<html>"}, {Kind: cloudtest.Hang}} {
		fault.Endpoint = "apple:systemStatus"
		hits := p.world.Fault(fault)
		if f := finding(t, p.examine(t, exitDone), "apple_status"); f.Level != doctor.Unknown || hits.Count() == 0 {
			t.Errorf("%+v: got %+v", fault, f)
		}
		hits.Remove()
	}
}

func TestDoctorRefuses(t *testing.T) {
	p := newSick(t)
	delete(p.env, "OFFLOAD_LOG_LEVEL")
	for _, args := range [][]string{{"nowhere:"}, {"/tmp"}, {".."}, {"icloud:", "dropbox:"}, {"--backup-size", "0"}, {"--backup-size", "-1"},
		{"--backup-size", "8GB"}, {"--backup-size", ""}, {"--backup-size", "9999999PiB"}, {"icloud:\x1b"}} {
		got := p.expect(t, exitUsage, "", append([]string{"doctor"}, args...)...)
		if strings.Count(strings.TrimSpace(got.err), "\n") != 1 || got.out != "" {
			t.Errorf("%q: %s%s", args, got.out, got.err)
		}
	}
	if err := os.WriteFile(p.env["RCLONE_CONFIG"], []byte("[m]\ntype = memory\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.expect(t, exitUsage, "", "doctor")
	if got := p.world.Calls("*"); got != 0 {
		t.Errorf("%d calls", got)
	}
}

// Another cloud is looked at by its name.
func TestDoctorLooksAtDropbox(t *testing.T) {
	p := newSick(t)
	p.world.Dropbox.SetSpace(100)
	p.world.Dropbox.Put("/x", make([]byte, 98))
	r := p.examine(t, exitWarnings, "dropbox")
	if f := finding(t, r, "storage"); f.Level != doctor.Warning || f.Command == "" {
		t.Errorf("got %+v", f)
	}
	p.looksOnly(t)
}
