package cloudtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rclone/rclone/backend/iclouddrive"
	"github.com/rclone/rclone/backend/iclouddrive/api"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
	"github.com/rclone/rclone/fs/object"
	"github.com/rclone/rclone/fs/rc"
	"golang.org/x/text/unicode/norm"
)

// drive opens a path of the default account by rclone's own backend.
func drive(t *testing.T, root string) fs.Fs {
	t.Helper()
	f, err := fs.NewFs(t.Context(), "icloud:"+root)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// signIn begins a sign-in as `rclone config` does, up to its first question.
func signIn(t *testing.T, name string, a *Account, password string) (*fs.ConfigOut, error) {
	t.Helper()
	return config.CreateRemote(t.Context(), name, "iclouddrive", rc.Params{"apple_id": a.AppleID(), "password": password},
		config.UpdateRemoteOpt{NonInteractive: true, Obscure: true, NoOutput: true})
}

// reply answers a question.
func reply(t *testing.T, name, state, result string) (*fs.ConfigOut, error) {
	t.Helper()
	return config.UpdateRemote(t.Context(), name, rc.Params{},
		config.UpdateRemoteOpt{NonInteractive: true, Continue: true, State: state, Result: result, NoOutput: true})
}

func TestRcloneSignsInByDevice(t *testing.T) {
	for _, tc := range []struct {
		name, protocol string
		old204         bool
	}{{"s2k", "s2k", false}, {"s2k_fo, codes answered 204", "s2k_fo", true}} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, Options{})
			forRclone(t, w)
			a := w.ICloud.AddAccount("Bert@Example.com", "p@ss wörd")
			a.SetProtocol(tc.protocol)
			w.ICloud.AnswerCodes204(tc.old204)
			a.Put("x.txt", []byte("hello"), time.Now())
			if _, err := signIn(t, "bert", a, "wrong"); err == nil || a.SignIns() != 1 {
				t.Fatalf("a wrong password: %v, %d sign-ins", err, a.SignIns())
			}
			out, err := signIn(t, "bert", a, a.Password())
			if err != nil || out == nil || out.State != "2fa_do" {
				t.Fatalf("%+v, %v", out, err)
			}
			code := a.Code()
			wrong := "000000"
			if code == wrong {
				wrong = "111111"
			}
			if _, err := reply(t, "bert", out.State, wrong); err == nil {
				t.Fatal("a wrong code was taken")
			}
			if len(a.TrustTokens()) != 0 || a.Sessions() != 0 {
				t.Fatal("a wrong code signs in")
			}
			if out, err = reply(t, "bert", out.State, code); err != nil || out != nil {
				t.Fatalf("%+v, %v", out, err)
			}
			if len(a.TrustTokens()) != 1 || a.Sessions() != 1 {
				t.Errorf("%d trust tokens, %d sessions", len(a.TrustTokens()), a.Sessions())
			}
			f, err := fs.NewFs(t.Context(), "bert:")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.NewObject(t.Context(), "x.txt"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRcloneSignsInBySMS(t *testing.T) {
	for _, tc := range []struct {
		name      string
		noDevices bool
		phones    []Phone
	}{
		{"chosen, one phone", false, []Phone{{ID: 1, Number: "•12"}}},
		{"chosen, two phones", false, []Phone{{ID: 1, Number: "•12"}, {ID: 4, Number: "•99"}}},
		{"no devices", true, []Phone{{ID: 4, Number: "•99"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := start(t, Options{})
			forRclone(t, w)
			a := w.ICloud.AddAccount("bert@example.com", "secret")
			a.SetPhones(tc.phones...)
			a.NoTrustedDevices(tc.noDevices)
			out, err := signIn(t, "bert", a, a.Password())
			if err == nil && out.State == "2fa_do" {
				out, err = reply(t, "bert", out.State, "sms")
			}
			if err == nil && out.State == "2fa_sms_select" {
				out, err = reply(t, "bert", out.State, "4_sms")
			}
			if err != nil || !strings.HasPrefix(out.State, "2fa_sms_") {
				t.Fatalf("%+v, %v", out, err)
			}
			last := tc.phones[len(tc.phones)-1].ID
			if out, err = reply(t, "bert", out.State, a.SMSCode(last)); err != nil || out != nil {
				t.Fatalf("%+v, %v", out, err)
			}
			if len(a.TrustTokens()) != 1 {
				t.Error("no trust")
			}
		})
	}
}

func TestRcloneSignsInWithoutTwoFactor(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.AddAccount("old@example.com", "secret")
	a.WithoutTwoFactor(true)
	if out, err := signIn(t, "old", a, a.Password()); err != nil || out != nil || a.Sessions() != 1 {
		t.Errorf("%+v, %v, %d sessions", out, err, a.Sessions())
	}
	if w.Calls("icloud:repair_complete") != 1 {
		t.Error("nothing was repaired")
	}
}

func TestRcloneLocksItselfOut(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.AddAccount("bert@example.com", "secret")
	a.SetSignInLimit(2)
	for range 2 {
		_, _ = signIn(t, "bert", a, "wrong")
	}
	if _, err := signIn(t, "bert", a, a.Password()); err == nil {
		t.Error("a locked account lets one in")
	}
}

func TestRcloneLists(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.Default()
	when := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	for _, p := range []string{"Übung/Größe.tar.gz", "Übung/.hidden", "Übung/dot.", "Übung/plain", "root.txt"} {
		a.Put(p, []byte(p), when)
	}
	a.Mkdir("Übung/v1.2")
	f := drive(t, "")
	entries, err := f.List(t.Context(), norm.NFC.String("Übung"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if base := path.Base(e.Remote()); base != norm.NFD.String(base) {
			t.Errorf("%q isn't NFD", e.Remote())
		}
		got = append(got, path.Base(norm.NFC.String(e.Remote())))
		if o, ok := e.(fs.Object); ok && (!o.ModTime(t.Context()).Equal(when) || o.Size() != int64(len("Übung/")+len(got[len(got)-1]))) {
			t.Errorf("%s: %v, %d", e.Remote(), o.ModTime(t.Context()), o.Size())
		}
	}
	slices.Sort(got)
	if want := []string{".hidden", "Größe.tar.gz", "dot.", "plain", "v1.2"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	// What List gave can't be looked up again, as it is NFD.
	if _, err := f.NewObject(t.Context(), norm.NFD.String("Übung/Größe.tar.gz")); !errors.Is(err, fs.ErrorObjectNotFound) {
		t.Errorf("got %v", err)
	}
	if _, err := f.NewObject(t.Context(), norm.NFC.String("Übung/Größe.tar.gz")); err != nil {
		t.Error(err)
	}
}

func TestRcloneMovesBytes(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	w.ICloud.SetRedirect(2)
	a := w.ICloud.Default()
	a.PutGenerated("in/big.bin", 300_001, 9)
	want, _ := io.ReadAll(Generated(300_001, 9))
	f := drive(t, "")
	for range 2 { // one of the two is redirected
		o, err := f.NewObject(t.Context(), "in/big.bin")
		if err != nil {
			t.Fatal(err)
		}
		rc, err := o.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rc)
		rc.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	a.AddAppContainer("Obsidian", "iCloud.md.obsidian")
	for _, p := range []string{"out/new file.txt", "Obsidian/note.md", "out/empty"} {
		content := []byte("content of " + p)
		if p == "out/empty" {
			content = nil
		}
		src := object.NewStaticObjectInfo(p, time.Unix(1700000000, 0), int64(len(content)), true, nil, nil)
		if _, err := f.Put(t.Context(), bytes.NewReader(content), src); err != nil {
			t.Fatal(err)
		}
		got, ok := a.Get(p)
		it, _ := a.Lookup(p)
		if !ok || !bytes.Equal(got, content) || !it.ModTime.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%s: %q, %v", p, got, it.ModTime)
		}
	}
}

func TestRcloneTrashesTheNewestVersion(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.Default()
	seen := a.Put("a.txt", []byte("old"), time.Now())
	f := drive(t, "")
	o, err := f.NewObject(t.Context(), "a.txt")
	if err != nil {
		t.Fatal(err)
	}
	a.Change("a.txt", []byte("newer"))
	// Conditional: refused.
	_, cookies := a.SignIn()
	c, err := api.New(a.AppleID(), a.Password(), "", "client", iclouddrive.ReadCookies(cookies), nil, "strict", api.WsDrive)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Authenticate(t.Context()); err != nil {
		t.Fatal(err)
	}
	service, err := c.DriveService()
	if err != nil {
		t.Fatal(err)
	}
	var conflict *api.RequestError
	if _, _, err := service.MoveItemToTrashByID(t.Context(), seen.ID, seen.ETag, false); !errors.As(err, &conflict) || conflict.Status != "etag_conflict" {
		t.Errorf("got %v", err)
	}
	if len(a.Trash()) != 0 {
		t.Fatal("trashed against its etag")
	}
	// As rclone does it: the newest version is trashed.
	if err := o.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if trash := a.Trash(); len(trash) != 1 || trash[0].Size != 5 {
		t.Errorf("%+v", trash)
	}
}

func TestRcloneDoesNotRecoverASession(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.Default()
	a.Put("a.txt", []byte("x"), time.Now())
	f := drive(t, "")
	if _, err := f.List(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	a.ExpireSessions()
	w.ResetCounts()
	if _, err := f.List(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "421") {
		t.Errorf("got %v", err)
	}
	if n, all := w.Calls("icloud:retrieveItemDetailsInFolders"), w.Calls("*"); n != 2 || all != 2 {
		t.Errorf("%d listings of %d calls", n, all)
	}
	// What does help: forget cookies and services.
	config.FileSetValue("icloud", "cookies", "")
	api.ClearCacheDir("icloud")
	if _, err := drive(t, "").List(t.Context(), ""); err != nil {
		t.Error(err)
	}
	if w.Calls("icloud:signin_complete") != 1 || w.Calls("icloud:accountLogin") != 1 || a.Code() != "" {
		t.Error("no silent sign-in")
	}
	// Without trust it wants a code.
	a.ExpireSessions()
	a.ExpireTrust()
	config.FileSetValue("icloud", "cookies", "")
	api.ClearCacheDir("icloud")
	if _, err := fs.NewFs(t.Context(), "icloud:"); err == nil || !strings.Contains(err.Error(), "trust token expired") {
		t.Errorf("got %v", err)
	}
}

func TestRcloneFetchesPCSCookies(t *testing.T) {
	w := start(t, Options{})
	forRclone(t, w)
	a := w.ICloud.Default()
	a.RequirePCS(true, 0)
	a.Put("a.txt", []byte("x"), time.Now())
	entries, err := drive(t, "").List(t.Context(), "")
	if err != nil || len(entries) != 1 || w.Calls("icloud:requestPCS") != 1 {
		t.Errorf("%v, %v, %d requests", entries, err, w.Calls("icloud:requestPCS"))
	}
}

func TestRcloneRetriesABusyZone(t *testing.T) {
	w := start(t, Options{Latency: Latency{Delete: 300 * time.Millisecond}})
	w.Fault(Fault{Endpoint: "icloud:moveItemsToTrash", Kind: Do, Hook: Together(2)})
	forRclone(t, w)
	a := w.ICloud.Default()
	a.Put("1", []byte("1"), time.Now())
	a.Put("2", []byte("2"), time.Now())
	_ = drive(t, "") // both below find the services in the cache
	var objects []fs.Object
	for _, name := range []string{"1", "2"} {
		o, err := drive(t, "").NewObject(t.Context(), name) // a backend each: the api's cookies aren't safe to share
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, o)
	}
	done := make(chan error, 2)
	for _, o := range objects {
		go func() { done <- o.Remove(context.Background()) }()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if len(a.Trash()) != 2 || w.Calls("icloud:moveItemsToTrash") < 3 {
		t.Errorf("%d in the trash after %d calls", len(a.Trash()), w.Calls("icloud:moveItemsToTrash"))
	}
}
