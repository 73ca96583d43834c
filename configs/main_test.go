package configs

import (
	"os"
	"testing"

	"offload/internal/leaktest"
)

func TestMain(m *testing.M) { os.Exit(leaktest.Run(m)) }
