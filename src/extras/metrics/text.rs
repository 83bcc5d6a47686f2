//! The figures in Prometheus' text format, version 0.0.4, for `GET /metrics`.
//!
//! A part of [`metrics`](super).

use std::fmt::{Display, Write};

use super::figures::{self, Figure, Samples};
use crate::counters::BOUNDS;
use crate::extras::cluster::Cluster;
use crate::server::Server;

/// The media type of what [`text`] gives.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The whole answer to a scrape.
pub(crate) fn text(server: &Server, cluster: Option<&Cluster>) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    let groups = figures::all(server, cluster);
    groups.iter().flat_map(|group| &group.figures).for_each(|figure| page.figure(figure));
    page.0
}

/// The text so far.
struct Page(String);

impl Page {
    fn line(&mut self, line: impl Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.0, "{line}");
    }

    fn figure(&mut self, Figure { name, help, samples }: &Figure) {
        let kind = match samples {
            Samples::Times(..) => "histogram",
            _ if name.ends_with("_total") => "counter",
            _ => "gauge",
        };
        self.line(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
        match samples {
            Samples::One(value) => self.line(format_args!("{name} {value}")),
            Samples::Many(label, samples) => {
                for (value, count) in samples {
                    self.line(format_args!("{name}{{{label}=\"{}\"}} {count}", escaped(value)));
                }
            }
            Samples::Times(counts, seconds) => self.times(name, counts, *seconds),
        }
    }

    fn times(&mut self, name: &str, counts: &[u64; BOUNDS.len() + 1], seconds: f64) {
        let mut total = 0;
        for (micros, count) in BOUNDS.iter().zip(counts) {
            total += count;
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {total}", *micros as f64 / 1e6));
        }
        total += counts[BOUNDS.len()];
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {total}"));
        self.line(format_args!("{name}_sum {seconds}\n{name}_count {total}"));
    }
}

/// A label's value, as the format wants it between its quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("/a\"b\\c\nd"), r#"/a\"b\\c\nd"#);
    }
}
