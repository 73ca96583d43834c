package remotes

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/nacl/secretbox"
	"golang.org/x/text/unicode/norm"
)

// Errors that a caller branches on.
var (
	// ErrPassword says that the password isn't the one that the remotes are sealed with.
	ErrPassword = errors.New("the password isn't the one that the remotes are sealed with")
	// ErrNoPassword says that a password is needed and none is set.
	ErrNoPassword = errors.New("no password is set to seal the remotes with")
	// ErrKeyFile says that the file with the embedded store's key is missing or isn't one.
	ErrKeyFile = errors.New("the file with the key of the remotes can't be used")
	// ErrExists says that there is a remote of that name already.
	ErrExists = errors.New("there is a remote of that name already")
	// ErrNotFound says that there is no remote of that name in the store.
	ErrNotFound = errors.New("there is no remote of that name in the store")
)

// key opens and seals. It is rclone's: the hash of the password in rclone's own frame.
type key [sha256.Size]byte

// The frame of a sealed text is that of an encrypted rclone.conf.
const (
	sealMark  = "RCLONE_ENCRYPT_V0:"
	sealHead  = "# Encrypted rclone configuration File\n\n" + sealMark + "\n"
	nonceSize = 24
)

// keyOf makes the key of a password in the way that rclone does.
func keyOf(password string) (*key, error) {
	if !utf8.ValidString(password) {
		return nil, fmt.Errorf("%w: it isn't UTF-8", ErrPassword)
	}
	if strings.TrimSpace(password) == "" {
		return nil, fmt.Errorf("%w: it is empty", ErrNoPassword)
	}
	k := key(sha256.Sum256([]byte("[" + norm.NFKC.String(password) + "][rclone-config]")))
	return &k, nil
}

// seal encrypts a text under a fresh nonce.
func (k *key) seal(text []byte) (string, error) {
	var nonce [nonceSize]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	whole := (*[sha256.Size]byte)(k)
	return sealHead + base64.StdEncoding.EncodeToString(secretbox.Seal(nonce[:], text, &nonce, whole)), nil
}

// open decrypts a sealed text. A text that doesn't open is ErrPassword: damage and a wrong key look the same.
func (k *key) open(sealed string) ([]byte, error) {
	body, isSealed := sealedBody([]byte(sealed))
	if !isSealed {
		return nil, fmt.Errorf("%w: the text isn't sealed", ErrPassword)
	}
	box, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body)))
	if err != nil || len(box) < nonceSize+secretbox.Overhead {
		return nil, fmt.Errorf("%w, or the text is damaged", ErrPassword)
	}
	nonce := [nonceSize]byte(box[:nonceSize])
	text, ok := secretbox.Open(nil, box[nonceSize:], &nonce, (*[sha256.Size]byte)(k))
	if !ok {
		return nil, ErrPassword
	}
	return text, nil
}

// sealedBody returns what follows the mark of a sealed text; false where the text is in clear.
func sealedBody(text []byte) ([]byte, bool) {
	lines := bufio.NewReader(bytes.NewReader(text))
	read := 0
	for {
		line, err := lines.ReadString('\n')
		read += len(line)
		trimmed := strings.TrimSpace(line)
		if trimmed == sealMark {
			return text[read:], true
		}
		if err != nil || trimmed != "" && !strings.HasPrefix(trimmed, "#") && !strings.HasPrefix(trimmed, ";") {
			return nil, false
		}
	}
}
