package acceptance

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestKilledWhileTelling kills the program at each step of a message. Each job's end is told: once, or twice where it was
// killed between the message and its note of it.
func TestKilledWhileTelling(t *testing.T) {
	t.Parallel()
	bin, err := mortal()
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]int{"concluding": 1, "announced": 1, "telling": 1, "told": 2} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []string
			inbox := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				mu.Lock()
				defer mu.Unlock()
				got = append(got, string(body))
			}))
			defer inbox.Close()
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "src"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "src", "letter.txt"), []byte("hello"), 0o600); err != nil {
				t.Fatal(err)
			}
			command := func(label string, env ...string) *exec.Cmd {
				cmd := exec.Command(bin, "run", filepath.Join(dir, "src"), filepath.Join(dir, "dst"), "--label", label)
				cmd.Env = append(os.Environ(), "HOME="+dir, "OFFLOAD_DATA="+filepath.Join(dir, "data"), "OFFLOAD_REDIS=", "RCLONE_CONFIG="+os.DevNull,
					"OFFLOAD_MESSAGES_URL=generic://"+strings.TrimPrefix(inbox.URL, "http://")+"/?disabletls=yes")
				cmd.Env = append(cmd.Env, env...)
				return cmd
			}
			cmd := command("first", "OFFLOAD_FAILPOINT="+at)
			start(t, "offload to be killed", cmd).status(t, limit())
			if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
				t.Fatalf("it ended as %v, want it killed at %q", cmd.ProcessState, at)
			}
			for _, label := range []string{"first", "second"} { // the first goes on with what was killed, or finds all there
				if code := start(t, "offload", command(label)).status(t, limit()); code != 0 {
					t.Fatalf("status %d", code)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all := strings.Join(got, "\n")
			// Where the job had ended when it was killed, the same command made another one.
			if jobs := map[bool]int{true: 0, false: 1}[at == "concluding"]; strings.Count(all, "first (") != want+jobs || strings.Count(all, "second (") != 1 {
				t.Errorf("told %q", got)
			}
		})
	}
}
