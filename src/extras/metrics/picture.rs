//! The figures as JSON, for the status page.
//!
//! A part of [`metrics`](super). The page knows no list of its own: it shows each group and figure that comes.

use serde_json::{Value, json};

use super::figures::{self, Figure, Samples};
use crate::counters::BOUNDS;
use crate::server::Server;

/// All but what the loop alone knows of other processes. Times are in seconds.
pub(crate) fn picture(server: &Server) -> String {
    let groups = figures::all(server, None).into_iter().map(|group| {
        let figures: Vec<Value> = group.figures.iter().map(figure).collect();
        json!({"title": group.title, "figures": figures})
    });
    json!({"groups": groups.collect::<Vec<_>>()}).to_string()
}

/// Labels are a list of pairs, which keeps their order.
fn figure(Figure { name, help, samples }: &Figure) -> Value {
    match samples {
        Samples::One(value) => json!({"name": name, "help": help, "value": value}),
        Samples::Many(label, values) => json!({"name": name, "help": help, "label": label, "values": values}),
        Samples::Times(counts, sum) => {
            let bounds: Vec<f64> = BOUNDS.iter().map(|micros| *micros as f64 / 1e6).collect();
            json!({"name": name, "help": help, "bounds": bounds, "counts": counts, "sum": sum})
        }
    }
}
