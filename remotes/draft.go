package remotes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
)

// Choice is one of the answers that a question offers.
type Choice struct {
	Value string `json:"value"`
	Help  string `json:"help,omitempty"`
}

// Question is what a remote's kind wants to know next.
type Question struct {
	Name      string   `json:"name"` // as rclone calls it: "config_2fa", "user"
	Help      string   `json:"help"`
	Default   string   `json:"default,omitempty"`
	Secret    bool     `json:"secret,omitempty"` // a password: to be typed unseen
	Hide      bool     `json:"hide,omitempty"`   // to be typed unseen, too, though it is kept as it is typed
	Required  bool     `json:"required,omitempty"`
	Exclusive bool     `json:"exclusive,omitempty"` // only the choices are answers
	Choices   []Choice `json:"choices,omitempty"`
}

// Draft is a remote that isn't one yet, or a new sign-in of one: the answers so far and where rclone's own questions
// stand. It holds secrets.
type Draft struct {
	Name     string            `json:"name"`
	Kind     string            `json:"kind"` // rclone's type
	Again    bool              `json:"again,omitempty"`
	Values   map[string]string `json:"values"`
	State    string            `json:"state"`
	Question *Question         `json:"question,omitempty"` // nil where nothing is open
	Begun    time.Time         `json:"begun"`
	Tries    int               `json:"tries,omitempty"` // wrong codes so far

	// Fixed are answers that are known beforehand, by the question's name; they are never kept.
	Fixed map[string]string `json:"-"`
	// Note is what rclone wanted to say before the question.
	Note string `json:"-"`
}

// Kinds of remotes that are treated specially.
const (
	KindICloud  = "iclouddrive"
	KindDropbox = "dropbox"
)

// keyTrustTime is a key of an iCloud remote's configuration: when a person signed in last, RFC 3339. rclone ignores it.
const keyTrustTime = "trust_time"

// NewDraft begins a remote of a kind with known values. Passwords in values are as a person writes them.
func NewDraft(name, kind string, values map[string]string) (*Draft, error) {
	info, err := fs.Find(kind)
	if err != nil {
		return nil, fmt.Errorf("there is no kind of remote called %s", kind)
	}
	d := &Draft{Name: name, Kind: info.Name, Values: map[string]string{"type": info.Name}, Begun: time.Now().UTC()}
	for k, v := range values {
		if err := d.Set(k, v); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Set sets a value as a person writes it: a password is obscured as rclone wants it.
func (d *Draft) Set(k, v string) error {
	info, err := fs.Find(d.Kind)
	if err != nil {
		return fmt.Errorf("there is no kind of remote called %s", d.Kind)
	}
	if o := info.Options.Get(k); o != nil && o.IsPassword && v != "" {
		if v, err = obscure.Obscure(v); err != nil {
			return fmt.Errorf("obscure %s: %w", k, err)
		}
	}
	d.Values[k] = v
	return nil
}

// Password returns a value that is obscured, as a person writes it; "" where there is none.
func (d *Draft) Password(k string) string {
	if v, err := obscure.Reveal(d.Values[k]); err == nil {
		return v
	}
	return ""
}

// mapper lets rclone read and write the draft in place of a configuration.
type mapper struct {
	d    *Draft
	base configmap.Getter
}

// Get implements configmap.Getter.
func (m mapper) Get(k string) (string, bool) {
	if v, ok := m.d.Fixed[k]; ok && strings.HasPrefix(k, fs.ConfigKeyEphemeralPrefix) {
		return v, true
	}
	if v, ok := m.d.Values[k]; ok && v != "" {
		return v, true
	}
	return m.base.Get(k)
}

// Set implements configmap.Setter.
func (m mapper) Set(k, v string) {
	if !strings.HasPrefix(k, fs.ConfigKeyEphemeralPrefix) {
		m.d.Values[k] = v
	}
}

func (d *Draft) mapper(info *fs.RegInfo) mapper {
	return mapper{d, fs.ConfigMap(info.Prefix, info.Options, "", nil)}
}

// Open opens the remote that the draft would be, to see whether it answers.
func (d *Draft) Open(ctx context.Context) (fs.Fs, error) {
	info, err := fs.Find(d.Kind)
	if err != nil {
		return nil, fmt.Errorf("there is no kind of remote called %s", d.Kind)
	}
	return info.NewFs(ctx, d.Name, "", d.mapper(info))
}

// maxNotes bounds how often rclone may say something without asking anything.
const maxNotes = 10

// Ask runs rclone's questions from the beginning: all of the kind's options first where all is set, else only what it
// asks at the end (a sign-in). It returns true when nothing is left to ask; else Question is set.
func (d *Draft) Ask(ctx context.Context, all bool) (bool, error) {
	in := fs.ConfigIn{}
	if all {
		in.State = fs.ConfigAll
	}
	return d.step(ctx, in)
}

// Answer answers the question. Where it fails the draft is as it was: the same question may be answered again.
func (d *Draft) Answer(ctx context.Context, answer string) (bool, error) {
	if d.Question == nil {
		return false, errors.New("no question is open")
	}
	if d.Question.Secret && answer != "" {
		var err error
		if answer, err = obscure.Obscure(answer); err != nil {
			return false, fmt.Errorf("obscure the answer: %w", err)
		}
	}
	return d.step(ctx, fs.ConfigIn{State: d.State, Result: answer})
}

// step runs rclone's state machine to the next question. The backend's panics, as on answers without a body, are errors.
func (d *Draft) step(ctx context.Context, in fs.ConfigIn) (done bool, err error) {
	info, err := fs.Find(d.Kind)
	if err != nil {
		return false, fmt.Errorf("there is no kind of remote called %s", d.Kind)
	}
	before := maps.Clone(d.Values)
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("the service answered with less than it should")
		}
		if err != nil {
			// rclone forgets the sign-in after a wrong SMS code; the code can be typed again all the same.
			d.Values, done = before, false
		}
	}()
	m := d.mapper(info)
	d.Note = ""
	for range maxNotes {
		out, err := fs.BackendConfig(ctx, d.Name, m, info, configmap.Simple(d.Fixed), in)
		if err != nil {
			return false, err
		}
		if out == nil || out.State == "" {
			d.State, d.Question = "", nil
			return true, nil
		}
		if out.Error != "" {
			d.Note = strings.TrimSpace(out.Error)
		}
		if out.Option != nil {
			d.State, d.Question = out.State, questionOf(out.Option)
			return false, nil
		}
		in = fs.ConfigIn{State: out.State, Result: out.Result}
	}
	return false, fmt.Errorf("rclone's questions go round in circles: %s", d.Note)
}

func questionOf(o *fs.Option) *Question {
	q := &Question{Name: o.Name, Help: strings.TrimSpace(o.Help), Secret: o.IsPassword, Required: o.Required, Exclusive: o.Exclusive}
	q.Hide = IsSecret(o)
	if !q.Hide {
		q.Default = o.String()
	}
	for _, e := range o.Examples {
		q.Choices = append(q.Choices, Choice{e.Value, strings.TrimSpace(e.Help)})
	}
	return q
}

// Result returns what the finished draft is stored as: without empty values and what only rclone's questions needed.
func (d *Draft) Result(now time.Time) map[string]string {
	values := maps.Clone(d.Values)
	maps.DeleteFunc(values, func(k, v string) bool { return v == "" || k == "_auth_session" })
	if d.Kind == KindICloud {
		values[keyTrustTime] = now.UTC().Format(time.RFC3339)
	}
	return values
}

// draftLife is how long a sign-in that was left lying is kept.
const draftLife = 24 * time.Hour

// SaveDraft keeps a draft sealed, so that this or another process can go on with it.
func (s *Storage) SaveDraft(ctx context.Context, d *Draft) error {
	k, err := s.ready(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return fmt.Errorf("keep the sign-in of %s: %w", d.Name, err)
	}
	sealed, err := k.seal(text)
	if err != nil {
		return err
	}
	if err := s.client.HSet(ctx, keyPending, d.Name, sealed).Err(); err != nil {
		return fmt.Errorf("keep the sign-in of %s: %w", d.Name, err)
	}
	return nil
}

// Draft returns the draft that is kept for a remote, nil for none.
func (s *Storage) Draft(ctx context.Context, name string) (*Draft, error) {
	sealed, err := s.client.HGet(ctx, keyPending, name).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the sign-in of %s: %w", name, err)
	}
	k, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	text, err := k.open(sealed)
	if err != nil {
		return nil, fmt.Errorf("read the sign-in of %s: %w", name, err)
	}
	d := &Draft{}
	if err := json.Unmarshal(text, d); err != nil || d.Name != name || d.Values == nil {
		return nil, fmt.Errorf("read the sign-in of %s: its text in the store is damaged", name)
	}
	if time.Since(d.Begun) > draftLife {
		return nil, s.DropDraft(ctx, name)
	}
	return d, nil
}

// DropDraft forgets the draft of a remote, if there is one.
func (s *Storage) DropDraft(ctx context.Context, name string) error {
	if err := s.client.HDel(ctx, keyPending, name).Err(); err != nil {
		return fmt.Errorf("forget the sign-in of %s: %w", name, err)
	}
	return nil
}
