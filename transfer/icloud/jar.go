package icloud

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// cookies are a session's cookies, as rclone keeps them: by name alone, in the order in which they came. A cookies value
// is never changed once others can see it.
type cookies []*http.Cookie

// readCookies reads them as rclone's config holds them: the value of a Cookie header.
func readCookies(raw string) cookies {
	r := http.Request{Header: http.Header{"Cookie": {raw}}}
	return r.Cookies()
}

// header is the value of a Cookie header. rclone's config holds the same, but for values that need quotes.
func (c cookies) header() string {
	var b strings.Builder
	for _, one := range c {
		if one.Value == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("; ")
		}
		value := one.Value
		if strings.ContainsAny(value, " ,") {
			value = `"` + value + `"` // they can't stand there otherwise
		}
		b.WriteString(one.Name + "=" + value)
	}
	return b.String()
}

// value is the value of a cookie, "" where there is none.
func (c cookies) value(name string) string {
	if i := c.index(name); i >= 0 {
		return c[i].Value
	}
	return ""
}

func (c cookies) index(name string) int {
	return slices.IndexFunc(c, func(o *http.Cookie) bool { return o.Name == name })
}

// clone copies the cookies themselves too: rclone's api edits what it is given.
func (c cookies) clone() cookies {
	out := make(cookies, len(c))
	for i, one := range c {
		two := *one
		out[i] = &two
	}
	return out
}

// without leaves one out.
func (c cookies) without(name string) cookies {
	return slices.DeleteFunc(slices.Clone(c), func(o *http.Cookie) bool { return o.Name == name })
}

// merged adds what an answer set: an empty or expired cookie takes one away. changed is false where nothing did.
func (c cookies) merged(set []*http.Cookie) (out cookies, changed bool) {
	out = c
	for _, n := range set {
		i := out.index(n.Name)
		switch gone := n.Value == "" || n.MaxAge < 0; {
		case gone && i < 0:
			continue
		case gone:
			out = out.without(n.Name)
		case i < 0:
			out = append(slices.Clone(out), n)
		default:
			out = slices.Clone(out)
			out[i] = n
		}
		changed = true
	}
	return out, changed
}

// The cookies that tell something.
const (
	userCookie  = "X-APPLE-WEBAUTH-USER" // "v=1:s=1:d=<dsid>"
	trustCookie = "X-APPLE-WEBAUTH-HSA-TRUST"
	pcsCookie   = "X-APPLE-WEBAUTH-PCS-Documents"
)

// dsid is the account's number, "" where the cookies don't tell.
func (c cookies) dsid() string {
	for part := range strings.SplitSeq(strings.Trim(c.value(userCookie), `"`), ":") {
		if d, ok := strings.CutPrefix(part, "d="); ok {
			return d
		}
	}
	return ""
}

// trustDays is how long Apple trusts this device yet. Only a cookie that came in this process tells: the config keeps
// no dates.
func (c cookies) trustDays(now time.Time) (int, bool) {
	i := c.index(trustCookie)
	if i < 0 || c[i].Expires.IsZero() {
		return 0, false
	}
	return daysLeft(c[i].Expires, now), true
}

// daysLeft counts days begun, none for a time that has passed.
func daysLeft(until, now time.Time) int {
	return max(int(math.Ceil(until.Sub(now).Hours()/24)), 0)
}
