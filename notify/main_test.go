package notify

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain sends whatever isn't for this machine to a proxy that isn't there: no test reaches a service.
func TestMain(m *testing.M) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		if err := os.Setenv(name, "http://127.0.0.1:1"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}
