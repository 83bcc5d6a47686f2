//! The manual page and the completions against the table of settings. tests/packaging.rs hands them to man
//! and to the shells.

use std::process::Command;

use phpws::manual;
use phpws::settings::{ACTIONS, SETTINGS};

fn phpws(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_phpws")).args(args).output().unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

fn names() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).chain(ACTIONS.iter().map(|action| action.name))
}

#[test]
fn every_flag_is_in_the_page_with_variable_and_keys() {
    let page = manual::page();
    for name in names() {
        assert!(page.contains(&format!("\\-\\-{}\\fP", name.replace('-', "\\-"))), "{name}");
    }
    for setting in SETTINGS {
        assert!(page.contains(&format!("Variable: {};", setting.variable())), "{}", setting.name);
        assert!(page.contains(setting.php));
    }
}

#[test]
fn every_flag_is_completed_in_every_shell() {
    for (shell, before) in [("bash", "--"), ("zsh", "--"), ("fish", "-l ")] {
        let text = manual::completions(shell).unwrap();
        for name in names() {
            let found = text.match_indices(&format!("{before}{name}")).any(|(at, flag)| {
                let next = text[at + flag.len()..].chars().next();
                next.is_none_or(|next| !next.is_alphanumeric() && next != '-')
            });
            assert!(found, "{shell} lacks {name}");
        }
    }
}

#[test]
fn the_program_prints_them() {
    assert_eq!(phpws(&["--man"]), (Some(0), manual::page()));
    for shell in ["bash", "zsh", "fish"] {
        assert_eq!(phpws(&["--completions", shell]), (Some(0), manual::completions(shell).unwrap()));
    }
    let refused = "phpws: --completions: 'csh' is not bash, zsh or fish; see phpws --help\n";
    assert_eq!(phpws(&["--completions", "csh"]), (Some(2), refused.to_owned()));
}

#[test]
fn the_words_that_are_offered_are_taken() {
    let bash = manual::completions("bash").unwrap();
    let mut tried = 0;
    for line in bash.lines().filter(|line| line.contains("compgen -W '") && line.contains("--") && line.contains(") ")) {
        let Some((pattern, action)) = line.trim().split_once(") ") else { continue };
        let flag = pattern.rsplit('|').next().unwrap();
        if !flag.ends_with('=') || flag == "--completions=" {
            continue;
        }
        for word in action.split('\'').nth(1).unwrap().split(' ') {
            let (status, text) = phpws(&["--check", "--session-path", "/tmp", "--trusted-proxy=::1", &format!("{flag}{word}")]);
            assert_eq!(status, Some(0), "{flag}{word}: {text}");
            tried += 1;
        }
    }
    assert!(tried > 15, "only {tried} words were tried");
}
