//! Plain HTTP requests on a connection: one after the other, each answered before the next is read.
//!
//! A part of the loop. Between two requests the connection is where it was at its beginning, in
//! `Stage::Head`, so an upgrade may follow; while a request is under way it is in `Stage::Http`. What
//! became of a message is known when the loop has written, so receipts are settled in `before_sleep`.
//! The PHP original has no counterpart.

use std::time::Duration;

use crate::client::{Client, State};
use crate::deadlines::after;
use crate::extras::http::body::{Body, BodyError, Framing};
use crate::extras::http::endpoints::{self as publish, Endpoint};
use crate::extras::http::health;
use crate::extras::http::{self, Answer, Exchange, KEEP_ALIVE, Persistence, Phase, Route};
use crate::extras::publishing::{Asker, Fate, Receipt, Report, Sent};
use crate::forwarded::Forwarded;
use crate::ids::SocketId;
use crate::rfc6455::{Refusal, Request, Status};
use crate::socket::{Peer, Stage};
use crate::web_socket_server::WebSocketServer;

impl WebSocketServer {
    /// Answers a request that asks for no upgrade, or begins to read its body; the head ends at `end`. A
    /// request that could be read in two ways ends the connection.
    pub(crate) fn exchange(&mut self, id: SocketId, request: &Request, end: usize) -> Result<(), Refusal> {
        let (peer, own) = (self.server.clients[id].ip, self.sockets[id].own_ip());
        let is_resource = self.all_apps.find(request.path()).is_some();
        let route = match health::answer(request, &self.server, peer, own) {
            Some(answer) => Route::Ready(answer?),
            None => http::route(request, is_resource, self.server.limits())?,
        };
        let framing = Framing::of(request)?;
        let Stage::Head(head) = &mut self.sockets[id].stage else { return Ok(()) };
        let rest = head.split_off(end);
        let persistence = Persistence::of(request);
        let mut exchange =
            Exchange { persistence, with_body: !http::is_head(request), phase: Phase::Asking { rest: Vec::new() } };
        self.limit_exchange(id);
        let begun = match route {
            Route::Ready(answer) => Err(answer),
            Route::Publish(endpoint) => self.begin(id, request, framing, endpoint),
        };
        match begun {
            Ok((endpoint, body)) => {
                exchange.phase = Phase::Body(endpoint, body);
                self.sockets[id].stage = Stage::Http(Box::new(exchange));
                self.await_body(id, request, &rest);
            }
            Err(answer) => {
                // A body that nobody reads would be taken for the next request.
                if !matches!(framing, Framing::None | Framing::Length(0)) {
                    exchange.persistence = Persistence::Close;
                }
                self.answer(id, exchange, &answer, rest);
            }
        }
        Ok(())
    }

    /// All checks that need no body.
    fn begin(
        &mut self,
        id: SocketId,
        request: &Request,
        framing: Framing,
        mut endpoint: Endpoint,
    ) -> Result<(Endpoint, Body), Answer> {
        self.admit_publisher(id, request)?;
        endpoint.accept(request)?;
        if endpoint.has_body() && framing == Framing::None {
            return Err(Answer::error(Status::LengthRequired, "Content-Length or Transfer-Encoding: chunked is missing"));
        }
        if !endpoint.has_body() && !matches!(framing, Framing::None | Framing::Length(0)) {
            return Err(Answer::error(Status::BadRequest, "This request has no body"));
        }
        let expected = request.header("expect").filter(|expected| !expected.eq_ignore_ascii_case("100-continue"));
        if expected.is_some() {
            return Err(Answer::error(Status::ExpectationFailed, "Expect must be 100-continue"));
        }
        let body = Body::new(framing, self.server.limits().max_message).map_err(|error| self.bad_body(error))?;
        Ok((endpoint, body))
    }

    pub(crate) fn admit_publisher(&mut self, id: SocketId, request: &Request) -> Result<(), Answer> {
        let peer = self.server.clients[id].ip;
        let limits = self.server.limits();
        let from = Forwarded::of(request).client(peer, limits);
        let checked = self.admission.check(request, from, self.sockets[id].own_ip(), limits, self.server.now);
        if let Err(answer) = &checked {
            log::info!("{id}, No publishing for {}: {}", from.ip, answer.status);
        }
        checked
    }

    pub(crate) fn bad_body(&self, error: BodyError) -> Answer {
        let max = self.server.limits().max_message;
        match error {
            BodyError::TooLarge => Answer::error(Status::ContentTooLarge, &format!("The body is over {max} bytes")),
            BodyError::BadChunk => Answer::error(Status::BadRequest, "The body is no sequence of chunks"),
            BodyError::TooLong => Answer::error(Status::BadRequest, "The lines between the chunks are too long"),
        }
    }

    /// Asks for the body, if the client waits to be asked, and takes what is there of it.
    pub(crate) fn await_body(&mut self, id: SocketId, request: &Request, rest: &[u8]) {
        if rest.is_empty() && request.header("expect").is_some() && !request.is_http_1_0() {
            self.server.push_bytes(id, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.buffer[..rest.len()].copy_from_slice(rest);
        self.body(id, rest.len());
    }

    /// Takes the first `count` bytes of the buffer as more of a body; acts once it is whole.
    pub(crate) fn body(&mut self, id: SocketId, count: usize) {
        let Stage::Http(exchange) = &mut self.sockets[id].stage else { return };
        let Phase::Body(_, body) = &mut exchange.phase else { return };
        let fed = body.feed(&self.buffer[..count]);
        let used = match fed {
            Ok(_) if !body.is_done() => return,
            Ok(used) => used,
            Err(error) => {
                let answer = self.bad_body(error);
                return self.end_exchange(id, &answer);
            }
        };
        let rest = self.buffer[used..count].to_vec();
        let Phase::Body(endpoint, body) = std::mem::replace(&mut exchange.phase, Phase::Asking { rest }) else { return };
        let answer = endpoint.act(&mut self.server, &self.all_apps, id, &body.into_bytes());
        if let Some(answer) = answer {
            self.answer_asked(id, &answer);
        }
    }

    /// Gives the answer that was waited for.
    pub(crate) fn answer_asked(&mut self, id: SocketId, answer: &Answer) {
        let Some(socket) = self.sockets.get_mut(id).filter(|socket| matches!(socket.stage, Stage::Http(_))) else { return };
        let Stage::Http(exchange) = std::mem::replace(&mut socket.stage, Stage::Ignored) else { return };
        let mut exchange = *exchange;
        let rest = match &mut exchange.phase {
            Phase::Asking { rest } => std::mem::take(rest),
            _ => Vec::new(),
        };
        self.answer(id, exchange, answer, rest);
    }

    /// Gives an answer in the middle of a request, after which no next one can be told apart.
    pub(crate) fn end_exchange(&mut self, id: SocketId, answer: &Answer) {
        let exchange = Exchange { persistence: Persistence::Close, with_body: true, phase: Phase::Answered { rest: Vec::new() } };
        self.answer(id, exchange, answer, Vec::new());
    }

    pub(crate) fn answer(&mut self, id: SocketId, mut exchange: Exchange, answer: &Answer, rest: Vec<u8>) {
        log::debug!("Socket {id} - HTTP {}", answer.status);
        self.server.push_bytes(id, &answer.bytes(exchange.persistence, exchange.with_body));
        match exchange.persistence {
            Persistence::Close => self.end_quietly(id),
            Persistence::KeepAlive => {
                exchange.phase = Phase::Answered { rest };
                self.sockets[id].stage = Stage::Http(Box::new(exchange));
                self.answered.push(id);
            }
        }
    }

    /// Ends a connection after what is queued; what still comes is thrown away.
    pub(crate) fn end_quietly(&mut self, id: SocketId) {
        self.sockets[id].stage = Stage::Ignored;
        self.server.end(id);
    }

    /// Answers those who asked what became of their messages, now that the loop has written; says
    /// whether there was anything to do.
    pub(crate) fn settle(&mut self) -> bool {
        let receipts = std::mem::take(&mut self.server.receipts);
        let server = &self.server;
        let is_due = |receipt: &Receipt| receipt.sent.iter().filter_map(|sent| sent.ask).all(|ask| server.is_answered(ask));
        // Those that other processes have to say about wait for them.
        let (due, waiting): (Vec<Receipt>, _) = receipts.into_iter().partition(is_due);
        self.server.receipts = waiting;
        if due.is_empty() && self.answered.is_empty() {
            return false;
        }
        for id in std::mem::take(&mut self.answered) {
            self.wake(id);
        }
        self.server.remembered = 0;
        for Receipt { asker, sent } in due {
            let reports: Vec<Report> = sent.into_iter().map(|sent| self.report(sent)).collect();
            match asker {
                Asker::Http { id, list } => self.answer_asked(id, &publish::answer(&reports, list)),
                Asker::Description(id) => self.answer_asked(id, &publish::description(&reports)),
                Asker::Node { node, ask } => reports.iter().for_each(|report| self.server.answer_node(&node, ask, report)),
                Asker::Client(id, receipt) => {
                    let members = |report: &Report| format!(r#""status":{},{}"#, report.status, report.members());
                    let members: String = reports.iter().map(members).collect();
                    self.server.write(id, &format!(r#"{{"opcode":"receipt","receipt":{receipt},{members}}}"#));
                }
            }
        }
        true
    }

    pub(crate) fn report(&mut self, sent: Sent) -> Report {
        match sent.ask {
            Some(ask) => self.server.take_answer(ask),
            None => sent.report(|id| self.fate(id)),
        }
    }

    /// What became of all that was queued for a client before the loop wrote.
    pub(crate) fn fate(&mut self, id: SocketId) -> Fate {
        let (Some(socket), Some(client)) = (self.sockets.get_mut(id), self.server.clients.get(id)) else {
            return if self.server.client(id).is_some_and(Client::is_away) { Fate::Queued } else { Fate::Failed };
        };
        match client.state {
            _ if socket.peer == Peer::Gone => Fate::Failed,
            _ if client.queued_bytes() == 0 && matches!(socket.stream.flush(), Ok(true)) => Fate::Delivered,
            State::Open => Fate::Queued,
            _ => Fate::Failed,
        }
    }

    /// Has the next turn look for the connection's next request.
    pub(crate) fn wake(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id)
            && !std::mem::replace(&mut socket.unread, true)
        {
            self.again.push(id);
        }
    }

    /// Goes on to the next request once the answer is written; until then nothing more is read. Says
    /// whether a request is under way that no bytes are read for.
    pub(crate) fn next_request(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(id) else { return false };
        let Stage::Http(exchange) = &mut socket.stage else { return false };
        if self.server.clients[id].state != State::Handshake {
            return false;
        }
        let mut rest = match &mut exchange.phase {
            Phase::Body(..) => return false,
            Phase::Asking { .. } => return true,
            Phase::Answered { .. } if !self.server.clients[id].outbox.is_empty() => return true,
            Phase::Answered { rest } => std::mem::take(rest),
        };
        // RFC 9112, section 2.2: old clients end a body with a line that is not part of it.
        if rest.starts_with(b"\r\n") {
            rest.drain(..2);
        }
        socket.kept_alive = true;
        let idle = rest.is_empty();
        socket.stage = Stage::Head(rest);
        self.limit_head(id, idle);
        if !idle {
            self.head(id);
        }
        self.wake(id);
        true
    }

    /// The time for the next request, or for its head once that has begun.
    pub(crate) fn limit_head(&mut self, id: SocketId, idle: bool) {
        let timeout = if idle { Duration::from_secs(KEEP_ALIVE) } else { self.server.limits().handshake_timeout };
        self.sockets[id].deadline = Some(after(self.server.now, timeout));
        self.remind(id);
    }

    /// The time for one request, from the end of its head to the last byte of its answer.
    pub(crate) fn limit_exchange(&mut self, id: SocketId) {
        let timeout = self.server.limits().message_timeout;
        self.sockets[id].deadline = (!timeout.is_zero()).then(|| after(self.server.now, timeout));
        self.remind(id);
    }

    /// What it means that the time of an HTTP connection is over; `false` where it is none.
    pub(crate) fn http_timed_out(&mut self, id: SocketId) -> bool {
        let socket = &self.sockets[id];
        match &socket.stage {
            Stage::Head(head) if socket.kept_alive && head.is_empty() => self.end_quietly(id),
            Stage::Http(exchange) if matches!(exchange.phase, Phase::Body(..)) => {
                self.end_exchange(id, &Answer::error(Status::RequestTimeout, "The body took too long"));
            }
            Stage::Http(_) => self.hang_up(id, Peer::Gone),
            _ => return false,
        }
        true
    }
}
