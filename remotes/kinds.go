package remotes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config"
)

// Kind is a kind of remote that can be added.
type Kind struct {
	Name        string // rclone's type
	Description string
}

// Kinds returns the kinds of remotes that this program can open, iCloud Drive and Dropbox first, the others by name.
func Kinds() []Kind {
	var all []Kind
	for _, info := range fs.Registry {
		if !info.Hide && info.Name != "local" {
			all = append(all, Kind{info.Name, info.Description})
		}
	}
	rank := func(k Kind) int { return slices.Index([]string{KindDropbox, KindICloud}, k.Name) }
	slices.SortFunc(all, func(a, b Kind) int {
		if d := rank(b) - rank(a); d != 0 {
			return d
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all
}

// Known is a remote that is configured.
type Known struct {
	Name    string
	Kind    string // rclone's type
	Where   string // WhereStore, WhereFile or WhereEnv
	Days    int    // that the sign-in is still trusted, where Trusted
	Trusted bool   // whether that is known
	SignsIn bool   // it is of a kind that a person signs in to
}

// WhereEnv is the place of a remote that environment variables configure.
const WhereEnv = "environment"

// List returns the remotes that are configured, by name.
func (c *Composed) List() []Known {
	var all []Known
	for _, r := range config.GetRemotes() {
		k := Known{Name: r.Name, Kind: r.Type, Where: r.Source}
		if k.Where != WhereEnv {
			k.Where = c.Where(r.Name)
			k.Days, k.Trusted = TrustLeft(c.Values(r.Name), time.Now())
			info, err := fs.Find(r.Type)
			k.SignsIn = err == nil && info.Config != nil
		}
		all = append(all, k)
	}
	slices.SortFunc(all, func(a, b Known) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Delete removes a remote that the store keeps, and what is left of a sign-in to it. No file is touched. ErrNotFound says
// that there is none, ErrElsewhere that it is kept elsewhere.
func (c *Composed) Delete(ctx context.Context, name string) error {
	sealed := c.Sealed()
	if sealed == nil {
		return ErrNoStore
	}
	switch c.Where(name) {
	case WhereStore:
	case "":
		return ErrNotFound
	default:
		return ErrElsewhere
	}
	if err := sealed.Remove(ctx, name); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err := sealed.DropDraft(ctx, name); err != nil {
		return err
	}
	Forget(name)
	return nil
}

// ErrElsewhere says that a remote isn't kept in the store.
var ErrElsewhere = errors.New("the remote is kept in an rclone.conf or in the environment")

// IsSecret tells whether a value has no place on a command line or a page. Names of users and accounts may stand there, though
// rclone calls them sensitive, too.
func IsSecret(o *fs.Option) bool {
	plain := []string{"user", "username", "email", "apple_id", "account", "host", "domain", "endpoint", "tenant", "bucket", "root_folder_id", "impersonate"}
	return o.IsPassword || o.Sensitive && !slices.Contains(plain, o.Name) && !strings.HasSuffix(o.Name, "_id")
}
