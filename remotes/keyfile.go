package remotes

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// keyFileBytes is how much randomness a key file holds.
const keyFileBytes = 32

// readKeyFile returns the key that a file holds, nil where there is no file.
func readKeyFile(path string) (*key, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	word := strings.TrimSpace(string(text))
	if raw, err := hex.DecodeString(word); err != nil || len(raw) != keyFileBytes {
		return nil, fmt.Errorf("%w: %s isn't as it was made", ErrKeyFile, path)
	}
	return keyOf(word)
}

// makeKeyFile makes a random key and returns it, or the one that another process has made at the same time.
func makeKeyFile(path string) (*key, error) {
	var raw [keyFileBytes]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	// A link to a complete file: nobody ever reads half a key, and the first one wins.
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(raw[:]) + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w: %w", ErrKeyFile, err)
	}
	k, err := readKeyFile(path)
	if err == nil && k == nil {
		err = fmt.Errorf("%w: %s is gone again", ErrKeyFile, path)
	}
	return k, err
}
