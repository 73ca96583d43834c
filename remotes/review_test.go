package remotes

import "testing"

// A value that couldn't be stored must not hide, or overwrite, what somebody else stored since: a person's new sign-in.
func TestAnUnsavedValueYieldsToANewerOne(t *testing.T) {
	client := startRedis(t)
	a := open(t, client, "pass")
	if err := a.Add(t.Context(), "m", map[string]string{"type": "dropbox", "token": "old", "other": "1"}); err != nil {
		t.Fatal(err)
	}
	cut := &cutClient{UniversalClient: client}
	b, err := Open(t.Context(), Options{Client: cut, Password: "pass"})
	if err != nil {
		t.Fatal(err)
	}
	cut.off.Store(true)
	b.SetValue("m", "token", "refreshed")
	b.SetValue("m", "other", "2")
	if err := a.Merge(t.Context(), "m", map[string]string{"token": "signed in anew"}); err != nil {
		t.Fatal(err)
	}
	cut.off.Store(false)
	if err := b.Load(); err != nil {
		t.Fatal(err)
	}
	if v, _ := b.GetValue("m", "token"); v != "signed in anew" {
		t.Errorf("the writer reads %q", v)
	}
	if v, _ := b.GetValue("m", "other"); v != "2" {
		t.Errorf("of another key the writer reads %q", v)
	}
	if err := b.Save(); err != nil {
		t.Fatal(err)
	}
	c := open(t, client, "pass")
	if v, _ := c.GetValue("m", "token"); v != "signed in anew" {
		t.Errorf("the store holds %q", v)
	}
	if v, _ := c.GetValue("m", "other"); v != "2" {
		t.Errorf("of another key the store holds %q", v)
	}
	if cut.refused.Load() == 0 {
		t.Error("the cut was never felt")
	}
}
