package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"offload/configs"
	"offload/jobs"
	"offload/remotes"
	"offload/transfer"
)

// Remote is a configured cloud, without anything secret.
type Remote struct {
	Name      string `json:"name"`
	Kind      string `json:"type" doc:"rclone's name of its kind"`
	Where     string `json:"where" doc:"where it is kept: store or rclone.conf"`
	Waits     int    `json:"jobs_waiting_for_sign_in,omitempty"`
	TrustDays *int   `json:"trust_days_left,omitempty" doc:"for how many days the sign-in is still trusted, where that is known"`
	TrustEnds bool   `json:"trust_ends_soon,omitempty" doc:"sign in again now, while there is time"`
	// Of the last look at it, which any page asks for; not there before.
	Storage  *transfer.Storage `json:"storage,omitempty" doc:"bytes in all and used, as last measured; by kind where the cloud tells"`
	Measured *time.Time        `json:"storage_measured,omitempty" doc:"when that was"`
}

// Room is the space of a remote as it was last measured.
type Room struct {
	Storage transfer.Storage
	At      time.Time
}

// RemoteList are the configured clouds.
type RemoteList struct {
	Remotes []Remote `json:"remotes" nullable:"false"`
}

func (s *server) routesRemotes(a huma.API) {
	huma.Register(a, op("remotes", "listRemotes", http.MethodGet, "/remotes", "List the remotes, their kinds, where they are kept, their space, and how long a sign-in lasts"), s.remotes)
}

func (s *server) remotes(ctx context.Context, _ *struct{}) (*struct{ Body RemoteList }, error) {
	out := &struct{ Body RemoteList }{RemoteList{[]Remote{}}}
	if s.Remotes == nil {
		return out, nil
	}
	waits, err := s.waits(ctx)
	if err != nil {
		return nil, s.problem(err)
	}
	var rooms map[string]Room
	if s.Rooms != nil {
		rooms = s.Rooms(ctx)
	}
	names := s.Remotes.GetSectionList()
	slices.Sort(names)
	for _, name := range names {
		values := s.Remotes.Values(name)
		r := Remote{Name: name, Kind: values["type"], Where: s.Remotes.Where(name), Waits: waits[name]}
		if days, known := remotes.TrustLeft(values, time.Now()); known {
			r.TrustDays, r.TrustEnds = &days, remotes.TrustEndsSoon(days)
		}
		if room, known := rooms[name]; known {
			r.Storage, r.Measured = &room.Storage, &room.At
		}
		out.Body.Remotes = append(out.Body.Remotes, r)
	}
	return out, nil
}

// waits counts the jobs that wait for a sign-in, by remote.
func (s *server) waits(ctx context.Context) (map[string]int, error) {
	waits := map[string]int{}
	o := jobs.ListOptions{States: []jobs.State{jobs.Waiting}, Limit: 200}
	for {
		page, next, err := s.Jobs.List(ctx, o)
		if err != nil {
			return nil, err
		}
		for _, j := range page {
			if name := j.SignInRemote(); name != "" {
				waits[name]++
			}
		}
		if o.Cursor = next; next == "" {
			return waits, nil
		}
	}
}

// knownRemote tells whether there is a remote of that name; where none can be told of, any may be.
func (s *server) knownRemote(name string) bool {
	return s.Remotes == nil || s.Remotes.HasSection(name)
}

func noRemote(name string) error {
	return problemOf(http.StatusNotFound, "there is no remote called "+configs.Quote(name)+"; "+root+"/remotes lists them")
}
