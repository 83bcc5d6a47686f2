//! How values are written: numbers, times, switches, addresses. What is wrong with one knows nothing of where it stood.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;

use crate::error::InvalidValue;
use crate::extras::cluster;
use crate::limits::Publish;

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, InvalidValue> {
    text.parse().map_err(|_| format!("'{text}' is not a whole number in range").into())
}

pub(super) fn positive(text: &str) -> Result<usize, InvalidValue> {
    match number(text)? {
        0 => Err("must be more than 0".into()),
        number => Ok(number),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, InvalidValue> {
    let seconds: f64 = text.parse().map_err(|_| format!("'{text}' is not a number of seconds"))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if seconds < 1e9 => Ok(duration),
        _ => Err(format!("'{text}' is not a number of seconds in range").into()),
    }
}

pub(super) fn some_seconds(text: &str) -> Result<Duration, InvalidValue> {
    let duration = seconds(text)?;
    if duration.is_zero() { Err("must be more than 0".into()) } else { Ok(duration) }
}

/// PHP's words for yes and no.
pub(super) fn switch(text: &str) -> Result<bool, InvalidValue> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" | "1" => Ok(true),
        "off" | "no" | "false" | "0" | "none" | "" => Ok(false),
        _ => Err(format!("'{text}' is not on or off").into()),
    }
}

pub(super) fn publish(text: &str) -> Result<Publish, InvalidValue> {
    match text {
        "token" => Ok(Publish::Token),
        _ => match switch(text) {
            Ok(true) => Ok(Publish::On),
            Ok(false) => Ok(Publish::Off),
            Err(_) => Err(format!("'{text}' is not on, token or off").into()),
        },
    }
}

/// In a Redis Cluster braces choose the node, and are put around the prefix.
pub(super) fn prefix(text: &str) -> Result<String, InvalidValue> {
    cluster::check_prefix(text).map(|()| text.into())
}

pub(super) fn net(text: &str) -> Result<IpNet, InvalidValue> {
    let host = || text.parse().map(|ip: IpAddr| ip.to_canonical().into());
    text.parse().or_else(|_| host()).map_err(|_| format!("'{text}' is not an IP address, or one with /BITS").into())
}

pub(super) fn host(text: &str) -> Result<String, InvalidValue> {
    match text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        true => Ok(text.into()),
        false => Err(format!("'{text}' is not a name of a host; write it without scheme and port, like ws.example.com").into()),
    }
}

pub(super) fn origin(text: &str) -> Result<String, InvalidValue> {
    match text.split_once("://") {
        Some((scheme, host)) if !scheme.is_empty() && !host.is_empty() && !host.contains('/') => Ok(text.into()),
        _ => Err(format!("'{text}' is not an origin; write scheme and host, like https://example.com").into()),
    }
}
