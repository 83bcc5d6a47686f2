# phpws: the commands of the README, and those that CI adds.

ADDRESS ?= ws://127.0.0.1:8095
TLS     := target/tls

.PHONY: run run-tls test check cert conformance browser php web-client deny tls-scan fuzz hostile soak bench bench-growth bench-smoke clean

# Builds the server and starts it.
run:
	cargo run --release --locked -- $(ADDRESS)

# The same over TLS with a self-signed pair.
run-tls: cert
	cargo run --release --locked -- --cert $(TLS)/cert.pem --key $(TLS)/key.pem wss://127.0.0.1:8095

# Every test that needs only the Rust toolchain.
test:
	cargo test --locked --all-targets
	cargo test --locked --doc

# Formatting, lints, docs.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

# A self-signed pair for trying; real ones come from a certificate authority.
cert: $(TLS)/cert.pem

$(TLS)/cert.pem:
	mkdir -p $(TLS)
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
	  -subj /CN=localhost -addext "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1" \
	  -keyout $(TLS)/key.pem -out $@

# RFC 6455 conformance by the Autobahn TestSuite (needs Python 2.7).
conformance:
	tests/conformance/run

# The built-in page in a real browser (needs Node and Chromium).
browser:
	cargo build --release --locked
	cd tests/browser && npm ci --no-audit --no-fund && npm test

# The browser client's unit tests (needs Node).
web-client:
	cd clients/web && npm test

# The PHP client against a running server (needs php-cli).
php:
	cargo build --release --locked
	tests/php/run.sh

# Licences, versions and sources of the dependencies (needs cargo-deny).
deny:
	@command -v cargo-deny >/dev/null || { echo "cargo-deny is missing: cargo install cargo-deny --locked"; exit 1; }
	cargo deny --locked check licenses bans sources

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

# A short run of every fuzz target; SECONDS_EACH says how long (needs cargo-fuzz).
SECONDS_EACH ?= 10
fuzz:
	fuzz/run $(SECONDS_EACH)

# phpws beside others: docs/benchmarks.md (15 minutes of a quiet machine; needs Python 3, and PHPWS_PHP_SERVER for the original).
bench:
	python3 benches/compare bench

# How its cost grows with connections and sizes: docs/capacity.md.
bench-growth:
	python3 benches/compare growth

# Does the comparison work? One short round into a folder that goes away.
bench-smoke:
	python3 benches/compare smoke

clean:
	cargo clean
