//! Errors of the start: one line that names the option, file or address, and the way out.

use std::fmt;

/// Why the server could not start. Shown as one line: `SUBJECT: what is wrong`.
#[derive(Debug)]
pub struct StartError {
    subject: String,
    problem: String,
}

impl StartError {
    /// An error about `subject`: an option, a file, an address, a path of a resource.
    pub fn new(subject: impl fmt::Display, problem: impl fmt::Display) -> StartError {
        StartError { subject: subject.to_string(), problem: problem.to_string() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.problem)
    }
}

impl std::error::Error for StartError {}
