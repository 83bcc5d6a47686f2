//! The command line, the environment and the configuration file.

use std::process::{Command, Output};

use crate::util::folder::Folder;
use crate::util::tls::Pair;
use crate::util::{Phpws, request};
use phpws::settings::SETTINGS;

fn phpws(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_phpws")).args(args).output().unwrap()
}

/// The exit status and the one line on stderr.
fn refusal(output: &Output) -> (i32, String) {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(output.stdout.is_empty());
    (output.status.code().unwrap(), stderr.trim_end().strip_prefix("phpws: ").unwrap().to_owned())
}

#[test]
fn help_and_version_are_printed() {
    let help = String::from_utf8(phpws(&["--help"]).stdout).unwrap();
    for setting in SETTINGS {
        assert!(help.contains(&format!("--{}", setting.name)), "{}", setting.name);
    }
    assert!(help.contains("Usage: phpws [OPTIONS] [ADDRESS [PORT]]"));
    let version = phpws(&["--version"]);
    assert_eq!(version.stdout, format!("phpws {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    assert!(version.status.success());
}

#[test]
fn usage_errors_end_with_2() {
    for (args, expected) in [
        (&["--nonsense"][..], "Unrecognized option: 'nonsense'; see phpws --help"),
        (&["--max-per-ip"], "Argument to option 'max-per-ip' missing; see phpws --help"),
        (&["a", "1", "b"], "unexpected argument 'b'; see phpws --help"),
        (&["ws://a:1", "2"], "ADDRESS 'ws://a:1' has a port already, PORT '2' is too much; see phpws --help"),
    ] {
        assert_eq!(refusal(&phpws(args)), (2, expected.to_owned()));
    }
}

#[test]
fn bad_values_end_with_1_and_name_the_option() {
    for (args, expected) in [
        (&["--max-per-ip", "many"][..], "--max-per-ip: 'many' is not a whole number in range"),
        (&["--max-message", "0"], "--max-message: must be more than 0"),
        (&["--ping-interval", "-1"], "--ping-interval: '-1' is not a number of seconds in range"),
        (&["--handshake-timeout", "0"], "--handshake-timeout: must be more than 0"),
        (&["--allowed-ip", "localhost"], "--allowed-ip: 'localhost' is not an IP address, or one with /BITS"),
        (
            &["--allowed-origin", "example.com"],
            "--allowed-origin: 'example.com' is not an origin; write scheme and host, like https://example.com",
        ),
        (&["--page=maybe"], "--page: 'maybe' is not on or off"),
        (&["--log-level", "loud"], "--log-level: 'loud' is not off, error, warn, info, debug or trace"),
        (&["--log-format", "xml"], "--log-format: 'xml' is not text or json"),
        (&["http://localhost"], "--address: unknown scheme 'http', use ws, wss, tcp or ssl"),
        (&["127.0.0.1", "99999"], "PORT: '99999' is not a port, use a number from 0 to 65535"),
        (&["--log-file", "/nonexistent/x.log"], "--log-file /nonexistent/x.log: No such file or directory (os error 2)"),
        (&["--config", "/nonexistent.ini"], "--config /nonexistent.ini: can't be read: No such file or directory (os error 2)"),
    ] {
        assert_eq!(refusal(&phpws(args)), (1, expected.to_owned()));
    }
}

/// What the start refuses, `--check` refuses in the same words.
#[test]
fn check_refuses_what_the_start_refuses() {
    let forms = "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss://… (TLS), redis+sentinel://HOST[:PORT],…/NAME[/DB] or \
        unix:///PATH[?db=N]";
    let empty = "--backplane-prefix: must not be empty: processes with the same one belong together";
    let redis = "redis://127.0.0.1:1";
    for (args, expected) in [
        (&["--backplane", "mysql://x"][..], format!("--backplane: has an unknown scheme; write {forms}")),
        (
            &["--backplane", "redis+sentinel://127.0.0.1"],
            "--backplane: lacks the name of the master; write redis+sentinel://HOST,HOST/NAME".into(),
        ),
        (&["--backplane", redis, "--backplane-prefix", ""], empty.into()),
        (
            &["--backplane", redis, "--backplane-prefix", "{a}"],
            "--backplane-prefix: must not contain { or }: in a Redis Cluster phpws adds them".into(),
        ),
        (&["--browser-opcodes", "/nowhere=echo"], "--browser-opcodes: nothing is registered under /nowhere".into()),
    ] {
        let address = "ws://127.0.0.1:0";
        assert_eq!(refusal(&phpws(&[&["--check"], args].concat())), (1, expected.clone()));
        assert_eq!(refusal(&phpws(&[&["--console=off", address], args].concat())), (1, expected));
    }
    let (status, line) = refusal(&phpws(&["--check", "--backplane", "rediss://127.0.0.1:1?ca=/nowhere.pem"]));
    assert!(status == 1 && line.contains("/nowhere.pem"), "{line}");
    assert!(phpws(&["--check", "--backplane", redis]).status.success());
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let server = Phpws::start(&[]);
    let address = format!("ws://{}", server.addr);
    let output = phpws(&["--console=off", &address]);
    let expected =
        format!("address {address}: Address already in use (os error 98); stop the other program or choose another port");
    assert_eq!(refusal(&output), (1, expected));
}

#[test]
fn certificates_and_keys_are_checked_before_anything_starts() {
    let (pair, other, folder) = (Pair::new(), Pair::new(), Folder::new());
    let ([_, cert, _, key], [_, _, _, other_key]) = (pair.args(), other.args());
    let nothing = &folder.write("nothing.pem", "hello\n");
    let wss = "wss://127.0.0.1:0";
    for (args, expected) in [
        (&[wss][..], format!("{wss}: TLS needs a certificate: give --cert FILE and --key FILE")),
        (&["--cert", &cert, "127.0.0.1"], "--cert: a certificate goes with an address that begins with wss:// or ssl://".into()),
        (
            &["--cert", nothing, "--key", &key, wss],
            format!("--cert {nothing}: holds no certificate; give the PEM file with BEGIN CERTIFICATE"),
        ),
        (&["--cert", &cert, "--key", &other_key, wss], format!("--key {other_key}: does not belong to the certificate {cert}")),
    ] {
        assert_eq!(refusal(&phpws(args)), (1, expected));
    }
    for (args, beginning) in [
        (
            &["--cert", "/nonexistent.pem", "--key", &key, wss][..],
            "--cert /nonexistent.pem: can't be read as a PEM chain: ".to_owned(),
        ),
        (
            &["--cert", &cert, "--key", nothing, wss],
            format!("--key {nothing}: can't be read as a PEM key (PKCS#8, PKCS#1 or SEC1): "),
        ),
    ] {
        let (status, line) = refusal(&phpws(args));
        assert!(status == 1 && line.starts_with(&beginning), "{line}");
    }
    let checked = phpws(&["--check", "--cert", &cert, "--key", &key, wss]);
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(checked.stdout, format!("phpws: settings are fine for {wss}\n").as_bytes());
    let both = std::fs::read_to_string(&cert).unwrap() + &std::fs::read_to_string(&key).unwrap();
    let both = folder.write("both.pem", both);
    assert!(phpws(&["--check", "--cert", &both, wss]).status.success());
}

#[test]
fn keys_of_all_three_forms_are_read() {
    for name in ["pkcs1", "pkcs8", "sec1"] {
        let path = |end: &str| format!("{}/tests/keys/{name}.{end}", env!("CARGO_MANIFEST_DIR"));
        let output = phpws(&["--check", "--cert", &path("crt"), "--key", &path("key"), "wss://127.0.0.1:0"]);
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[test]
fn phps_own_configuration_file_is_read_as_it_is() {
    let folder = Folder::new();
    let config = folder.write(
        "config.ini",
        "[websocketserver]\nadress = 'ws://127.0.0.1:0'\nlogfile = ${PHPWS_TEST_LOG}\nconsole = true\ncertFile =\npkFile = \nmaxPerIP = 1\n\
        [jsauth]\nrequire=false\nssp=${SAVE_SESSION_PATH}\ncookie_name = \"PHPSESSID\"\n[develop]\ndevelopsystem = true ; Set to false in production\n",
    );
    // The limit is for strangers, whom a proxy names here.
    let server = Phpws::start_on("127.0.0.1:0", &["--config", &config, "--trusted-proxy", "127.0.0.1"]);
    let stranger = "X-Forwarded-For: 192.0.2.7\r\n";
    drop(server.ready_on("/web", stranger));
    server.log_line("Connection closed to socket #1");
    let (_one, _) = server.ready_on("/web", stranger);
    assert!(server.upgrade("/web", stranger).text().contains("To many connections"));
}

#[test]
fn a_bad_file_names_its_line() {
    let folder = Folder::new();
    for (name, text, expected) in [
        ("key.ini", "[websocketserver]\n\nmaxPerIp = 3\n", "line 3: unknown key 'maxPerIp'; see phpws --help"),
        ("value.ini", "maxClients = x\n", "line 1: maxClients: 'x' is not a whole number in range"),
        ("section.ini", "[server]\na = 1\n", "line 2: unknown section [server]; ours is [websocketserver]"),
        ("auth.ini", "[jsauth]\nrequired = true\n", "line 2: unknown key 'required'; see phpws --help"),
        ("syntax.ini", "[websocketserver\n", "line 1: a section lacks its ]"),
    ] {
        let path = folder.write(name, text);
        assert_eq!(refusal(&phpws(&["--config", &path])), (1, format!("--config {path}: {expected}")));
    }
}

#[test]
fn a_required_session_needs_a_directory() {
    let folder = Folder::new();
    let config =
        &folder.write("auth2.ini", "[jsauth]\nrequire=true\nssp=${PHPWS_TEST_NOTHING}\ncookie_name = \"SID\"\nkey = ok\n");
    let expected = "--require-session: needs PHP's session.save_path: give --session-path DIR";
    assert_eq!(refusal(&phpws(&["--check", "--config", config])), (1, expected.to_owned()));
    let (status, line) = refusal(&phpws(&["--check", "--config", config, "--session-path", "/nonexistent"]));
    assert!(status == 1 && line.starts_with("--session-path: the directory /nonexistent can't be entered: "), "{line}");
    assert!(phpws(&["--check", "--config", config, "--session-path", "/tmp"]).status.success());
}

#[test]
fn tokens_are_checked_before_anything_starts() {
    let folder = Folder::new();
    for (name, text, problem) in [
        ("empty.tokens", "# none\n", "has no token; make one with: openssl rand -hex 32"),
        ("short.tokens", "short\n", "line 1: a token has at least 16 characters; make one with: openssl rand -hex 32"),
        ("blank.tokens", "\nwith a blank within it\n", "line 2: a token has no blanks and only ASCII characters"),
    ] {
        let file = folder.write_secret(name, text);
        let expected = format!("--publish-token-file {file}: {problem}");
        assert_eq!(refusal(&phpws(&["--check", "--publish-token-file", &file])), (1, expected));
    }
    let (status, line) = refusal(&phpws(&["--check", "--publish-token-file", "/nonexistent"]));
    assert!(status == 1 && line.starts_with("--publish-token-file /nonexistent: can't be read: "), "{line}");
    let expected = "--publish token: needs tokens: give --publish-token-file FILE or set PHPWS_PUBLISH_TOKEN";
    assert_eq!(refusal(&phpws(&["--check", "--publish", "token"])), (1, expected.to_owned()));
    assert_eq!(refusal(&phpws(&["--check", "--publish", "who"])), (1, "--publish: 'who' is not on, token or off".to_owned()));
    let with_variable = |tokens: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phpws"));
        command.args(["--check", "--publish", "token"]).env("PHPWS_PUBLISH_TOKEN", tokens).output().unwrap()
    };
    assert!(with_variable("0123456789abcdef\nfedcba9876543210").status.success());
    assert!(refusal(&with_variable("short")).1.starts_with("PHPWS_PUBLISH_TOKEN: line 1: a token has at least 16"));
}

#[test]
fn flag_comes_before_environment_before_file() {
    let folder = Folder::new();
    let config = folder.write("order.ini", "[websocketserver]\nmax-clients = nonsense\n");
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phpws"));
        command.args(["--check", "--config", &config]).args(args);
        if let Some(value) = variable {
            command.env("PHPWS_MAX_CLIENTS", value);
        }
        command.output().unwrap()
    };
    assert!(refusal(&run(&[], None)).1.contains("line 2: max-clients: 'nonsense'"));
    assert!(refusal(&run(&[], Some("odd"))).1.starts_with("PHPWS_MAX_CLIENTS: 'odd'"));
    assert!(run(&[], Some("3")).status.success());
    assert!(refusal(&run(&["--max-clients", "bad"], Some("odd"))).1.starts_with("--max-clients: 'bad'"));
    assert!(run(&["--max-clients", "3"], Some("odd")).status.success());
}

#[test]
fn a_json_log_is_the_same_on_the_console_and_in_the_file() {
    let folder = Folder::new();
    let log = folder.write("json.log", "");
    let mut server = Phpws::start(&["--log-format", "json", "--log-file", &log]);
    let mut client = server.connect();
    client.send(request("/nobody\"\\", "").as_bytes());
    client.rest();
    drop(client);
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    server.log_line("Server stopped");
    let written = std::fs::read_to_string(&log).unwrap();
    assert_eq!(written.lines().collect::<Vec<_>>(), server.log());
    for line in written.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        let keys: Vec<&String> = object.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["level", "message", "time"], "{line}");
    }
}

#[test]
fn the_address_may_be_written_as_php_users_write_it() {
    for args in [&["127.0.0.1", "0"][..], &["tcp://127.0.0.1:0"], &["localhost:0"], &["--address", "ws://127.0.0.1:0"]] {
        let (last, rest) = args.split_last().unwrap();
        let server = Phpws::start_on(last, rest);
        assert!(server.addr.port() > 0);
        server.browser();
    }
    let v6 = Phpws::start_on("ws://[::1]:0", &[]);
    assert!(v6.addr.is_ipv6());
    v6.browser();
    v6.ready_on("/php", "Client-Type: php\r\n");
}
