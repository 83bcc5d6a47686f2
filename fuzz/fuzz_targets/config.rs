//! The configuration file: any text gives values for known settings or an error of one line, and any
//! value gives settings or an error of one line.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use phpws::settings::{self, Invocation, InvocationError, SETTINGS};

const SUBJECT: &str = "--config phpws.ini";

/// No time may be so long that adding it to a clock could overflow.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

/// An environment with a value of every kind that `${NAME}` can meet.
fn variable(name: &str) -> Option<String> {
    Some(match name {
        "LOG_FILE" => "/var/log/phpws.log".into(),
        "EMPTY" => String::new(),
        "NESTED" => "${NESTED}".into(),
        "QUOTES" => "'\"; #".into(),
        "LINES" => "one\ntwo = 2\r\n[three]".into(),
        _ => return None,
    })
}

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let outcome = settings::parse_file(&text, SUBJECT, &variable).map_err(|error| error.to_string());
    let padded = settings::parse_file(&padded(&text), SUBJECT, &variable).map_err(|error| error.to_string());
    assert_eq!(padded, outcome, "with white space around everything");
    let values = match outcome {
        Ok(values) => values,
        Err(error) => return is_one_line(&error, SUBJECT),
    };
    for (name, (place, values)) in &values {
        let setting = SETTINGS.iter().find(|setting| setting.name == *name).expect("a setting of the table");
        assert!(place.starts_with(SUBJECT) && place.lines().count() == 1 && !place.ends_with(": "), "{place:?}");
        assert!(if setting.many { !values.is_empty() } else { values.len() == 1 }, "{name}: {values:?}");
    }
    the_values_become_settings(&values);
});

/// The same file with white space where it says nothing: around lines and around each first `=`.
fn padded(text: &str) -> String {
    let lines = text.trim_start_matches('\u{feff}').lines().map(|line| match line.split_once('=') {
        Some((key, value)) if !line.trim_start().starts_with(['[', ';', '#']) => format!(" {key}\t = {value} \r\n"),
        _ => format!("\t{line} \r\n"),
    });
    lines.collect()
}

/// The same values, each in the environment, where they take the same way into the settings.
fn the_values_become_settings(values: &settings::FileValues) {
    let setting = |wanted: &str| SETTINGS.iter().find(|setting| setting.variable() == wanted);
    let given = |name: &str| values.get(setting(name)?.name).map(|(_, values)| values.join(","));
    match settings::from_args(&[], given) {
        Ok(Invocation::Run(settings)) => {
            let limits = &settings.limits;
            assert!(limits.max_message > 0 && limits.max_outbox > 0);
            assert!(!limits.handshake_timeout.is_zero() && !limits.close_timeout.is_zero());
            let times = [limits.ping_interval, limits.message_timeout, limits.idle_timeout];
            assert!(times.iter().chain([&limits.handshake_timeout, &limits.close_timeout]).all(|time| *time < LONGEST));
            assert_eq!(settings.address.secure, settings.cert.is_some());
        }
        Ok(Invocation::Print(text)) => panic!("printed without being asked: {text}"),
        Err(InvocationError::Usage(error)) => panic!("no command line and yet: {error}"),
        // A value from the environment may have lines of its own, and is quoted.
        Err(InvocationError::Start(_)) if values.values().any(|(_, values)| values.join("").contains('\n')) => {}
        Err(InvocationError::Start(error)) => is_one_line(&error.to_string(), ""),
    }
}

fn is_one_line(error: &str, subject: &str) {
    assert!(error.starts_with(subject) && error.contains(": "), "{error:?}");
    assert!(!error.contains('\n') && !error.ends_with(": "), "{error:?}");
}
