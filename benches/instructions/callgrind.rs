//! This program again, under callgrind.

use std::process::{Child, Command, Stdio};

/// Starts it with these arguments. No variables, and arguments of the same length each time: what lies
/// on the stack would otherwise move it, and with it what copying costs.
pub fn start(args: &[&str]) -> Result<Child, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program()?).args(args);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    spawn(&mut command).map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))
}

/// The same uncounted.
pub fn start_uncounted(args: &[&str]) -> Result<Child, String> {
    spawn(Command::new(program()?).args(args)).map_err(|error| error.to_string())
}

fn program() -> Result<std::path::PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

fn spawn(command: &mut Command) -> std::io::Result<Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
}

/// Instructions of the whole run, which ends now.
pub fn collected(child: Child) -> Result<i64, String> {
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.filter(|_| output.status.success()).ok_or_else(|| format!("callgrind counted nothing:\n{report}"))
}
