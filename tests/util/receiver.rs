//! A tiny HTTP server for tests: keeps every request and answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// `POST /path HTTP/1.1`
    pub line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Received {
    /// The value of a header; its name in lower case.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What becomes of a request. Without orders it is answered with 200.
pub enum Answer {
    Status(&'static str, &'static str),
    /// The connection ends without an answer.
    Close,
    /// Nothing comes; whoever waits long enough tries again, so order several.
    Hang,
}

#[derive(Default)]
struct State {
    received: Vec<Received>,
    orders: VecDeque<Answer>,
    hanging: Vec<TcpStream>,
    connections: usize,
}

pub struct Receiver {
    pub addr: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Receiver {
    pub fn start() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver { addr: listener.local_addr().unwrap(), state: Arc::default() };
        let state = receiver.state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                state.lock().unwrap().connections += 1;
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/notices.php?shop=1", self.addr)
    }

    /// Orders for the next requests.
    pub fn order(&self, orders: impl IntoIterator<Item = Answer>) {
        self.lock().orders.extend(orders);
    }

    /// How many requests came so far.
    pub fn count(&self) -> usize {
        self.lock().received.len()
    }

    /// Everything that came so far.
    pub fn received(&self) -> Vec<Received> {
        self.lock().received.clone()
    }

    /// Ends the connections that hang, and forgets all orders.
    pub fn let_go(&self) {
        let mut state = self.lock();
        state.orders.clear();
        state.hanging.clear();
    }

    pub fn connections(&self) -> usize {
        self.lock().connections
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// One connection, with as many requests as come.
fn serve(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read_request(&mut reader) {
        let mut state = state.lock().unwrap();
        state.received.push(request);
        match state.orders.pop_front() {
            None => answer(&stream, "200 OK", "taken"),
            Some(Answer::Status(status, body)) => answer(&stream, status, body),
            Some(Answer::Close) => return,
            Some(Answer::Hang) => return state.hanging.push(stream),
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) {
    let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let line = lines.remove(0);
    let split = |line: &String| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let mut request = Received { line, headers: lines.iter().filter_map(split).collect(), body: String::new() };
    let mut body = vec![0; request.header("content-length").parse().unwrap_or_default()];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).unwrap();
    Some(request)
}
