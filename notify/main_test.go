package notify

import (
	"os"
	"testing"

	"offload/internal/leaktest"
)

// TestMain sends whatever isn't for this machine to a proxy that isn't there: no test reaches a service.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	os.Exit(leaktest.Run(m))
}
