package guard

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// StreamTime is how long a stream is followed: whoever is signed out mustn't follow on. A browser asks again, and its session is
// looked at anew.
const StreamTime = 5 * time.Minute

// How many streams are followed at once in one process. Each takes about 40 KiB (BenchmarkStream), so all of them 40 MiB. One
// seat has room for 200 people who come from one address or share one sign-in, and leaves others theirs; so does one name,
// however often it signs in.
const (
	mostAll  = 1000
	mostName = 750
	mostSeat = 250
)

// seatKey finds in a request's context what tells one viewer from another of the same name.
type seatKey struct{}

// seat is what a request's streams are counted by: its sign-in, or the address that it comes from, where a token is shown or
// nobody has to sign in.
func seat(r *http.Request, p Person, client netip.Addr, secure bool) string {
	byToken := forPrograms(r) && r.Header.Get("Authorization") != ""
	if s, ok := readCookie(r, secure); ok && p.Name != "" && !byToken {
		return "session " + s.id
	}
	return "address " + client.String() + " " + p.Name
}

// Crowd counts the streams that are followed at the same time. The zero value is ready.
type Crowd struct {
	mu sync.Mutex
	in map[string]int
}

// Enter counts one more stream of whoever makes the request; false where there are too many of the same sign-in or address, of
// the same name, or of all. leave must be called at its end.
func (c *Crowd) Enter(ctx context.Context, remoteAddr string) (leave func(), ok bool) {
	name := Who(ctx).Name
	at, known := ctx.Value(seatKey{}).(string)
	if !known { // no guard is in front
		at = remoteAddr
		if host, _, err := net.SplitHostPort(remoteAddr); err == nil {
			at = host
		}
		at = "address " + at + " " + name
	}
	counted := []struct {
		of   string
		most int
	}{{"all", mostAll}, {"name " + name, mostName}, {at, mostSeat}}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, one := range counted {
		if c.in[one.of] >= one.most {
			return nil, false
		}
	}
	if c.in == nil {
		c.in = map[string]int{}
	}
	for _, one := range counted {
		c.in[one.of]++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, one := range counted {
			if c.in[one.of]--; c.in[one.of] == 0 {
				delete(c.in, one.of)
			}
		}
	}, true
}
