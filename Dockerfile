# The image: one program and an empty folder for its state, on a base without a shell.
#
#   make image        builds it with docker, podman or buildah, whichever is installed
#   make image-test   builds it on stand-ins for the base images, and tests what docs/OPERATIONS.md says about it
#
# It uses no feature of recent versions of BuildKit (COPY --link, heredocs, RUN --network), so that buildah 1.28 can build it.
# The toolchain is that of rust-toolchain.toml. Both base images are Debian 12, because a program needs the libc that it
# was linked with. To build reproducibly, pin both by digest: --build-arg RUNTIME_IMAGE=gcr.io/distroless/…@sha256:….
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# ---- cargo-auditable: writes the list of crates into the program, where scanners of images find it ----
FROM ${BUILD_IMAGE} AS auditable
ARG CARGO_AUDITABLE=0.7.7
RUN cargo install --locked --root /opt/auditable --version "$CARGO_AUDITABLE" cargo-auditable

# ---- dependencies: compiled again only when a manifest, Cargo.lock or the build image changes ----
FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY zoom-sim/Cargo.toml zoom-sim/
COPY tests/support/Cargo.toml tests/support/
# Builds with empty files in place of our sources, then removes cargo's fingerprint of the result, because cargo would consider the
# result newer than the sources. `cargo clean` would also remove the crate redis, because one of our tests has the same name.
RUN mkdir -p src zoom-sim/src tests/support/src benches \
    && sed -n '/^\[\[bench\]\]/{n;s/^name = "\(.*\)"/benches\/\1.rs/p}' Cargo.toml >benches/names \
    && xargs touch src/lib.rs zoom-sim/src/lib.rs tests/support/src/lib.rs <benches/names \
    && echo 'fn main() {}' >src/main.rs && cp src/main.rs zoom-sim/src/ \
    && cargo build --release --locked --package zoom-qos-proxy \
    && rm -r target/release/.fingerprint/zoom-qos-proxy-*

FROM dependencies AS build
COPY --from=auditable /opt/auditable/bin/ /usr/local/cargo/bin/
COPY config/default.toml config/
COPY docs/CALLERS.md docs/
COPY src src
RUN cargo auditable build --release --locked --package zoom-qos-proxy \
    && install -D target/release/zoom-qos-proxy /out/program/zoom-qos-proxy \
    && install -d /out/state/zoom-qos-proxy

# ---- the service ----
FROM ${RUNTIME_IMAGE} AS service
ARG VERSION=unknown
ARG REVISION=unknown
ARG CREATED=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="zoom-qos-proxy" \
      org.opencontainers.image.description="Cached, cleaned Zoom meeting QoS for every team, within one account's rate limits" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
COPY --from=build /out/program/ /usr/local/bin/
# For limits.state_file on a volume: a new named volume gets this folder's owner.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/
# In a container both listeners must accept connections from outside; docs/OPERATIONS.md says who should reach them.
ENV QOS_PROXY__SERVER__LISTEN=0.0.0.0:8080 \
    QOS_PROXY__SERVER__OPS_LISTEN=0.0.0.0:9090
# At most two malloc arenas, and blocks of 512 KiB or more outside of them. glibc then returns freed memory to the system, and a full
# cache takes up to a third less memory.
ENV GLIBC_TUNABLES=glibc.malloc.arena_max=2:glibc.malloc.mmap_threshold=524288:glibc.malloc.trim_threshold=524288
EXPOSE 8080 9090
WORKDIR /
# As a number, so that Kubernetes can verify that the user is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/zoom-qos-proxy", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/zoom-qos-proxy"]

# ---- the simulated Zoom, for trials: --target zoom-sim ----
# The simulator is built separately. In one build, cargo would also enable the features that it needs in the service's libraries.
FROM dependencies AS build-zoom-sim
COPY zoom-sim/src zoom-sim/src
RUN cargo build --release --locked --package zoom-sim

FROM ${RUNTIME_IMAGE} AS zoom-sim
COPY --from=build-zoom-sim /build/target/release/zoom-sim /usr/local/bin/
USER 65532:65532
EXPOSE 8090
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/zoom-sim"]
CMD ["--listen", "0.0.0.0:8090"]

# The last stage is the default target. Without --target, buildah 1.28 also builds the simulator; with --target service it does not.
FROM service
