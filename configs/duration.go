package configs

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"
)

// Duration is a span of time, written as in "7d".
type Duration time.Duration

// String returns the shortest form in whole units: "7d", "90m".
func (d Duration) String() string {
	for _, u := range []struct {
		name string
		span time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}} {
		if t := time.Duration(d); t != 0 && t%u.span == 0 {
			return strconv.FormatInt(int64(t/u.span), 10) + u.name
		}
	}
	return time.Duration(d).String()
}

// UnmarshalYAML reads "7d".
func (d *Duration) UnmarshalYAML(raw []byte) error {
	var text string
	if err := yaml.Unmarshal(raw, &text); err != nil {
		return &valueError{raw, errors.New("is not a duration; write one like 12h or 7d")}
	}
	span, err := ParseDuration(text)
	if err == nil && span == 0 {
		err = errors.New("0 is no span of time; write one like 12h or 7d") // it must not be read as left out
	}
	if err != nil {
		return &valueError{raw, err}
	}
	*d = Duration(span)
	return nil
}

// MarshalYAML writes the form that UnmarshalYAML reads.
func (d Duration) MarshalYAML() ([]byte, error) { return []byte(d.String()), nil }

// MarshalJSON writes the same form as a text.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }
