//! A real redis-server in a directory of its own, for tests of what happens beside it.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::folder::Folder;
use super::sockets::free_port;
use super::wait_for;

pub struct Redis {
    child: Child,
    pub port: u16,
    folder: Folder,
    args: Vec<String>,
}

/// How fast a Sentinel takes a master for dead, and gives a failover up.
const SENTINEL: &str = "sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n";

impl Redis {
    pub fn start() -> Redis {
        Redis::start_with(&[])
    }

    /// With further lines of its configuration, as arguments.
    pub fn start_with(args: &[&str]) -> Redis {
        let (folder, mut port) = (Folder::new(), free_port());
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let child = wait_for("redis-server", || {
            let child = up(port, &folder, &args);
            // Where it ended, somebody else had the port.
            port = if child.is_some() { port } else { free_port() };
            child
        });
        Redis { child, port, folder, args }
    }

    /// A Sentinel, one of three, for the master `main` on that port.
    pub fn sentinel(master: u16) -> Redis {
        Redis::sentinel_with(master, "")
    }

    /// With further lines of its configuration, which it writes to itself.
    pub fn sentinel_with(master: u16, lines: &str) -> Redis {
        let (folder, port) = (Folder::new(), free_port());
        let config = format!("port {port}\nsentinel monitor main 127.0.0.1 {master} 2\n{SENTINEL}{lines}");
        let args = vec![folder.write("sentinel.conf", &config), "--sentinel".into()];
        let child = wait_for("a Sentinel", || up(port, &folder, &args));
        Redis { child, port, folder, args }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut does. What it knew is gone with it.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn start_again(&mut self) {
        self.child = wait_for("redis-server", || up(self.port, &self.folder, &self.args));
    }

    pub fn signal(&self, name: &str) {
        super::signal(&self.child, name);
    }

    /// One command by redis-cli; what it printed.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port.to_string()]).args(args).output();
        let output = output.unwrap_or_else(|error| panic!("redis-cli: {error}; apt-get install redis-tools"));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Starts it and waits until it answers; none where it ended before.
fn up(port: u16, folder: &Folder, args: &[String]) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.current_dir(folder.path()).args(args).args(["--bind", "127.0.0.1"]);
    if !args.iter().any(|arg| arg == "--sentinel") {
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]).arg("--dir").arg(folder.path());
    }
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child =
        command.spawn().unwrap_or_else(|error| panic!("redis-server: {error}; apt-get install redis-server redis-tools"));
    wait_for("redis-server to answer or to end", || {
        if child.try_wait().unwrap().is_some() {
            return Some(false);
        }
        TcpStream::connect(("127.0.0.1", port)).ok().map(|_| true)
    })
    .then_some(child)
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
