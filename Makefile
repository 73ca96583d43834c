# Everything that is done with this tree. It needs Go, git, make and a C compiler (for the race detector); the tests
# also want redis-server, which `make test` installs through apt where it is absent, and two tools that it builds.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT    ?= $(shell git rev-parse -q --verify HEAD 2>/dev/null || echo unknown)
LDFLAGS    = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
TOOLS     := $(CURDIR)/.cache/bin
# A number of runs, not a time: go test -fuzz sometimes fails with "context deadline exceeded" when its time is up.
FUZZTIME  ?= 200000x
FUZZSKIP  ?= ^$$# a pattern of folders to pass over

# Servers that the tests run against, at the versions that the tests were written for.
RCLONE    := github.com/rclone/rclone@v1.76.0
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
COMPOSE   := v2.40.3

.DEFAULT_GOAL := build
.PHONY: build demo up test lint unit containers acceptance chaos bench fuzz tools redis docker clean

build: ## bin/offload
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/offload ./cmd/offload

demo: build ## the main job between two played clouds; needs no account and no server
	./bin/offload demo

up: secrets/config_pass ## the pool in containers, as docker-compose.yml says; needs Docker with compose
	VERSION=$(VERSION) COMMIT=$(COMMIT) docker compose up --detach --build --wait

# The containers read it as a user of their own, so the folder keeps the users of this machine away, not the file's mode.
secrets/config_pass:
	@mkdir -p -m 700 secrets
	@head -c 32 /dev/urandom | base64 >$@.new && chmod 644 $@.new && mv $@.new $@
	@echo "made $@: keep a copy where no one else sees it; without it the sealed remotes can't be opened"

test: lint tools redis ## what CI runs: linters and all tests under the race detector, with real servers
	OFFLOAD_ACCEPTANCE=1 $(GO) test -race -count=1 -parallel 4 -timeout 40m ./... # no cached results: the binary under test is built by the tests

unit: ## the tests without the real servers' ones
	$(GO) test ./cmd/... ./configs/... ./jobs/... ./quota/... ./transfer/... ./internal/...

containers: redis docker ## the image, and the pool of docker-compose.yml in real containers (Linux, as root)
	OFFLOAD_CONTAINERS=1 $(GO) test -v -count=1 -timeout 40m ./test/containers

lint: ## formatting, vet, staticcheck (staticcheck.conf says what and why)
	@bad=$$(gofmt -l .); \
	 if [ -n "$$bad" ]; then echo "not formatted, run gofmt -w on:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

acceptance: tools redis ## the long form: all of GOROOT/src and a 1 GiB file
	OFFLOAD_ACCEPTANCE=1 OFFLOAD_FULL=1 $(GO) test -v -count=1 -timeout 120m ./test/acceptance

chaos: redis ## three workers for ten minutes, while everything around them dies, freezes or can't be reached
	OFFLOAD_ACCEPTANCE=1 OFFLOAD_CHAOS=$${OFFLOAD_CHAOS:-10m} $(GO) test -v -count=1 -timeout 60m -run '^TestChaos$$' ./test/acceptance

bench: tools redis ## benchmarks of the packages, then the program beside rclone move on the same remotes
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./configs/... ./jobs/... ./quota/... ./transfer/... ./internal/...
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m ./test/acceptance

fuzz: ## every fuzz target for FUZZTIME
	@grep -rl --include='*_test.go' '^func Fuzz' . | grep -v '$(FUZZSKIP)' | sort | while read -r f; do \
	  for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$f"); do \
	    echo "$$name in $$(dirname $$f)"; \
	    $(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname $$f)" || exit 1; \
	  done; \
	done

tools: $(TOOLS)/rclone $(TOOLS)/versitygw

$(TOOLS)/rclone:
	GOBIN=$(TOOLS) $(GO) install -ldflags '-s -w' $(RCLONE)

$(TOOLS)/versitygw:
	GOBIN=$(TOOLS) $(GO) install -ldflags '-s -w' $(VERSITYGW)

redis: # RUNLEVEL=1 keeps the package from starting a server of its own
	@command -v redis-server >/dev/null || { \
	  command -v apt-get >/dev/null || { echo "redis-server is missing: install it, then run make again"; exit 1; }; \
	  [ "$$(id -u)" = 0 ] && sudo= || sudo=sudo; \
	  $$sudo apt-get update -q && $$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends redis-server; }

# Debian's Docker for the tests of the containers, which start a daemon of their own, and compose, which isn't packaged.
# Where there is no apt-get, or this isn't root, that test says what is missing and is skipped.
docker: $(TOOLS)/docker-compose
	@command -v dockerd >/dev/null || ! command -v apt-get >/dev/null || [ "$$(id -u)" != 0 ] || { \
	  apt-get update -q && env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends docker.io iptables iproute2; }

# `go install` refuses it for its exclude directives, hence a module around it.
$(TOOLS)/docker-compose:
	@rm -rf $(TOOLS)/compose.mod && mkdir -p $(TOOLS)/compose.mod
	cd $(TOOLS)/compose.mod && $(GO) mod init compose && $(GO) get github.com/docker/compose/v2/cmd@$(COMPOSE) && \
	  CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X github.com/docker/compose/v2/internal.Version=$(COMPOSE)' \
	    -o $@ github.com/docker/compose/v2/cmd
	@rm -rf $(TOOLS)/compose.mod

clean:
	rm -rf bin .cache
