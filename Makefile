# Everything that is done with this tree. It needs Go, git, make and a C compiler (for the race detector); the tests
# also want redis-server and Chromium, which `make test` installs through apt where they are absent, and tools that it fetches
# or builds.

GO        ?= go
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT    ?= $(shell git rev-parse -q --verify HEAD 2>/dev/null || echo unknown)
LDFLAGS    = -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# All but those of test/, which drive the program with real servers, containers and a browser.
PACKAGES   = $$($(GO) list ./... | grep -v /test/)
TOOLS     := $(CURDIR)/.cache/bin
# A number of runs, not a time: go test -fuzz sometimes fails with "context deadline exceeded" when its time is up.
FUZZTIME  ?= 200000x
FUZZSKIP  ?= ^$$# a pattern of folders to pass over

# Servers that the tests run against, at the versions that the tests were written for.
RCLONE    := github.com/rclone/rclone@v1.76.0
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0
COMPOSE   := v2.40.3

# What the pages are searched with for what people stumble over who don't see them.
AXE       := axe-core-4.14.1
AXESUM    := 1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5

.DEFAULT_GOAL := build
.PHONY: build demo up test lint unit containers acceptance chaos bench fuzz tools redis docker browser shots pictures clean

build: ## bin/offload
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/offload ./cmd/offload

demo: build ## how room is made, on two played clouds; needs no account and no server
	./bin/offload demo

up: secrets/config_pass secrets/dashboard_token ## the pool in containers, as docker-compose.yml says; needs Docker with compose
	VERSION=$(VERSION) COMMIT=$(COMMIT) docker compose up --detach --build --wait
	@echo "the dashboard is at http://127.0.0.1:$${DASHBOARD_PORT:-7317}: sign in as operator with what is in secrets/dashboard_token"

# The containers read it as a user of their own, so the folder keeps the users of this machine away, not the file's mode.
secrets/config_pass:
	@mkdir -p -m 700 secrets
	@head -c 32 /dev/urandom | base64 >$@.new && chmod 644 $@.new && mv $@.new $@
	@echo "made $@: keep a copy where no one else sees it; without it the sealed remotes can't be opened"

test: lint tools redis docker browser ## what CI runs: linters and all tests under the race detector, with real servers
	OFFLOAD_ACCEPTANCE=1 OFFLOAD_BROWSER=$$(command -v chromium) $(GO) test -race -count=1 -parallel 4 -timeout 40m ./... # no cached results: the binary under test is built by the tests
	$(MAKE) --no-print-directory containers

unit: ## the tests without the real servers' ones
	$(GO) test $(PACKAGES)

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
	$(GO) test -run '^$$' -bench . -benchtime 1x -timeout 60m $(PACKAGES)
	$(GO) test -run '^$$' -bench '^Benchmark(Pages|Lists)$$' -benchtime 100x -timeout 60m ./dashboard/pages ./dashboard/api
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

secrets/dashboard_token:
	@mkdir -p -m 700 secrets
	@head -c 32 /dev/urandom | base64 >$@.new && chmod 644 $@.new && mv $@.new $@
	@echo "made $@: whoever has it may do everything at the dashboard"

# Debian's Chromium and axe-core for the tests of the pages. Where they can't be had, this says so and those tests are skipped.
browser: .cache/$(AXE).js
	@command -v chromium >/dev/null || ! command -v apt-get >/dev/null || { \
	  [ "$$(id -u)" = 0 ] && sudo= || sudo=sudo; \
	  $$sudo apt-get update -q && $$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium; }
	@command -v chromium >/dev/null || echo "chromium is missing, and there is no apt-get to install it with: the tests of the pages are skipped"

.cache/$(AXE).js:
	@command -v npm >/dev/null || { echo "npm is missing: install it, then run make again"; exit 1; }
	@mkdir -p .cache/npm && cd .cache/npm && npm pack --silent $(subst -4,@4,$(AXE)) >/dev/null && \
	  echo "$(AXESUM)  $(AXE).tgz" | sha512sum --check --quiet
	@tar -xOf .cache/npm/$(AXE).tgz package/axe.min.js >$@.new && mv $@.new $@ && rm -r .cache/npm

shots: browser ## pictures of all pages, light and dark, wide and narrow, in .cache/shots
	OFFLOAD_BROWSER=1 OFFLOAD_SHOTS=$(CURDIR)/.cache/shots $(GO) test -count=1 -timeout 20m ./test/browser

# They are of one story, which a test tells: an order, its preview, its job, and Home while it waits for quota.
pictures: browser ## the pictures of the README and of docs/dashboard.md, taken anew into docs/pictures
	OFFLOAD_BROWSER=1 OFFLOAD_SHOTS=$(CURDIR)/.cache/pictures $(GO) test -count=1 -timeout 10m -run '^TestStory$$/^embedded$$' ./test/browser
	for name in home preview job phone; do cp ".cache/pictures/story $$name.png" docs/pictures/$$name.png || exit 1; done

clean:
	rm -rf bin .cache
