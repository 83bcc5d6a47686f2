//! Where log lines go: the console, a file that rotates, or both.
//!
//! PHP counterpart: `logToFile.php`. The lines are PHP's: the date of `date('r')`, a semicolon, the
//! message; or, for log collectors, JSON objects. Nothing a peer sends can begin a line of its own:
//! see `src/printable.rs`. Each place has a thread that writes (`log_writer.rs`), so no line holds up the server. How many
//! lines connections may cause is in `log_rate.rs`.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use log::Log;

use super::log_rate::{LOG_RATE, LogRate};
use super::log_writer::{Place, Queue, write_lines};
use crate::error::{InvalidValue, StartError};
use crate::printable::escape;

/// How long the end of the program waits for lines that are not yet written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A log file that is renamed to `NAME.1` when it is full, `NAME.1` to `NAME.2`, and so on.
#[derive(Clone, Debug)]
pub struct LogFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Held by whoever writes, which may take long.
    inner: Mutex<Inner>,
    /// The lines that wait for it, once a logger writes to it.
    queue: OnceLock<Arc<Queue>>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whether its last line was cut.
    torn: bool,
    max_bytes: u64,
    keep: usize,
}

impl LogFile {
    /// Opens a file for appending. It is renamed at `max_bytes` (0: never), `keep` old ones stay.
    pub fn open(path: &Path, max_bytes: u64, keep: usize) -> io::Result<LogFile> {
        let file = append_to(path)?;
        let bytes = file.metadata()?.len();
        let inner = Mutex::new(Inner { path: path.into(), file, bytes, torn: false, max_bytes, keep });
        Ok(LogFile(Arc::new(Shared { inner, queue: OnceLock::new() })))
    }

    /// Opens the file anew under its name, after somebody else renamed it. Where a logger writes to it, its thread does
    /// so behind the lines that wait, and logs how that went.
    pub fn reopen(&self) -> io::Result<()> {
        match self.0.queue.get() {
            Some(queue) => {
                queue.reopen();
                Ok(())
            }
            None => self.lock().reopen(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place for LogFile {
    fn write(&mut self, lines: &[u8]) -> u64 {
        self.lock().append(lines)
    }

    fn reopen(&mut self) {
        let outcome = self.lock().reopen();
        match outcome {
            Ok(()) => log::info!(target: "phpws", "Log file reopened"),
            Err(error) => log::error!(target: "phpws", "Log file not reopened, the old one stays: {error}"),
        }
    }
}

/// Standard output. It is written to by its descriptor, so that nothing else waits for it.
struct Console {
    out: File,
    torn: bool,
}

impl Place for Console {
    fn write(&mut self, lines: &[u8]) -> u64 {
        write_lines(&mut self.out, lines, &mut self.torn)
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

    /// Writes lines, as many at once as the file may hold, and says how many are lost.
    fn append(&mut self, mut lines: &[u8]) -> u64 {
        let mut lost = 0;
        while !lines.is_empty() {
            let mut count = self.fitting(lines);
            if count == 0 {
                // A file that can't be renamed grows on, and is tried again when it is as full once more.
                self.rotate().unwrap_or_else(|_| self.bytes = 0);
                count = self.fitting(lines);
            }
            let (now, later) = lines.split_at(count);
            lost += write_lines(&mut self.file, now, &mut self.torn);
            self.bytes += now.len() as u64;
            lines = later;
        }
        lost
    }

    /// The length of the first lines that fit into the file; into an empty one at least the first.
    fn fitting(&self, lines: &[u8]) -> usize {
        let room = match self.max_bytes {
            0 => usize::MAX,
            max => usize::try_from(max.saturating_sub(self.bytes)).unwrap_or(usize::MAX),
        };
        let end = |part: &[u8]| part.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let first = || lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
        match lines.get(..room) {
            None => lines.len(),
            Some(part) => match end(part) {
                0 if self.bytes == 0 => first(),
                count => count,
            },
        }
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

/// The places that a line goes to.
struct Sink(Vec<Arc<Queue>>);

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.iter().for_each(|queue| queue.push(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The program's logger.
struct Logger {
    lines: env_logger::Logger,
    rate: Mutex<LogRate>,
    queues: Vec<Arc<Queue>>,
    /// Whether somebody has waited for its lines in vain.
    hangs: AtomicBool,
}

impl Logger {
    fn rate(&self) -> MutexGuard<'_, LogRate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, count: u64) {
        with_note(format_args!("{count} log lines were left out: more than log-rate allows"), |note| self.lines.log(note));
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.lines.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.lines.matches(record) {
            return;
        }
        let verdict = self.rate().admit(record.target(), record.level(), Instant::now());
        if let Some(count) = verdict.note {
            self.note(count);
        }
        if verdict.written {
            self.lines.log(record);
        }
    }

    /// Waits until the lines are written, for a second at most.
    fn flush(&self) {
        let left_out = self.rate().rest(Instant::now());
        if let Some(count) = left_out {
            self.note(count);
        }
        let patience = if self.hangs.load(Ordering::Relaxed) { Duration::ZERO } else { LAST_LINES };
        let until = Instant::now() + patience;
        let hanging = self.queues.iter().filter(|queue| !queue.flush(until)).count();
        self.hangs.store(hanging > 0, Ordering::Relaxed);
    }
}

/// Writes the last lines as the thread that started the logger ends: on Linux the main thread's values end with the
/// program, also after a panic.
struct LastLines;

impl Drop for LastLines {
    fn drop(&mut self) {
        log::logger().flush();
    }
}

thread_local! {
    static LAST_WORDS: LastLines = const { LastLines };
}

/// A warning of the logger itself.
fn with_note(message: fmt::Arguments<'_>, act: impl FnOnce(&log::Record<'_>)) {
    act(&log::Record::builder().level(log::Level::Warn).target("phpws").args(message).build());
}

/// Starts the program's logger, with the default rate of lines.
///
/// Lines are written by a thread, which the server waits for as it ends, and [`Log::flush`] at any time.
#[doc(alias = "Log")]
pub fn init(level: log::LevelFilter, format: LogFormat, console: bool, file: Option<LogFile>) -> Result<(), StartError> {
    init_with_rate(level, format, console, file, LOG_RATE)
}

/// The same with so many lines a second that connections may cause; 0 is no limit.
pub fn init_with_rate(
    level: log::LevelFilter,
    format: LogFormat,
    console: bool,
    file: Option<LogFile>,
    rate: u32,
) -> Result<(), StartError> {
    start(level, format, console, file, rate).map_err(|problem| StartError::new("log", problem))
}

fn start(
    level: log::LevelFilter,
    format: LogFormat,
    console: bool,
    file: Option<LogFile>,
    rate: u32,
) -> Result<(), Box<dyn std::error::Error>> {
    let dropped = move |count: u64| {
        let mut line = Vec::new();
        // Writing to memory can't fail.
        with_note(format_args!("{count} log lines were dropped"), |note| format.write(&mut line, note).unwrap_or_default());
        line
    };
    let mut queues = Vec::new();
    if console {
        let out = io::stdout().as_fd().try_clone_to_owned()?.into();
        queues.push(Queue::start(Console { out, torn: false }, dropped)?);
    }
    if let Some(file) = file {
        let queue = Queue::start(file.clone(), dropped)?;
        file.0.queue.get_or_init(|| queue.clone());
        queues.push(queue);
    }
    let lines = env_logger::Builder::new()
        .filter_level(log::LevelFilter::Warn)
        .filter_module("phpws", level)
        .format(move |out, record| format.write(out, record))
        .target(env_logger::Target::Pipe(Box::new(Sink(queues.clone()))))
        .build();
    let filter = lines.filter();
    log::set_boxed_logger(Box::new(Logger {
        lines,
        rate: Mutex::new(LogRate::new(rate)),
        queues,
        hangs: AtomicBool::new(false),
    }))?;
    log::set_max_level(filter);
    LAST_WORDS.with(|_| ());
    Ok(())
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
            assert_eq!(log.lock().append(line.as_bytes()), 0);
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
            assert_eq!(log.lock().append(line.as_bytes()), 0);
        }
        let read = |name: &str| std::fs::read_to_string(dir.join(name)).ok();
        assert_eq!(read("phpws.log").as_deref(), Some("four-44\n"));
        assert_eq!(read("phpws.log.1").as_deref(), Some("three-3\n"));
        assert_eq!(read("phpws.log.2").as_deref(), Some("two-two\n"));
        assert_eq!(read("phpws.log.3"), None);
        std::fs::rename(&path, dir.join("moved")).unwrap();
        log.reopen().unwrap();
        assert_eq!(log.lock().append(b"new\n"), 0);
        assert_eq!(read("phpws.log").as_deref(), Some("new\n"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
