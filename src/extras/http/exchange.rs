//! Plain HTTP requests on a connection: one after the other, each answered before the next is read.
//!
//! Between two requests the connection is where it was at its beginning, in `Stage::Head`, so an upgrade may
//! follow; while a request is under way it is in `Stage::Plain`. Once the request is whole the connection is
//! paused: it is woken when the answer has left. What became of a message is known when the loop has written,
//! so receipts are answered in `before_sleep`. The PHP original has no counterpart.

use std::time::Duration;

use super::retries::{self, Sender};
use super::{self as http, Answer, Exchange, KEEP_ALIVE, Persistence, Phase, Route};
use crate::bounds::Bound;
use crate::client::{Client, State};
use crate::deadlines::Deadline;
use crate::extras::http::body::{Body, BodyError, Framing};
use crate::extras::http::endpoints::{self as publish, Endpoint};
use crate::extras::http::health;
use crate::extras::http::list::SendList;
use crate::extras::idempotency::{Claim, Digest};
use crate::extras::publishing::{Asker, Fate, Receipt, Report, Sent, answer_ask};
use crate::extras::resume::shared;
use crate::ids::SocketId;
use crate::own_host::Warning;
use crate::rfc6455::handshake::head_begin;
use crate::rfc6455::{Refusal, Request, Status};
use crate::socket::{Peer, Stage};
use crate::web_socket_server::WebSocketServer;

/// A request whose body comes in.
pub(super) struct Begun {
    endpoint: Endpoint,
    body: Body,
    /// Who sends it, where it has a key or may have several.
    sender: Option<Sender>,
}

impl Begun {
    /// Name and digest of the request, if it has a key.
    pub(super) fn whole(&self) -> Option<(Digest, Digest)> {
        self.sender.as_ref()?.whole(self.body.bytes())
    }
}

impl WebSocketServer {
    /// Answers a request that asks for no upgrade, or begins to read its body; the head ends at `end`. A
    /// request that could be read in two ways ends the connection.
    pub(crate) fn exchange(&mut self, id: SocketId, request: &Request, end: usize) -> Result<(), Refusal> {
        let is_resource = self.all_apps.find(request.path()).is_some();
        let route = match health::find(request.path()) {
            Some(page) => Route::Ready(self.look(id, request, page)?),
            None => http::route(request, is_resource, self.server.limits())?,
        };
        let framing = Framing::of(request)?;
        let Stage::Head(head) = std::mem::replace(&mut self.sockets[id].stage, Stage::Plain) else { return Ok(()) };
        let rest = &head[end..];
        self.asked(id, request);
        let persistence = Persistence::of(request);
        let from = self.came_from(id, request).ip;
        let mut exchange = Exchange { from, persistence, with_body: !http::is_head(request), phase: Phase::Asking };
        self.set_deadline(id, self.server.limits().message_timeout);
        let begun = match route {
            Route::Ready(answer) => Err(answer),
            Route::Publish(endpoint) => self.check_exchange(id, request, framing, endpoint),
        };
        match begun {
            Ok(begun) => {
                exchange.phase = Phase::Body(Box::new(begun));
                self.parts.http.exchanges.insert(id, exchange);
                self.await_body(id, request, rest);
            }
            Err(answer) => {
                // A body that nobody reads would be taken for the next request.
                if !matches!(framing, Framing::None | Framing::Length(0)) {
                    exchange.persistence = Persistence::Close;
                }
                self.pause(id, rest.to_vec());
                self.answer(id, exchange, &answer);
            }
        }
        Ok(())
    }

    /// All checks that need no body.
    fn check_exchange(
        &mut self,
        id: SocketId,
        request: &Request,
        framing: Framing,
        mut endpoint: Endpoint,
    ) -> Result<Begun, Answer> {
        self.admit_publisher(id, request)?;
        endpoint.accept(request)?;
        let sender = self.sender(id, request, &endpoint)?;
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
        Ok(Begun { endpoint, body, sender })
    }

    /// Who publishes, if it matters.
    fn sender(&self, id: SocketId, request: &Request, endpoint: &Endpoint) -> Result<Option<Sender>, Answer> {
        let key = if endpoint.has_body() { retries::key_of(request)? } else { None };
        if key.is_none() && !endpoint.is_list() {
            return Ok(None);
        }
        let owner = self.parts.http.admission.owner(request, self.came_from(id, request).ip);
        Ok(Some(Sender::new(request, key, owner)))
    }

    pub(crate) fn admit_publisher(&mut self, id: SocketId, request: &Request) -> Result<(), Answer> {
        let from = self.came_from(id, request);
        let ours = self.own_host(id).admits_request(from, request);
        let checked = self.parts.http.admission.check(request, from.ip, ours, self.server.limits(), self.server.now);
        if let Err(answer) = &checked {
            log::info!("{id}, No publishing for {}: {}", from.ip, answer.status);
            self.server.acted(Bound::Requests, u64::from(answer.status == Status::TooManyRequests));
            if let Err(why) = ours {
                self.warn(id, Warning::NotOurs(why), from.ip, request);
            }
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
        self.buffer.bytes[..rest.len()].copy_from_slice(rest);
        self.exchange_body(id, rest.len());
    }

    /// Takes the first `count` bytes of the buffer as more of a body; acts once it is whole.
    pub(crate) fn exchange_body(&mut self, id: SocketId, count: usize) {
        let Some(exchange) = self.parts.http.exchanges.get_mut(id) else { return };
        let Phase::Body(begun) = &mut exchange.phase else { return };
        let used = match begun.body.feed(&self.buffer.bytes[..count]) {
            Ok(_) if !begun.body.is_done() => return,
            Ok(used) => used,
            Err(error) => {
                let answer = self.bad_body(error);
                return self.end_exchange(id, &answer);
            }
        };
        let Phase::Body(begun) = std::mem::replace(&mut exchange.phase, Phase::Asking) else { return };
        let rest = self.buffer.bytes[used..count].to_vec();
        self.pause(id, rest);
        self.begin_request(id, begun);
    }

    /// Does what a request asks for. One that is refused as a whole may come again with its key.
    pub(super) fn carry_out(&mut self, id: SocketId, begun: Begun, claim: Option<Claim>) {
        let Begun { endpoint, body, sender } = begun;
        let body = body.into_bytes();
        let answer = match sender.filter(|_| endpoint.is_list()) {
            Some(sender) => self.begin_list(id, body, &sender, claim).err(),
            None => endpoint.act(&mut self.server, &self.all_apps, id, &body, claim),
        };
        if let Some(answer) = answer {
            claim.iter().for_each(|claim| self.settle(claim, None));
            self.answer_asked(id, &answer);
        }
    }

    fn begin_list(&mut self, id: SocketId, body: Vec<u8>, sender: &Sender, claim: Option<Claim>) -> Result<(), Answer> {
        let mut list = SendList::new(body, claim)?;
        let (http, limits, now) = (&mut self.parts.http, self.server.limits(), self.server.now);
        if let Some(exchange) = http.exchanges.get(id) {
            let refused = |answer: &Answer| log::info!("{id}, No publishing for {}: {}", exchange.from, answer.status);
            http.admission.check_list(list.len(), exchange.from, limits, now).inspect_err(refused)?;
        }
        for (place, name, request) in list.keys(sender) {
            match self.claim_key(id, Some(place), name, request) {
                Some(verdict) => list.decided(place, verdict),
                None => list.wait(),
            }
        }
        if let Some(exchange) = self.parts.http.exchanges.get_mut(id) {
            exchange.phase = Phase::Sending(Box::new(list));
            self.go_on_sending(id);
        }
        Ok(())
    }

    /// Sends more of a list, in this turn as much as others can spare the time for.
    pub(crate) fn go_on_sending(&mut self, id: SocketId) {
        let Some(exchange) = self.parts.http.exchanges.get_mut(id) else { return };
        let Phase::Sending(list) = &mut exchange.phase else { return };
        if list.is_waiting() {
            return;
        }
        match list.go_on(&mut self.server, &self.all_apps) {
            None => self.server.deadlines.set(self.server.now, Deadline::Sending(id)),
            Some((sent, claims)) => {
                exchange.phase = Phase::Asking;
                self.server.ask(Asker::Http { id, list: true, claims: claims.boxed() }, sent);
            }
        }
    }

    /// Gives the answer that was waited for.
    pub(super) fn answer_asked(&mut self, id: SocketId, answer: &Answer) {
        if let Some(exchange) = self.parts.http.exchanges.remove(id) {
            self.answer(id, exchange, answer);
        }
    }

    /// Gives an answer in the middle of a request, after which no next one can be told apart.
    fn end_exchange(&mut self, id: SocketId, answer: &Answer) {
        let from = self.server.clients[id].ip;
        self.answer(id, Exchange { from, persistence: Persistence::Close, with_body: true, phase: Phase::Answered }, answer);
    }

    /// Queues an answer. If the connection goes on, it is woken once the answer has left.
    fn answer(&mut self, id: SocketId, exchange: Exchange, answer: &Answer) {
        log::debug!("Socket {id} - HTTP {}", answer.status);
        self.server.push_bytes(id, &answer.bytes(exchange.persistence, exchange.with_body));
        match exchange.persistence {
            Persistence::Close => self.end_quietly(id),
            Persistence::KeepAlive => {
                self.parts.http.exchanges.insert(id, Exchange { phase: Phase::Answered, ..exchange });
            }
        }
    }

    /// Ends a connection after what is queued; what still comes is thrown away.
    fn end_quietly(&mut self, id: SocketId) {
        self.sockets[id].stage = Stage::Ignored;
        self.server.begin_close(id);
    }

    /// Answers those who asked what became of their messages, now that the loop has written; says
    /// whether there was anything to do.
    pub(crate) fn answer_receipts(&mut self) -> bool {
        let receipts = std::mem::take(&mut self.server.extras.receipts.open);
        let (asks, writes) = (&self.server.extras.receipts.asks, &self.server.writes);
        let is_due = |receipt: &Receipt| {
            writes.have_passed(receipt.after) && receipt.sent.iter().filter_map(|sent| sent.ask).all(|ask| asks.is_done(ask))
        };
        // Those that other processes have to say about wait for them.
        let (due, waiting): (Vec<Receipt>, _) = receipts.into_iter().partition(is_due);
        self.server.extras.receipts.open = waiting;
        if due.is_empty() {
            return false;
        }
        self.server.extras.receipts.remembered = 0;
        for Receipt { asker, sent, .. } in due {
            let reports: Vec<Report> = sent.into_iter().map(|sent| self.report(sent)).collect();
            match asker {
                Asker::Http { id, list, claims } => {
                    let answer = publish::answer(&reports, list);
                    claims.iter().for_each(|claims| self.remember(claims, &reports, &answer));
                    self.answer_asked(id, &answer);
                }
                Asker::Description(id) => self.answer_asked(id, &publish::description(&reports)),
                Asker::Process { node, ask } => {
                    reports.iter().for_each(|report| answer_ask(&mut self.server, node.clone(), ask, report))
                }
                Asker::App(app, number) => {
                    let outcome = reports.first().map(Report::outcome).unwrap_or_default();
                    self.all_apps.call(app, &mut self.server, None, |app, server| app.on_sent(server, number, &outcome));
                }
                Asker::Client { id, receipt, uuid } => {
                    let texts = reports.iter().map(|report| report.receipt(&receipt));
                    texts.for_each(|text| shared::write_receipt(&mut self.server, id, uuid, &receipt, &text));
                }
            }
        }
        true
    }

    pub(crate) fn report(&mut self, sent: Sent) -> Report {
        match sent.ask {
            Some(ask) => self.server.extras.receipts.asks.take(ask),
            None => sent.report(|id| self.fate(id)),
        }
    }

    /// What became of all that was queued for a client before the loop wrote.
    pub(crate) fn fate(&mut self, id: SocketId) -> Fate {
        let (Some(socket), Some(client)) = (self.sockets.get_mut(id), self.server.clients.get(id)) else {
            return if self.server.client(id).is_some_and(Client::is_away) { Fate::Queued } else { Fate::Failed };
        };
        match client.state {
            // It may come back for it.
            State::Away => Fate::Queued,
            _ if socket.peer == Peer::Gone => Fate::Failed,
            _ if client.queued_bytes() == 0 && matches!(socket.stream.flush(), Ok(true)) => Fate::Delivered,
            State::Waiting | State::Open => Fate::Queued,
            _ => Fate::Failed,
        }
    }

    /// Goes on to the next request, now that the answer has left; until then nothing more was read.
    pub(crate) fn next_request(&mut self, id: SocketId) {
        if !self.parts.http.exchanges.get(id).is_some_and(|exchange| matches!(exchange.phase, Phase::Answered)) {
            return;
        }
        self.parts.http.exchanges.remove(id);
        let socket = &mut self.sockets[id];
        // RFC 9112, section 2.2: old clients end a body with a line that is not part of it.
        if socket.held.starts_with(b"\r\n") {
            socket.held.skip(2);
        }
        socket.reused = true;
        socket.stage = Stage::Head(Vec::new());
        self.answered(id);
        let socket = &self.sockets[id];
        let keep_alive = Duration::from_secs(KEEP_ALIVE);
        let timeout = if socket.held.is_empty() { keep_alive } else { self.server.limits().handshake_timeout };
        self.set_deadline(id, timeout);
        self.wake(id);
    }

    /// What it means that the time of an HTTP connection is over; `false` where it is none.
    pub(crate) fn exchange_timed_out(&mut self, id: SocketId) -> bool {
        let socket = &self.sockets[id];
        match (&socket.stage, self.parts.http.exchanges.get(id).map(|exchange| &exchange.phase)) {
            (Stage::Head(head), _) if socket.reused && head_begin(head) == head.len() => self.end_quietly(id),
            (Stage::Plain, Some(Phase::Body(_))) => {
                self.end_exchange(id, &Answer::error(Status::RequestTimeout, "The body took too long"));
            }
            (Stage::Plain, _) => self.peer_gone(id, Peer::Gone),
            _ => return false,
        }
        true
    }
}
