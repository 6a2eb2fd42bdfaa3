# The image: one program and an empty folder for its state, on a base without a shell.
#
#   make image        with docker, podman or buildah, whichever is here
#   make image-test   builds it on stand-ins of the base images, and tries what docs/OPERATIONS.md says of it
#
# Nothing that only newer BuildKits know (COPY --link, heredocs, RUN --network), so that buildah 1.28 builds it, too.
# The toolchain is that of rust-toolchain.toml; both base images are Debian 12, because a program wants the libc that it
# was linked with. To build reproducibly, pin both by digest: --build-arg RUNTIME_IMAGE=gcr.io/distroless/…@sha256:….
ARG BUILD_IMAGE=docker.io/library/rust:1.95.0-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/cc-debian12:nonroot

# ---- what we depend on: compiled anew only when a manifest changes ----
FROM ${BUILD_IMAGE} AS dependencies
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY zoom-sim/Cargo.toml zoom-sim/
COPY tests/support/Cargo.toml tests/support/
# Empty files stand for ours, and what became of them is removed: cargo would take it for newer than the sources.
RUN mkdir -p src zoom-sim/src tests/support/src benches \
    && sed -n '/^\[\[bench\]\]/{n;s/^name = "\(.*\)"/benches\/\1.rs/p}' Cargo.toml >benches/names \
    && xargs touch src/lib.rs zoom-sim/src/lib.rs tests/support/src/lib.rs <benches/names \
    && echo 'fn main() {}' >src/main.rs && cp src/main.rs zoom-sim/src/ \
    && cargo build --release --locked --package zoom-qos-proxy \
    && cargo clean --release --locked --package zoom-qos-proxy

FROM dependencies AS build
COPY config/default.toml config/
COPY src src
RUN cargo build --release --locked --package zoom-qos-proxy \
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
# For limits.state_file on a volume: a new named volume takes its owner from here.
COPY --from=build --chown=65532:65532 /out/state/ /var/lib/
# In a container both listeners are reached from outside; docs/OPERATIONS.md says whom to let in.
ENV QOS_PROXY__SERVER__LISTEN=0.0.0.0:8080 \
    QOS_PROXY__SERVER__OPS_LISTEN=0.0.0.0:9090
EXPOSE 8080 9090
WORKDIR /
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/zoom-qos-proxy", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/zoom-qos-proxy"]

# ---- the imitation of Zoom, for trials: --target zoom-sim ----
# Not in one build with the service, which would get the features of the simulator's libraries, too.
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

# What is built when no target is named: the last stage. buildah 1.28 builds the simulator for it as well, --target service
# does not.
FROM service
