package guard

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"golang.org/x/crypto/bcrypt"
)

// maxPassword is how many bytes bcrypt looks at.
const maxPassword = 72

// people are the users and the tokens of a dashboard. What they take to refuse somebody doesn't tell why.
type people struct {
	users  map[string]User
	tokens []Token
	dummy  []byte        // a hash as costly as the users', for names that nobody has
	turns  chan struct{} // hashing is costly on purpose: a crowd waits
}

func newPeople(users []User, tokens []Token) (*people, error) {
	p := &people{users: map[string]User{}, tokens: tokens, turns: make(chan struct{}, 2)}
	names, most := map[string]bool{}, 0
	add := func(name string, role Role) error {
		if name == "" || names[name] {
			return fmt.Errorf("the name %q is empty or there twice", name)
		}
		names[name] = true
		if role < Viewer || role > Operator {
			return fmt.Errorf("%s has no role", name)
		}
		return nil
	}
	for _, u := range users {
		if err := add(u.Name, u.Role); err != nil {
			return nil, err
		}
		cost, err := bcrypt.Cost([]byte(u.Hash))
		if err != nil {
			return nil, fmt.Errorf("the password of %s isn't hashed by bcrypt", u.Name)
		}
		p.users[u.Name], most = u, max(most, cost)
	}
	sums := map[[sha256.Size]byte]string{}
	for _, t := range tokens {
		if err := add(t.Name, t.Role); err != nil {
			return nil, err
		}
		if other, there := sums[t.Sum]; there {
			return nil, fmt.Errorf("%s and %s have the same token", other, t.Name)
		}
		sums[t.Sum] = t.Name
	}
	if len(users) > 0 {
		var err error
		if p.dummy, err = bcrypt.GenerateFromPassword([]byte("nobody"), most); err != nil {
			return nil, fmt.Errorf("hash a password: %w", err)
		}
	}
	return p, nil
}

// named returns the person of that name and a mark of what they sign in with.
func (p *people) named(name string) (Person, []byte, bool) {
	if u, ok := p.users[name]; ok {
		return Person{u.Name, u.Role}, []byte(u.Hash), true
	}
	for _, t := range p.tokens {
		if t.Name == name {
			return Person{t.Name, t.Role}, t.Sum[:], true
		}
	}
	return Person{}, nil, false
}

// bearer returns the person of a token.
func (p *people) bearer(secret string) (found Person, ok bool) {
	sum := sha256.Sum256([]byte(secret))
	for _, t := range p.tokens { // all of them, whichever it is
		if subtle.ConstantTimeCompare(sum[:], t.Sum[:]) == 1 {
			found, ok = Person{t.Name, t.Role}, true
		}
	}
	return found, ok && secret != ""
}

// check tells whether a name and a password or token belong together. An error means that it wasn't found out.
func (p *people) check(ctx context.Context, name, secret string) (bool, error) {
	who, found := p.bearer(secret)
	byToken := found && who.Name == name
	if len(p.users) == 0 {
		return byToken, nil
	}
	select {
	case p.turns <- struct{}{}:
		defer func() { <-p.turns }()
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	hash, known := p.dummy, false
	if u, ok := p.users[name]; ok {
		hash, known = []byte(u.Hash), true
	}
	err := bcrypt.CompareHashAndPassword(hash, []byte(secret[:min(len(secret), maxPassword)]))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, fmt.Errorf("compare a password: %w", err)
	}
	return err == nil && known && len(secret) <= maxPassword || byToken, nil
}
