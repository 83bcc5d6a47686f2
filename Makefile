# phpws: the commands of the README, and those that CI adds.

ADDRESS ?= ws://127.0.0.1:8095
TLS     := target/tls

.PHONY: run run-tls test check cert conformance browser php web-client clean

# Builds the server and starts it.
run:
	cargo build --release --locked
	exec target/release/phpws $(ADDRESS)

# The same over TLS with a self-signed pair.
run-tls: cert
	cargo build --release --locked
	exec target/release/phpws --cert $(TLS)/cert.pem --key $(TLS)/key.pem wss://127.0.0.1:8095

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

clean:
	cargo clean
