//! Where log lines go: the console, a file that rotates, or both.
//!
//! PHP counterpart: `logToFile.php`. The lines are PHP's: the date of `date('r')`, a semicolon, the
//! message; or, for log collectors, JSON objects. Nothing a peer sends can begin a line of its own:
//! see `src/printable.rs`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{InvalidValue, StartError};
use crate::printable::escape;

/// A log file that is renamed to `NAME.1` when it is full, `NAME.1` to `NAME.2`, and so on.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    keep: usize,
}

impl LogFile {
    /// Opens a file for appending. It is renamed at `max_bytes` (0: never), `keep` old ones stay.
    pub fn open(path: &Path, max_bytes: u64, keep: usize) -> io::Result<LogFile> {
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        Ok(LogFile(Arc::new(Mutex::new(Inner { path: path.into(), file, bytes, max_bytes, keep }))))
    }

    /// Opens the file anew under its name, after somebody else renamed it.
    pub fn reopen(&self) -> io::Result<()> {
        self.lock().reopen()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        self.bytes = self.file.metadata()?.len();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let numbered = |number: usize| PathBuf::from(format!("{}.{number}", self.path.display()));
        for number in (1..self.keep).rev() {
            // A gap in the numbers is no reason to stop.
            let _ = std::fs::rename(numbered(number), numbered(number + 1));
        }
        if self.keep > 0 {
            std::fs::rename(&self.path, numbered(1))?;
        } else {
            self.file.set_len(0)?;
        }
        self.reopen()
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.max_bytes > 0 && self.bytes > 0 && self.bytes + line.len() as u64 > self.max_bytes {
            // A file that can't be renamed grows on, and is tried again when it is as full once more.
            self.rotate().unwrap_or_else(|_| self.bytes = 0);
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// PHP's: date, semicolon, message.
    Text,
    /// A JSON object with `time` (UTC, milliseconds), `level` and `message`.
    Json,
}

impl FromStr for LogFormat {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<LogFormat, InvalidValue> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("'{text}' is not text or json").into()),
        }
    }
}

impl LogFormat {
    fn write(self, out: &mut impl Write, record: &log::Record<'_>) -> io::Result<()> {
        let message = Line(&record.args().to_string()).to_string();
        match self {
            LogFormat::Text => writeln!(out, "{};{message}", jiff::Zoned::now().strftime("%a, %d %b %Y %H:%M:%S %z")),
            LogFormat::Json => {
                let level = record.level().as_str().to_ascii_lowercase();
                let message = serde_json::Value::String(message);
                writeln!(out, r#"{{"time":"{:.3}","level":"{level}","message":{message}}}"#, jiff::Timestamp::now())
            }
        }
    }
}

/// The two places a line may go to. A line that can't be written is lost: a full disk must not stop
/// the server.
struct Sink {
    console: bool,
    file: Option<LogFile>,
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.console {
            let _ = io::stdout().write_all(line);
        }
        if let Some(file) = &self.file {
            let _ = file.lock().append(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the program's logger.
#[doc(alias = "Log")]
pub fn init(level: log::LevelFilter, format: LogFormat, console: bool, file: Option<LogFile>) -> Result<(), StartError> {
    env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .filter_module("phpws", level)
        .format(move |out, record| format.write(out, record))
        .target(env_logger::Target::Pipe(Box::new(Sink { console, file })))
        .try_init()
        .map_err(|error| StartError::new("log", error))
}

/// A whole line, of which a part may be a peer's after all.
struct Line<'a>(&'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        escape(self.0.chars(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_is_one_object_whatever_the_message() {
        for message in ["plain", "quote \" and \\", "x\r\n{\"time\":1}\u{1b}[2J\u{9b}\u{2028}ü"] {
            let mut line = Vec::new();
            let mut record = log::Record::builder();
            LogFormat::Json.write(&mut line, &record.level(log::Level::Warn).args(format_args!("{message}")).build()).unwrap();
            let line = String::from_utf8(line).unwrap();
            assert_eq!(line.lines().count(), 1);
            assert!(!line.trim_end().chars().any(char::is_control), "{line:?}");
            let object: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["message"], Line(message).to_string());
            assert_eq!(object["level"], "warn");
            let time = object["time"].as_str().unwrap();
            assert!(time.len() == 24 && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        }
    }

    #[test]
    fn no_line_is_lost_where_a_full_file_cannot_be_renamed() {
        let dir = std::env::temp_dir().join(format!("phpws-log-stuck-{}", std::process::id()));
        let path = dir.join("phpws.log");
        // A directory of that name stands in the way.
        std::fs::create_dir_all(dir.join("phpws.log.1/full")).unwrap();
        let log = LogFile::open(&path, 10, 1).unwrap();
        for line in ["one-one\n", "two-two\n", "three-3\n"] {
            log.lock().append(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one-one\ntwo-two\nthree-3\n");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_full_file_is_renamed_and_old_ones_are_kept() {
        let dir = std::env::temp_dir().join(format!("phpws-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("phpws.log");
        let log = LogFile::open(&path, 10, 2).unwrap();
        for line in ["one-one\n", "two-two\n", "three-3\n", "four-44\n"] {
            log.lock().append(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        assert_eq!(read("phpws.log").as_deref(), Some("four-44\n"));
        assert_eq!(read("phpws.log.1").as_deref(), Some("three-3\n"));
        assert_eq!(read("phpws.log.2").as_deref(), Some("two-two\n"));
        assert_eq!(read("phpws.log.3"), None);
        std::fs::rename(&path, dir.join("moved")).unwrap();
        log.reopen().unwrap();
        log.lock().append(b"new\n").unwrap();
        assert_eq!(read("phpws.log").as_deref(), Some("new\n"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
