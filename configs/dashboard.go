package configs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// ListenOff is the listen address that means no dashboard.
const ListenOff = "off"

// Dashboard says where the pages and the API are served, and who may see them.
type Dashboard struct {
	// Listen is the address with its port; ":7317" is every address of the machine, "off" is no dashboard beside
	// `offload up`. Beyond this machine it needs users or tokens. Defaults to 127.0.0.1:7317.
	Listen string `yaml:"listen" json:"listen"`
	// Users sign in with a password. Defaults to none: whoever is on this machine may do everything.
	Users []User `yaml:"users" json:"users"`
	// Tokens are for programs that use the API, and for signing in without a password of one's own. Defaults to none.
	Tokens []Token `yaml:"tokens" json:"tokens"`
	// TLSCert and TLSKey are files in PEM form; they are read again when they change. Default to none, plain HTTP.
	TLSCert string `yaml:"tls_cert" json:"tls_cert"`
	TLSKey  string `yaml:"tls_key" json:"tls_key"`
	// Hosts are names that browsers may call the dashboard by, beside localhost and the address listened on.
	Hosts []string `yaml:"hosts" json:"hosts"`
	// TrustedProxies are addresses or networks whose X-Forwarded-For, -Proto and -Host are believed.
	TrustedProxies []string `yaml:"trusted_proxies" json:"trusted_proxies"`
	// Session is how long a sign-in lasts. Defaults to 7d.
	Session Duration `yaml:"session" json:"session"`
}

// User is a person who signs in with a password.
type User struct {
	Name string `yaml:"name" json:"name"`
	Role string `yaml:"role" json:"role"` // viewer or operator
	// PasswordHash is bcrypt's, as `offload dashboard hash` prints it.
	PasswordHash string `yaml:"password_hash" json:"password_hash"`
}

// Token is a secret that a program shows. One of File and SHA256 says which.
type Token struct {
	Name   string `yaml:"name" json:"name"`
	Role   string `yaml:"role" json:"role"`                         // viewer or operator
	File   string `yaml:"file,omitempty" json:"file,omitempty"`     // holds the token
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitempty"` // of the token, in hexadecimal digits
}

// Bounds of a session: shorter is no use, longer is no sign-in any more.
const (
	minSession = 5 * time.Minute
	maxSession = 90 * 24 * time.Hour
)

// maxCost bounds bcrypt: each step more doubles the time of a sign-in, and 15 takes seconds.
const (
	minCost = 10
	maxCost = 15
)

func (d Dashboard) withDefaults() Dashboard {
	setDefault(&d.Listen, "127.0.0.1:7317")
	setDefault(&d.Session, Duration(7*24*time.Hour))
	if d.Users == nil {
		d.Users = []User{}
	}
	if d.Tokens == nil {
		d.Tokens = []Token{}
	}
	if d.Hosts == nil {
		d.Hosts = []string{}
	}
	if d.TrustedProxies == nil {
		d.TrustedProxies = []string{}
	}
	return d
}

// masked returns d without what a password could be guessed from.
func (d Dashboard) masked() Dashboard {
	d.Users, d.Tokens = slices.Clone(d.Users), slices.Clone(d.Tokens)
	for i := range d.Users {
		if d.Users[i].PasswordHash != "" {
			d.Users[i].PasswordHash = "***"
		}
	}
	for i := range d.Tokens {
		if d.Tokens[i].SHA256 != "" {
			d.Tokens[i].SHA256 = "***"
		}
	}
	return d
}

var personName = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N} ._@+-]{0,63}$`)

func (d Dashboard) validate(add func(field, value, problem, hint string)) {
	loopback, err := IsLoopback(d.Listen)
	switch {
	case d.Listen == ListenOff:
	case err != nil:
		add("dashboard.listen", d.Listen, err.Error(), "write one like 127.0.0.1:7317, [::1]:7317 or :7317")
	case !loopback && d.open():
		add("dashboard.listen", d.Listen, "can be reached from other machines, and there are no users and no tokens",
			"add dashboard.users or dashboard.tokens (`offload config example` shows how), or listen on 127.0.0.1")
	}
	if d.open() && (len(d.Hosts) > 0 || len(d.TrustedProxies) > 0) {
		add("dashboard", "", "hosts or trusted_proxies let others in, and there are no users and no tokens",
			"add dashboard.users or dashboard.tokens; `offload config example` shows how")
	}
	d.validatePeople(add)
	if (d.TLSCert == "") != (d.TLSKey == "") {
		add("dashboard.tls_cert", "", "tls_cert and tls_key belong together", "name both files, or neither")
	}
	for i, h := range d.Hosts {
		if !isHostName(h) {
			add(fmt.Sprintf("dashboard.hosts[%d]", i), h, "is no name of a host", "write it without scheme, port and path, such as offload.example.org")
		}
	}
	for i, p := range d.TrustedProxies {
		if _, err := ParseNetwork(p); err != nil {
			add(fmt.Sprintf("dashboard.trusted_proxies[%d]", i), p, "is no address and no network", "write one like 10.0.0.7 or 10.0.0.0/24")
		}
	}
	if s := time.Duration(d.Session); s < minSession || s > maxSession {
		add("dashboard.session", d.Session.String(), "is not from 5m to 90d", "choose a span in that range")
	}
}

// open tells whether nobody has to sign in.
func (d Dashboard) open() bool { return len(d.Users)+len(d.Tokens) == 0 }

// validatePeople never repeats what should be a secret.
func (d Dashboard) validatePeople(add func(field, value, problem, hint string)) {
	seen := map[string]bool{}
	person := func(field, name, role string) {
		switch {
		case !personName.MatchString(name):
			add(field+".name", name, "is no name of a person or program", "use up to 64 letters, digits, blanks and . _ @ + -, beginning with a letter or digit")
		case seen[name]:
			add(field+".name", name, "is there twice", "give each user and each token a name of its own")
		}
		seen[name] = true
		if role != "viewer" && role != "operator" {
			add(field+".role", role, "is not viewer or operator", "choose viewer, who may look, or operator, who may change things")
		}
	}
	for i, u := range d.Users {
		field := fmt.Sprintf("dashboard.users[%d]", i)
		person(field, u.Name, u.Role)
		if problem := checkHash(u.PasswordHash); problem != "" {
			add(field+".password_hash", "", problem, "put what `offload dashboard hash` prints there, in single quotation marks; never the password itself")
		}
	}
	for i, t := range d.Tokens {
		field := fmt.Sprintf("dashboard.tokens[%d]", i)
		person(field, t.Name, t.Role)
		sum, err := hex.DecodeString(t.SHA256)
		switch {
		case (t.File == "") == (t.SHA256 == ""):
			add(field, "", "needs either file or sha256", "name the file that holds the token, or write the SHA-256 sum of the token")
		case strings.ContainsRune(t.File, 0):
			add(field+".file", t.File, "is no file name", "name the file that holds the token")
		case t.SHA256 != "" && (err != nil || len(sum) != 32):
			add(field+".sha256", "", "is no SHA-256 sum", "write its 64 hexadecimal digits; never the token itself")
		}
	}
}

// checkHash returns what is wrong with the hash of a password, "" for nothing.
func checkHash(hash string) string {
	if hash == "" {
		return "is missing"
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil || len(hash) != 60 {
		return "is no bcrypt hash of a password"
	}
	if cost < minCost || cost > maxCost {
		return fmt.Sprintf("has cost %d, which is not from %d to %d", cost, minCost, maxCost)
	}
	return ""
}

// IsLoopback tells whether an address to listen on can be reached from this machine only.
func IsLoopback(listen string) (bool, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false, errors.New("is no address with a port")
	}
	if _, err := ParseCount(port, 0, 65535); err != nil {
		return false, errors.New("has no port from 0 to 65535")
	}
	switch host {
	case "localhost":
		return true, nil
	case "":
		return false, nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false, errors.New("names no IP address before the port, and isn't localhost")
	}
	return ip.Unmap().IsLoopback(), nil
}

// ParseNetwork reads an address or a network such as 10.0.0.0/24.
func ParseNetwork(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		if ip.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%s names a zone", Quote(text))
		}
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%s is no address and no network", Quote(text))
	}
	return p.Masked(), nil
}

var hostName = regexp.MustCompile(`^(?i)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)

func isHostName(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return len(h) <= 253 && hostName.MatchString(h)
}
