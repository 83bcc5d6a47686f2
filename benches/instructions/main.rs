//! A guard for the hot paths: how many instructions each operation takes, counted by callgrind and
//! compared with `baseline.txt`. Counts do not depend on how busy the machine is, so CI can tell a
//! change of a few per cent from noise.
//!
//! There are paths, which are parts without sockets, and processes, which are whole servers.
//!
//! This program is both sides. As `make instructions` runs it, it runs itself under valgrind, twice
//! for each path: with some rounds and with twice as many, so that what comes before the first round
//! and after the last cancels out. As `cargo test` runs it, each path is gone once, uncounted.

#[path = "../samples/mod.rs"]
mod samples;

mod baseline;
mod callgrind;
mod paths;
mod process;

use std::process::{Command, ExitCode};

use baseline::{Baseline, Verdict};
use paths::{PATHS, Path};
use process::PROCESSES;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    let outcome = match &args[..] {
        [rounds, name, count] if rounds == "rounds" => go(name, count),
        [serve, name] if serve == "serve" => self::serve(name),
        _ if has("--update") => update(),
        // So cargo calls it from `cargo bench`, and without it from `cargo test`.
        _ if has("--bench") => compare(),
        _ => try_out(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("instructions: {error}");
        ExitCode::FAILURE
    })
}

/// Goes a path so often: what callgrind counts.
fn go(name: &str, count: &str) -> Result<ExitCode, String> {
    let path = PATHS.iter().find(|path| path.name == name).ok_or("no such path")?;
    path.go(count.parse().map_err(|_| "not a number of rounds")?);
    Ok(ExitCode::SUCCESS)
}

/// Is a server: what callgrind counts.
fn serve(name: &str) -> Result<ExitCode, String> {
    let process = PROCESSES.iter().find(|process| process.name == name).ok_or("no such process")?;
    process.serve().map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// Does everything once, uncounted.
fn try_out() -> Result<ExitCode, String> {
    PATHS.iter().for_each(|path| path.go(1));
    PROCESSES.iter().try_for_each(|process| process.try_out())?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that is counted: names, and how each is.
fn counts() -> impl Iterator<Item = (&'static str, Result<f64, String>)> {
    let paths = PATHS.iter().map(|path| (path.name, count(path)));
    paths.chain(PROCESSES.iter().map(|process| (process.name, process.count())))
}

/// Writes the baseline anew.
fn update() -> Result<ExitCode, String> {
    let mut baseline = Baseline { made_with: tools()?, counts: Vec::new() };
    for (name, count) in counts() {
        baseline.counts.push((name.to_owned(), count?));
    }
    std::fs::write(FILE, baseline.to_string()).map_err(|error| format!("{FILE}: {error}"))?;
    print!("{baseline}");
    Ok(ExitCode::SUCCESS)
}

/// Prints a table; fails where a path became worse, unless other tools made the difference.
fn compare() -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(FILE).map_err(|error| format!("{FILE}: {error}; `make instructions-update` writes it"))?;
    let baseline = Baseline::parse(&text).map_err(|line| format!("{FILE}: can't read {line:?}"))?;
    let tools = tools()?;
    let mut verdicts = Vec::new();
    println!("{:<20} {:>12} {:>12} {:>9}", "instructions for", "baseline", "now", "change");
    for (name, count) in counts() {
        let (before, now) = (baseline.find(name), count?);
        let verdict = Verdict::of(before, now);
        let before_text = before.map_or("-".into(), |before| format!("{before:.1}"));
        println!("{name:<20} {before_text:>12} {now:>12.1} {verdict}");
        verdicts.push(verdict);
    }
    Ok(conclude(&verdicts, (baseline.made_with != tools).then_some((&baseline.made_with, &tools))))
}

fn conclude(verdicts: &[Verdict], other_tools: Option<(&String, &String)>) -> ExitCode {
    let any = |of: fn(&Verdict) -> bool| verdicts.iter().any(of);
    if let Some((before, now)) = other_tools {
        println!("Not judged: the baseline was made with {before}; here is {now}.");
        println!("`make instructions-update` before and after a change shows what it does.");
        return ExitCode::SUCCESS;
    }
    if any(|verdict| matches!(verdict, Verdict::Worse(_))) {
        println!("Worse by more than 5 %. Mend it, or say why in the commit that runs `make instructions-update`.");
        return ExitCode::FAILURE;
    }
    if any(|verdict| matches!(verdict, Verdict::Better(_) | Verdict::New)) {
        println!("Update the baseline, so that what was won is not lost unseen: `make instructions-update`.");
    }
    ExitCode::SUCCESS
}

/// Instructions of one operation.
fn count(path: &Path) -> Result<f64, String> {
    let run = |rounds: u32| callgrind::collected(callgrind::start(&["rounds", path.name, &format!("{rounds:09}")])?);
    let (once, twice) = (run(path.rounds)?, run(2 * path.rounds)?);
    Ok((twice - once) as f64 / f64::from(path.rounds))
}

/// What counts depend on beside the source: the compiler, the allocator and `memcpy` of the C
/// library, and which instructions valgrind says the processor has.
fn tools() -> Result<String, String> {
    let valgrind = first_line("valgrind", &["--version"], "apt-get install valgrind")?;
    let rustc = first_line("rustc", &["--version"], "install Rust")?;
    let libc = first_line("getconf", &["GNU_LIBC_VERSION"], "counts need glibc")?;
    #[cfg(target_arch = "x86_64")]
    let wide = if std::arch::is_x86_feature_detected!("avx2") { " with avx2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let wide = "";
    Ok(format!("{rustc}, {valgrind}, {libc}, {}{wide}", std::env::consts::ARCH))
}

fn first_line(program: &str, args: &[&str], way_out: &str) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}; {way_out}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(str::to_owned).ok_or_else(|| format!("{program} says nothing; {way_out}"))
}
