package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// What is logged at the highest level, by us or by rclone, holds no signed address and no word of a sign-in.
func TestTheLogHoldsNoSignedAddress(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		var b bytes.Buffer
		log := newLog(&b, "debug", format)
		err := fmt.Errorf("open: %w", errors.New(`Get "https://x.y/z?o=planted": EOF`))
		log.Info("went to https://x.y/z?o=planted", "error", err, "url", "https://x.y/z?o=planted")
		h := rcloneHandler{log.Handler()}
		for _, m := range []string{"config in: planted", "config out: err=planted", "retry https://x.y/z?o=planted"} {
			if err := h.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelDebug, m, 0)); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(b.String(), "planted") || strings.Count(b.String(), "https://x.y/z?...") != 4 {
			t.Errorf("the log is %s", &b)
		}
	}
}
