//! Errors of the start: one line that names the option, file or address, and the way out.
//!
//! What is wrong with a value does not know where the value stood; what is wrong with the start does.

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

/// Why a value can't be used, in one line: an address, a port, a token, a URL, the text of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidValue(String);

impl From<String> for InvalidValue {
    fn from(problem: String) -> InvalidValue {
        InvalidValue(problem)
    }
}

impl From<&str> for InvalidValue {
    fn from(problem: &str) -> InvalidValue {
        InvalidValue(problem.to_owned())
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidValue {}
