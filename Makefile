# Tasks of this repository. `make` without a target lists them.

# Ports of the demo: make demo PORT=18080 OPS_PORT=19090
PORT ?= 8080
OPS_PORT ?= 9090

# rustup installs cargo into ~/.cargo/bin, which shells opened earlier do not have in PATH. `make deny` installs into .tools, and
# scripts/prepare unpacks servers below target/debian.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(CURDIR)/.tools/bin:$(CURDIR)/target/debian/bin

# Commands that `make test` needs from Debian; scripts/prepare knows their packages.
TEST_PROGRAMS = cc curl python3 redis-server faketime haproxy prometheus

# cargo runs one build at a time anyway, and the output of targets must not mix.
.NOTPARALLEL:
.PHONY: help demo test test-all bench fmt lint prepare \
	plan check-format check-clippy check-docs doc-tests tests readme conformance conformance-jdk clients browser memory deny quick-bench quick-compare skips \
	image cluster-test release-check check-image image-test machine-test chart chart-readme chart-checkov monitoring

comma := ,
heading = @printf '\n== %s\n' '$(1)'

help: ## shows this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: ## starts the service and a simulated Zoom, and prints lines to try
	@scripts/prepare cc curl
	@# The dev profile builds in a fraction of a release build's time and is fast enough for trying by hand.
	cargo build --locked --workspace --example demo
	@scripts/foreground target/debug/examples/demo --port $(PORT) --ops-port $(OPS_PORT)

test: plan prepare check-format check-clippy check-docs doc-tests tests readme conformance clients browser chart monitoring check-image skips ## runs everything that CI checks; installs what it needs

test-all: test conformance-jdk memory deny quick-bench quick-compare chart-checkov image-test release-check ## test, and slower checks: a JDK client on the answers, resident size over 50,000 meetings, an hour each of misbehaving callers, Zoom and Redis, audit of the dependencies, each bench once, a short comparison, checkov on the chart, the image, a release without publishing

bench: ## measures the service beside nginx, Varnish and others; PART=hits, instructions, storm, cleaning, large, memory, growth, views, neighbours or start for one alone; WRITE=1 writes docs/PERFORMANCE.md and docs/performance
	@scripts/compare $(if $(PART),--part $(PART)) $(if $(WRITE),--write)
	$(if $(PART),,cargo bench --locked --workspace --bench '*')

image: ## builds the container image with docker, podman or buildah; IMAGE, TAG, ENGINE, BUILD_IMAGE, RUNTIME_IMAGE, IMAGE_ARGS (options of the builder)
	@scripts/image $(IMAGE_ARGS)

image-test: ## builds the image and tests it with podman; as root; BASES=registry uses the real base images
	$(call heading,the image)
	@scripts/image-test

cluster-test: ## builds the image and tests the chart in a kind cluster; HELM=3 or 4
	@scripts/cluster-test

release-check: ## runs the steps of a release that need no credentials: versions, program with its crates and SBOM, chart, checksums
	$(call heading,a release without publishing)
	@scripts/chart-tests --install
	@rm -rf target/release-check && mkdir -p target/release-check
	scripts/release program target/release-check
	PATH="$(CURDIR)/target/chart/python/bin:$$PATH" scripts/release chart ghcr.io/example/zoom-qos-proxy@sha256:$$(printf '%064d' 0) target/release-check
	scripts/release notes >target/release-check/notes.md
	scripts/release checksums target/release-check

fmt: ## formats the code
	cargo fmt --all

lint: prepare check-format check-clippy check-docs ## checks format, clippy and rustdoc

# ---- steps ----

# Before anything is installed, says what `make test` will install, and how much space and time it needs.
plan:
	@scripts/plan $(TEST_PROGRAMS)

prepare:
	@scripts/prepare $(TEST_PROGRAMS)

check-format:
	$(call heading,format)
	cargo fmt --all --check

# `-D warnings` is an argument and not in RUSTFLAGS, which would build every dependency a second time.
check-clippy:
	$(call heading,clippy)
	cargo clippy --locked --workspace --all-targets -- -D warnings

check-docs:
	$(call heading,documentation)
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

check-image:
	$(call heading,Dockerfile$(comma) workflows$(comma) compose.yaml$(comma) scripts)
	@scripts/check-image

doc-tests:
	$(call heading,examples in the documentation)
	cargo test --locked --workspace --doc

tests:
	$(call heading,tests)
	@scripts/rust-tests

readme: ## runs every shell line of the README, in order, against the simulator
	$(call heading,README)
	cargo build --locked --workspace --bins --example demo
	@scripts/chart-tests --install
	@python3 tests/readme/run.py

conformance: ## runs other projects' test suites and linters on the answers; see tests/conformance
	$(call heading,conformance)
	cargo build --locked --workspace --bins
	@scripts/conformance target/debug/zoom-qos-proxy target/debug/zoom-sim

# A separate target: a JDK is 264 MB.
conformance-jdk:
	$(call heading,conformance: the JDK's client)
	cargo build --locked --workspace --bins
	@scripts/prepare java python3
	@python3 tests/conformance/jdk/run.py java target/debug/zoom-qos-proxy target/debug/zoom-sim

clients: ## runs well-known clients of Zoom's API, and generated ones, against the service, and presents foreign tokens; see tests/clients, tests/tokens
	$(call heading,clients made for Zoom)
	cargo build --locked --workspace --bins
	@scripts/clients target/debug/zoom-qos-proxy target/debug/zoom-sim

browser: ## shows the pages in Chromium, and checks and photographs them; see tests/browser
	$(call heading,pages in a browser)
	cargo build --locked --workspace --bins
	@scripts/browser target/debug/zoom-qos-proxy target/debug/zoom-sim

chart: ## renders the Helm chart, and validates it against the schemas of every Kubernetes and by the service; see tests/chart
	$(call heading,chart)
	cargo build --locked --workspace --bins
	@scripts/chart-tests target/debug/zoom-qos-proxy

chart-readme: ## rewrites the table of the chart's README from the comments of its values
	@scripts/chart-tests --install
	target/chart/node/node_modules/.bin/readme-generator --values helm/zoom-qos-proxy/values.yaml --readme helm/zoom-qos-proxy/README.md

# A separate target: checkov is 291 MB, and installing it takes longer than all other tests of the chart.
chart-checkov:
	$(call heading,checkov)
	@scripts/chart-tests --install
	@scripts/chart-checkov

monitoring: ## tests dashboard and alerts against a real Prometheus; see tests/monitoring
	$(call heading,dashboard and alerts)
	cargo build --locked --workspace --bins
	@scripts/monitoring target/debug/zoom-qos-proxy target/debug/zoom-sim

memory:
	$(call heading,resident size over 50$(comma)000 meetings$(comma) and an hour each of rude callers$(comma) a rude Zoom and a rude Redis)
	cargo test --locked --workspace --test api -- --ignored --nocapture memory:: rude_

deny:
	$(call heading,audit of the dependencies)
	command -v cargo-deny >/dev/null || cargo install --locked --root .tools --no-default-features cargo-deny
	cargo deny --locked check bans licenses sources

# Runs last, so that the skipped tests and their reasons are at the end of the output.
skips:
	$(call heading,skipped$(comma) repeated)
	@scripts/skips

machine-test: ## checks that `make test` leaves the machine unchanged; as root, in a bare Debian
	@scripts/machine-test

quick-compare:
	$(call heading,the comparison$(comma) each part for a moment)
	@scripts/compare --quick

quick-bench:
	$(call heading,each bench once)
	cargo bench --locked --workspace --bench '*' -- --test
