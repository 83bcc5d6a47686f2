//! `--internet`: what it sets, what wins over it, what it says is missing, and that honest pages do not notice it.

use std::process::Command;
use std::time::{Duration, Instant};

use phpws::internet::{Internet, strict};
use phpws::settings::{Invocation, SETTINGS, Settings, from_args};

use crate::util::folder::Folder;
use crate::util::{Client, NEXT, Phpws};

const MIB: usize = 1024 * 1024;

/// What the program takes from these flags and this one variable.
fn settings(flags: &[&str], variable: (&str, &str)) -> Settings {
    let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    match from_args(&flags, |name| (name == variable.0).then(|| variable.1.to_owned())) {
        Ok(Invocation::Run(settings)) => *settings,
        other => panic!("{flags:?}: {other:?}"),
    }
}

fn internet(flags: &[&str]) -> Internet {
    settings(&[&["--internet"], flags].concat(), ("", "")).internet.unwrap()
}

/// The settings of which it says that they are to be named.
fn unnamed(flags: &[&str]) -> Vec<&'static str> {
    internet(flags).unnamed.iter().map(|(name, _)| *name).collect()
}

fn default_of(name: &str) -> &'static str {
    SETTINGS.iter().find(|setting| setting.name == name).unwrap().default
}

#[test]
fn it_sets_what_nobody_gave() {
    let set = internet(&[]).set;
    let descriptors = rlimit_soft();
    assert_eq!(set, strict(descriptors, 5 * MIB, false));
    let given: Vec<String> = set.iter().map(|(name, value)| format!("--{name}={value}")).collect();
    let by_hand = settings(&given.iter().map(String::as_str).collect::<Vec<_>>(), ("", ""));
    assert_eq!(format!("{:?}", settings(&["--internet"], ("", "")).limits), format!("{:?}", by_hand.limits));
    assert_eq!(by_hand.internet, None);
    assert_eq!(settings(&[], ("", "")).limits.max_per_ip, 0, "without it everything is as it was");
}

fn rlimit_soft() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap().min(1 << 20)
}

#[test]
fn whatever_is_given_wins_wherever_and_in_whatever_order() {
    let folder = Folder::new();
    for (name, _) in strict(1000, MIB, false) {
        let default = default_of(name);
        let flag = format!("--{name}={default}");
        let variable = format!("PHPWS_{}", name.to_uppercase().replace('-', "_"));
        let file = folder.write(&format!("{name}.ini"), format!("{name} = {default}\ninternet = on\n"));
        let alone = folder.write(&format!("{name}-alone.ini"), format!("{name} = {default}\n"));
        for (place, settings) in [
            ("behind", settings(&["--internet", &flag], ("", ""))),
            ("in front", settings(&[&flag, "--internet"], ("", ""))),
            ("a flag, and a variable", settings(&[&flag], ("PHPWS_INTERNET", "on"))),
            ("a variable", settings(&["--internet"], (&variable, default))),
            ("the file", settings(&["--config", &file], ("", ""))),
            ("the file, and a flag", settings(&["--config", &alone, "--internet"], ("", ""))),
        ] {
            let set: Vec<&str> = settings.internet.as_ref().unwrap().set.iter().map(|(name, _)| *name).collect();
            assert!(!set.contains(&name) && set.len() == strict(1000, MIB, false).len() - 1, "{name} {place}: {set:?}");
            let others: Vec<String> = internet(&[])
                .set
                .iter()
                .filter(|(other, _)| *other != name)
                .map(|(name, value)| format!("--{name}={value}"))
                .collect();
            let by_hand = self::settings(&others.iter().map(String::as_str).collect::<Vec<_>>(), ("", ""));
            assert_eq!(format!("{:?}", settings.limits), format!("{:?}", by_hand.limits), "{name} {place}");
        }
        // Nothing is no value, as everywhere, except for a switch.
        let empty = settings(&["--internet"], (&variable, "")).internet.unwrap();
        assert_eq!(empty.set.iter().any(|(set, _)| *set == name), !["raw-dialect", "page"].contains(&name), "{name}");
    }
    assert_eq!(settings(&["--internet=off"], ("PHPWS_INTERNET", "on")).internet, None);
}

#[test]
fn what_follows_from_something_else_follows_it() {
    let value = |flags: &[&str], name: &str| internet(flags).set.into_iter().find(|(set, _)| *set == name).unwrap().1;
    assert_eq!(value(&[], "publish"), "off");
    assert_eq!(value(&["--publish-token-file", "x"], "publish"), "token");
    let with_variable = settings(&["--internet"], ("PHPWS_PUBLISH_TOKEN", "0123456789abcdef"));
    assert_eq!(with_variable.limits.publish, phpws::Publish::Token);
    // The longest message passes at once.
    for bytes in [1, 5 * MIB, 64 * MIB, 1 << 40] {
        let rate: u64 = value(&["--max-message", &bytes.to_string()], "max-byte-rate").parse().unwrap();
        assert!(2 * rate > (bytes as u64).min(u32::MAX.into()) && rate >= 3 * MIB as u64, "{bytes}: {rate}");
    }
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 400 && exec \"$0\" --internet --check", env!("CARGO_BIN_EXE_phpws")]);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(said.contains(": max-clients 300, "), "{said}");
}

#[test]
fn no_address_can_fill_the_rooms() {
    let limits = settings(&["--internet"], ("", "")).limits;
    assert!(limits.max_per_ip * limits.max_rooms_per_client < limits.max_rooms);
}

#[test]
fn it_lists_what_only_the_operator_knows() {
    let all = ["allowed-origin", "trusted-proxy", "require-session", "publish-token-file"];
    assert_eq!(unnamed(&[]), all);
    assert_eq!(unnamed(&["--allowed-origin", "https://a.example"]), all[1..]);
    // Without a proxy, and without TLS.
    assert_eq!(unnamed(&["0.0.0.0"]), ["cert", "allowed-origin", "require-session", "publish-token-file"]);
    assert_eq!(unnamed(&["wss://0.0.0.0", "--cert", "x"]), ["allowed-origin", "require-session", "publish-token-file"]);
    assert_eq!(
        unnamed(&["0.0.0.0", "--trusted-proxy", "192.0.2.1"]),
        ["allowed-origin", "require-session", "publish-token-file"]
    );
    // What is not wanted can be said.
    assert_eq!(unnamed(&["--require-session=off", "--publish", "off"]), all[..2]);
    assert_eq!(unnamed(&["--require-session", "--publish-token-file", "x"]), all[..2]);
    let named = ["--allowed-origin", "https://a.example", "--trusted-proxy", "::1", "--require-session", "--publish", "on"];
    assert_eq!(unnamed(&named), [""; 0]);
}

#[test]
fn the_list_is_in_the_log_and_in_what_check_prints() {
    let folder = Folder::new();
    let file = folder.write_secret("tokens", "0123456789abcdef\n");
    let flags = ["--internet", "--publish-token-file", &file, "--max-clients=50"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_phpws"));
    let said = String::from_utf8(command.args(flags).arg("--check").output().unwrap().stdout).unwrap();
    let expected = [
        "phpws: settings are fine for ws://127.0.0.1:8095",
        "phpws: Set for --internet: max-byte-rate 3145728, max-per-ip 1000, max-message-rate 100, max-rooms-per-client 8, \
         raw-dialect off, publish token, page off",
        "phpws: Still to be named for --internet: --allowed-origin, else any page on the web may connect in its visitor's name",
        "phpws: Still to be named for --internet: --trusted-proxy, else the visitors of a proxy in front can't be told apart",
        "phpws: Still to be named for --internet: --require-session, else everybody may connect, without having logged in",
    ];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    let server = Phpws::start(&[&flags[..], &["--log-format", "json"]].concat());
    server.log_line("Starting server...");
    for (line, level) in expected[1..].iter().zip(["info", "warn", "warn", "warn"]) {
        let line = server.log_line(line.strip_prefix("phpws: ").unwrap());
        assert!(line.contains(&format!(r#""level":"{level}""#)), "{line}");
    }
}

// ---- honest pages

#[test]
fn an_office_of_five_hundred_behind_one_address_comes_in() {
    let server = Phpws::start(&["--internet", "--trusted-proxy", "127.0.0.1"]);
    let mut office: Vec<Client> = (0..500).map(|_| server.ready_on("/web", "X-Forwarded-For: 203.0.113.5\r\n").0).collect();
    for client in &mut office {
        client.say("{}");
    }
    let mut boss = office.pop().unwrap();
    let packet = r#"{"opcode":"broadcast","message":"the shop opens"}"#;
    boss.say(packet);
    for client in &mut office {
        assert_eq!(client.text(), packet);
    }
}

#[test]
fn a_page_that_draws_sends_sixty_messages_a_second() {
    const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 60);
    let server = Phpws::start(&["--internet"]);
    let (mut page, _) = server.browser();
    let (mut other, _) = server.browser();
    let stroke = r#"{"opcode":"broadcast","stroke":[17,4,18,5]}"#;
    let start = Instant::now();
    // More than the burst, at its own pace, each after the `next` of the one before.
    for number in 1..=300 {
        page.say(stroke);
        assert_eq!(other.text(), stroke);
        std::thread::sleep((FRAME * number).saturating_sub(start.elapsed()));
    }
    // Whoever is slowed down is late by seconds.
    let late = start.elapsed().saturating_sub(FRAME * 300);
    assert!(late < Duration::from_secs(2), "late by {late:?}");
}

#[test]
fn an_upload_of_a_hundred_chunks_of_fifty_kilobytes_passes() {
    let server = Phpws::start(&["--internet"]);
    let (mut page, _) = server.browser();
    let file = "x".repeat(50_000 * 100 - 200);
    let packet = format!(r#"{{"opcode":"echo","file":"{file}"}}"#);
    page.say("bufferON");
    for chunk in packet.as_bytes().chunks(50_000) {
        page.say(std::str::from_utf8(chunk).unwrap());
    }
    page.say("bufferOFF");
    assert!(page.text() == packet);
    page.say("{}");
}

#[test]
fn the_longest_message_passes_at_once() {
    let server = Phpws::start(&["--internet"]);
    let (mut page, _) = server.browser();
    let packet = format!(r#"{{"opcode":"echo","file":"{}"}}"#, "x".repeat(5 * MIB - 30));
    page.send_text(&packet);
    assert_eq!(page.text(), NEXT);
    assert!(page.text() == packet);
    page.say("{}");
}
