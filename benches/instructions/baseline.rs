//! The file that counts are compared with, and what a difference means.

use std::fmt;

/// Counts by path, and the tools that they were made with.
pub struct Baseline {
    pub made_with: String,
    pub counts: Vec<(String, f64)>,
}

const HEAD: &str = "# Instructions of one operation. `make instructions-update` writes this file.\n";
const MADE_WITH: &str = "made with: ";

impl Baseline {
    /// Reads the file; the error is a line that it can't read.
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let mut baseline = Baseline { made_with: String::new(), counts: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            if let Some(tools) = line.strip_prefix(MADE_WITH) {
                baseline.made_with = tools.to_owned();
                continue;
            }
            let pair = line.split_once(' ').and_then(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)));
            baseline.counts.push(pair.ok_or(line)?);
        }
        Ok(baseline)
    }

    pub fn find(&self, path: &str) -> Option<f64> {
        self.counts.iter().find(|(name, _)| name == path).map(|(_, count)| *count)
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEAD}{MADE_WITH}{}\n\n", self.made_with)?;
        self.counts.iter().try_for_each(|(name, count)| writeln!(f, "{name:<20} {count:>10.1}"))
    }
}

/// A change in per cent, and what it means.
pub enum Verdict {
    Same(f64),
    Better(f64),
    Worse(f64),
    New,
}

impl Verdict {
    pub fn of(before: Option<f64>, now: f64) -> Verdict {
        let Some(before) = before else { return Verdict::New };
        let change = (now / before - 1.0) * 100.0;
        // Paths of a few instructions may gain one without anything being wrong.
        match change {
            _ if (now - before).abs() <= 1.0 => Verdict::Same(change),
            change if change > 5.0 => Verdict::Worse(change),
            change if change < -5.0 => Verdict::Better(change),
            change => Verdict::Same(change),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Same(change) => write!(f, "{change:>+7.1} %"),
            Verdict::Better(change) => write!(f, "{change:>+7.1} %  better"),
            Verdict::Worse(change) => write!(f, "{change:>+7.1} %  WORSE"),
            Verdict::New => f.write_str("          new"),
        }
    }
}
