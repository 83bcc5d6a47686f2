//! What is counted: messages, bytes, latencies, errors; and the one clock.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// More errors than these are counted and not printed.
const PRINTED_ERRORS: u64 = 10;
/// Longer latencies count as this one.
const LONGEST_NS: u64 = 600_000_000_000;
const REDRAW_NS: u64 = 100_000_000;

/// Counters of one run. Times are nanoseconds since it began.
pub struct Meter {
    clock: Instant,
    /// The time when the latest bytes were read.
    pub now: u64,
    /// Off while warming up and while waiting for the last answers.
    pub measuring: bool,
    pub messages: u64,
    pub bytes: u64,
    pub errors: u64,
    latencies: Histogram<u64>,
    bar: ProgressBar,
    drawn: u64,
}

impl Meter {
    pub fn new(quiet: bool) -> Meter {
        let visible = !quiet && std::io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{prefix:8} {wide_bar} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bounds = Histogram::new_with_bounds(1, LONGEST_NS, 3);
        let latencies = bounds.unwrap_or_else(|_| unreachable!("these bounds are among those allowed"));
        Meter {
            clock: Instant::now(),
            now: 0,
            measuring: false,
            messages: 0,
            bytes: 0,
            errors: 0,
            latencies,
            bar: ProgressBar::with_draw_target(Some(0), target).with_style(style),
            drawn: 0,
        }
    }

    pub fn tick(&mut self) {
        self.now = self.clock.elapsed().as_nanos() as u64;
    }

    /// `count` messages of `bytes` in all have come, each `latency` after it was sent.
    pub fn record(&mut self, count: u64, bytes: u64, latency: u64) {
        if self.measuring {
            self.messages += count;
            self.bytes += bytes;
            self.latencies.saturating_record_n(latency, count);
        }
    }

    /// A latency in microseconds; `None` where nothing came.
    pub fn latency_us(&self, quantile: f64) -> Option<f64> {
        let ns = if quantile == 1.0 { self.latencies.max() } else { self.latencies.value_at_quantile(quantile) };
        (!self.latencies.is_empty()).then_some(ns as f64 / 1000.0)
    }

    pub fn error(&mut self, text: &str) {
        self.errors += 1;
        if self.errors <= PRINTED_ERRORS {
            self.bar.suspend(|| eprintln!("load: {text}"));
        }
    }

    /// Begins a part of the run in the progress bar; `length` in any unit.
    pub fn stage(&mut self, name: &'static str, length: u64) {
        self.bar.set_prefix(name);
        self.bar.set_length(length);
        self.bar.set_position(0);
    }

    /// Shows how far the part is, at most ten times a second.
    pub fn progress(&mut self, position: u64) {
        if self.now.wrapping_sub(self.drawn) < REDRAW_NS || self.bar.is_hidden() {
            return;
        }
        self.drawn = self.now;
        self.bar.set_position(position);
        self.bar.set_message(format!("{} messages", self.messages));
    }

    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

pub fn ns(seconds: f64) -> u64 {
    Duration::from_secs_f64(seconds).as_nanos() as u64
}

/// When the messages left that have not been answered yet, the oldest first.
#[derive(Default)]
pub struct Flight {
    departures: VecDeque<(u64, u64)>,
    count: u64,
}

impl Flight {
    pub fn depart(&mut self, now: u64, count: u64) {
        self.departures.push_back((now, count));
        self.count += count;
    }

    pub fn outstanding(&self) -> u64 {
        self.count
    }

    /// The oldest `count` have been answered, with `bytes` each; says so to the meter.
    pub fn land(&mut self, mut count: u64, bytes: u64, meter: &mut Meter) {
        self.count -= count;
        while count > 0
            && let Some((departure, waiting)) = self.departures.front_mut()
        {
            let landed = count.min(*waiting);
            meter.record(landed, landed * bytes, meter.now - *departure);
            count -= landed;
            *waiting -= landed;
            if *waiting == 0 {
                self.departures.pop_front();
            }
        }
    }
}
