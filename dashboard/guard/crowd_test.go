package guard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
)

// at is a request's context as the guard leaves it.
func at(name, seat string) context.Context {
	return context.WithValue(As(context.Background(), Person{Name: name, Role: Viewer}), seatKey{}, seat)
}

func TestCrowd(t *testing.T) {
	var c Crowd
	var last func()
	fill := func(ctx context.Context, want int) {
		t.Helper()
		for n := 0; ; n++ {
			leave, ok := c.Enter(ctx, "192.0.2.1:1000")
			if !ok {
				if n != want {
					t.Errorf("%d were let in, want %d", n, want)
				}
				return
			}
			last = leave
		}
	}
	fill(at("team", "session one"), mostSeat) // a viewer with many tabs
	fill(at("team", "session two"), mostSeat) // doesn't shut out another one of the same name
	fill(at("team", "session three"), mostName-2*mostSeat)
	fill(at("team", "session four"), 0)
	fill(at("ben", "session five"), mostAll-mostName)
	fill(at("carla", "session six"), 0)
	last()
	fill(at("carla", "session six"), 1)
}

// Where no guard is in front a seat is an address, whatever the port.
func TestCrowdOfAddresses(t *testing.T) {
	var c Crowd
	nobody := As(context.Background(), Person{Role: Operator})
	for i := range mostSeat {
		if _, ok := c.Enter(nobody, fmt.Sprint("192.0.2.1:", 1000+i)); !ok {
			t.Fatalf("stream %d of an address is refused", i)
		}
	}
	if _, ok := c.Enter(nobody, "192.0.2.1:2"); ok {
		t.Error("one more of an address is let in, from another port")
	}
	if _, ok := c.Enter(nobody, "192.0.2.2:1"); !ok {
		t.Error("another address is refused")
	}
}

// People who share a name are told apart by their sign-ins, programs by their addresses, also behind a proxy.
func TestSeats(t *testing.T) {
	var seats []string
	seatOf := func(w *world, path string, headers ...string) string {
		t.Helper()
		r := httptest.NewRequest("GET", path, nil)
		r.Host, r.RemoteAddr = "localhost:7317", "127.0.0.1:50000"
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		found := ""
		w.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			found, _ = r.Context().Value(seatKey{}).(string)
		})).ServeHTTP(httptest.NewRecorder(), r)
		if found == "" {
			t.Fatalf("%s %v has no seat", path, headers)
		}
		seats = append(seats, found)
		return found
	}
	w := newWorld(t, func(o *Options) { o.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	one, _ := w.signIn("ben", password)
	two, _ := w.signIn("ben", password)
	first := seatOf(w, "/events", "Cookie", one)
	seatOf(w, "/events", "Cookie", two)
	seatOf(w, "/api/v1/events", "Authorization", "Bearer "+secret, "X-Forwarded-For", "192.0.2.1")
	seatOf(w, "/api/v1/events", "Authorization", "Bearer "+secret, "X-Forwarded-For", "192.0.2.2")
	seatOf(newWorld(t, func(o *Options) { o.Users, o.Tokens = nil, nil }), "/events")
	for i, a := range seats {
		for _, b := range seats[:i] {
			if a == b {
				t.Errorf("two have the seat %q", a)
			}
		}
	}
	if again := seatOf(w, "/events?page=jobs", "Cookie", one, "X-Forwarded-For", "192.0.2.7", "Authorization", "Basic x"); again != first {
		t.Errorf("the same sign-in has the seats %q and %q", first, again)
	}
	// A cookie made up beside a token gives no seat of its own.
	a := seatOf(w, "/api/v1/events", "Authorization", "Bearer "+secret, "Cookie", one)
	if b := seatOf(w, "/api/v1/events", "Authorization", "Bearer "+secret, "Cookie", two); a != b {
		t.Errorf("the same token has the seats %q and %q", a, b)
	}
}
