package containers

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
)

// maxImage is what the image may weigh on its way to a machine, in bytes.
const maxImage = 120 << 20

// imageIsAsPromised looks at the image of the Dockerfile.
func imageIsAsPromised(t *testing.T, d *daemon, image, version string) {
	var c struct {
		User, WorkingDir string
		Env, Cmd         []string
		Healthcheck      struct{ Test []string }
		Labels           map[string]string
	}
	if err := json.Unmarshal([]byte(d.docker("image", "inspect", "--format", "{{json .Config}}", image)), &c); err != nil {
		t.Fatal(err)
	}
	if c.User != "65532:65532" {
		t.Errorf("runs as %q", c.User)
	}
	if !slices.Equal(c.Healthcheck.Test, []string{"CMD", "offload", "health"}) {
		t.Errorf("health check %q", c.Healthcheck.Test)
	}
	if c.Labels["org.opencontainers.image.version"] != version || c.Labels["org.opencontainers.image.revision"] != "0123abc" || c.Labels["org.opencontainers.image.licenses"] != "MIT" {
		t.Errorf("labels %v", c.Labels)
	}
	weight(t, d, image)
	if said := strings.Fields(d.docker("run", "--rm", "--read-only", image, "offload", "version")); !slices.Contains(said, version) || !slices.Contains(said, "0123abc") {
		t.Errorf("says of itself %q", said)
	}
	// A job on a read-only root, without any right and any network.
	strict := []string{"run", "--rm", "--read-only", "--tmpfs", "/tmp", "--tmpfs", "/data:uid=65532,gid=65532,mode=0700",
		"--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none", image, "offload"}
	var job jobText
	if err := json.Unmarshal([]byte(d.docker(append(strict, "run", "/usr/local/bin", "/data/copy", "--json")...)), &job); err != nil {
		t.Fatal(err)
	}
	if job.State != "completed" || job.Files.Copied != 1 {
		t.Errorf("a job on a read-only root ended as %+v", job)
	}
}

// weight demands that the image is small, compressed as a registry would, or less well.
func weight(t *testing.T, d *daemon, image string) {
	t.Helper()
	cmd := d.command(t.Context(), "save", image)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var size counter
	z, err := gzip.NewWriterLevel(&size, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(z, out)
	if end := cmd.Wait(); err != nil || end != nil || z.Close() != nil {
		t.Fatalf("save the image: %v, %v", err, end)
	}
	t.Logf("the image has %.1f MiB compressed", float64(size)/(1<<20))
	if size > maxImage {
		t.Errorf("the image has %d bytes compressed, more than %d", size, int64(maxImage))
	}
}

// counter counts what is written.
type counter int64

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
