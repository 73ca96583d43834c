package cloudtest

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"math/big"
)

// srpIterations is how often the password is hashed; the real service takes about ten times as many.
const srpIterations = 2000

// srpPrime is the 2048-bit group of RFC 5054, appendix A. Its generator is 2.
func srpPrime() *big.Int {
	n, _ := new(big.Int).SetString("AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050"+
		"A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50"+
		"E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8"+
		"55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B"+
		"CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748"+
		"544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6"+
		"AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6"+
		"94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73", 16)
	return n
}

// srpServer is the server's half of one SRP-6a exchange, in Apple's variant: SHA-256, no user name in x.
type srpServer struct {
	n, v, b, pub *big.Int
}

func hashOf(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// padded is a number in as many bytes as the group's prime has.
func padded(x *big.Int) []byte { return x.FillBytes(make([]byte, 256)) }

// srpVerifier is what the server keeps instead of the password.
func srpVerifier(password string, salt []byte, protocol string) (*big.Int, error) {
	sum := sha256.Sum256([]byte(password))
	secret := string(sum[:])
	if protocol == "s2k_fo" {
		secret = hex.EncodeToString(sum[:])
	}
	key, err := pbkdf2.Key(sha256.New, secret, salt, srpIterations, 32)
	if err != nil {
		return nil, err
	}
	x := new(big.Int).SetBytes(hashOf(salt, hashOf([]byte(":"), key)))
	return new(big.Int).Exp(big.NewInt(2), x, srpPrime()), nil
}

func newSRPServer(verifier *big.Int) (*srpServer, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	s := &srpServer{n: srpPrime(), v: verifier, b: new(big.Int).SetBytes(secret)}
	k := new(big.Int).SetBytes(hashOf(padded(s.n), padded(big.NewInt(2))))
	s.pub = new(big.Int).Mul(k, s.v)
	s.pub.Add(s.pub, new(big.Int).Exp(big.NewInt(2), s.b, s.n)).Mod(s.pub, s.n)
	return s, nil
}

// check verifies both of the client's proofs.
func (s *srpServer) check(user string, salt, clientPub, m1, m2 []byte) error {
	a := new(big.Int).SetBytes(clientPub)
	if new(big.Int).Mod(a, s.n).Sign() == 0 || a.Cmp(s.n) >= 0 {
		return errors.New("the client's public value is out of range")
	}
	pa, pb := padded(a), padded(s.pub)
	u := new(big.Int).SetBytes(hashOf(pa, pb))
	shared := new(big.Int).Exp(s.v, u, s.n)
	shared.Mul(shared, a).Exp(shared, s.b, s.n)
	key := hashOf(padded(shared))
	mask := hashOf(padded(big.NewInt(2)))
	for i, b := range hashOf(padded(s.n)) {
		mask[i] ^= b
	}
	want1 := hashOf(mask, hashOf([]byte(user)), salt, pa, pb, key)
	want2 := hashOf(pa, want1, key)
	if subtle.ConstantTimeCompare(want1, m1) != 1 || subtle.ConstantTimeCompare(want2, m2) != 1 {
		return errors.New("the proofs don't fit")
	}
	return nil
}
