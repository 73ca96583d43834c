# The image of offload: one static program, certificates and two folders; no shell, no package manager.
#   docker build -t offload:local .
# Other platforms: docker buildx build --platform linux/amd64,linux/arm64 .
# The compiler always runs on the platform of the machine that builds, and compiles for the one that was asked for.

FROM --platform=$BUILDPLATFORM golang:1.26.8-bookworm AS build
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
# Where modules come from; the default is Go's own.
ARG GOPROXY
WORKDIR /src
# Modules and compiled packages stay in caches of the builder, so that a change here and there compiles only that. The
# flags are those of the Makefile; .dockerignore says what of the tree gets here.
RUN --mount=type=bind,target=. \
    --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOFLAGS=-buildvcs=false \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION -X main.commit=$COMMIT" -o /out/offload ./cmd/offload
# What may be written to: the data folder, whose owner and mode a new volume takes over, and the folder for temporary files.
RUN mkdir -p /out/own && mkdir -m 0700 /out/own/data && mkdir -m 1777 /out/own/tmp

FROM scratch
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="offload" \
      org.opencontainers.image.description="Moves files out of a full cloud, proves that each arrived, and only then deletes it there" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$COMMIT"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/own /
COPY --from=build /out/offload /usr/local/bin/offload
ENV PATH=/usr/local/bin HOME=/data OFFLOAD_DATA=/data
WORKDIR /data
# A number, so that an orchestrator can see that it isn't root.
USER 65532:65532
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["offload", "health"]
# No entry point: commands are typed as everywhere else, `docker compose run --rm worker offload jobs list`.
CMD ["offload", "worker"]
