//! Requests that may come again, each of them with an `Idempotency-Key`: the first one is carried out.
//!
//! A part of the exchange. A request whose body is whole claims its key, and so does each message of a list. Where other
//! processes are reached they are asked too, and the request waits for that as it waits for its answer: its
//! connection is paused. The answer settles the claim, whether or not somebody still reads it. What is known of a key
//! is `idempotency`.

use super::exchange::Begun;
use super::{Answer, Phase};
use crate::elsewhere::{Envelope, Others};
use crate::extras::idempotency::{Claim, Claims, Digest, Found, KEPT_FOR, Kept, TAKEN_OVER_AFTER, Verdict, check_key};
use crate::extras::publishing::{Report, Sent};
use crate::ids::SocketId;
use crate::rfc6455::handshake::trim;
use crate::rfc6455::{Request, Status};
use crate::web_socket_server::WebSocketServer;

const UNDER_WAY: &str = "A request with this Idempotency-Key is under way";
const OTHER: &str = "This Idempotency-Key was used for another request";

/// Whose keys a request has, and the one of the whole request.
pub(crate) struct Sender {
    owner: Digest,
    /// Path and query: the same body for others is another request.
    target: String,
    key: Option<String>,
}

/// A claim that others were asked about: of a whole request, or of one message of its list.
pub(super) struct Asked {
    id: SocketId,
    item: Option<usize>,
    claim: Claim,
}

/// The key in the head of a request.
pub(super) fn key_of(request: &Request) -> Result<Option<String>, Answer> {
    let bad = |why| Answer::error(Status::BadRequest, why);
    let mut values = request.values("idempotency-key");
    let Some(value) = values.next() else { return Ok(None) };
    match values.next() {
        Some(_) => Err(bad("Idempotency-Key stands there twice")),
        None => check_key(trim(value)).map(|key| Some(key.to_owned())).map_err(bad),
    }
}

impl Sender {
    pub(super) fn new(request: &Request, key: Option<String>, owner: Digest) -> Sender {
        Sender { owner, target: format!("{}?{}", request.path(), request.query()), key }
    }

    /// The name of a key, under which no other sender has one.
    fn name(&self, key: &str) -> Digest {
        Digest::of(&[self.owner.bytes(), key.as_bytes()])
    }

    /// Name and digest of a whole request with a key.
    pub(super) fn whole(&self, body: &[u8]) -> Option<(Digest, Digest)> {
        let key = self.key.as_ref()?;
        Some((self.name(key), Digest::of(&[b"request", self.target.as_bytes(), body])))
    }

    /// The same of a message in a list.
    pub(super) fn item(&self, key: &str, item: &str) -> (Digest, Digest) {
        (self.name(key), Digest::of(&[b"message", item.as_bytes()]))
    }
}

/// The answer to a request that is not carried out.
fn refusal(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Again(kept) => again(&kept),
        Verdict::Other => Answer::error(Status::UnprocessableContent, OTHER),
        _ => Answer::error(Status::Conflict, UNDER_WAY).with("Retry-After", 1),
    }
}

/// An answer that was given before; Redis may say anything.
fn again(kept: &Kept) -> Answer {
    let known = [Status::Accepted, Status::MultiStatus, Status::ServiceUnavailable];
    let status = known.into_iter().find(|status| status.code() == kept.status).unwrap_or(Status::Ok);
    Answer::json(status, kept.body.trim_end().to_owned()).with("Idempotency-Replayed", "true")
}

/// What became of a message of a list that is not sent.
pub(super) fn not_sent(verdict: Verdict) -> Sent {
    match verdict {
        Verdict::Again(kept) => Sent::said(kept.status, format!(r#"{},"replayed":true"#, kept.body)),
        Verdict::Other => Sent::nowhere(422, OTHER),
        _ => Sent::nowhere(409, UNDER_WAY),
    }
}

impl WebSocketServer {
    /// Carries a request out, if its key is free or it has none.
    pub(super) fn begin_request(&mut self, id: SocketId, begun: Box<Begun>) {
        let Some((name, request)) = begun.whole() else { return self.carry_out(id, *begun, None) };
        if let Some(exchange) = self.parts.http.exchanges.get_mut(id) {
            exchange.phase = Phase::Claiming(begun);
        }
        if let Some(verdict) = self.claim_key(id, None, name, request) {
            self.decided(id, verdict);
        }
    }

    /// Claims a key. `None` where others are asked, and [`go_on_claimed`](Self::go_on_claimed) has the verdict.
    pub(super) fn claim_key(&mut self, id: SocketId, item: Option<usize>, name: Digest, request: Digest) -> Option<Verdict> {
        let (max_memory, now) = (self.server.limits().max_memory, self.server.now);
        let verdict = self.server.extras.idempotency.claim(name, request, max_memory, now);
        let Verdict::First(claim) = verdict else { return Some(verdict) };
        // Without them this process's own table still holds.
        if self.server.elsewhere.others != Others::Joined {
            return Some(verdict);
        }
        let (name, request, number) = (name.to_string().into(), request.to_string().into(), claim.number);
        let seconds = TAKEN_OVER_AFTER.as_secs();
        self.server.elsewhere.post(Envelope::ClaimKey { name, request, number, seconds });
        self.parts.http.asked.insert(claim.number, Asked { id, item, claim });
        None
    }

    /// Goes on with requests of whose keys others have said what they know. Says whether there was one.
    pub(crate) fn go_on_claimed(&mut self) -> bool {
        let heard = std::mem::take(&mut self.server.extras.idempotency.heard);
        let any = !heard.is_empty();
        for (number, found) in heard {
            let Some(Asked { id, item, claim }) = self.parts.http.asked.remove(&number) else { continue };
            let verdict = self.server.extras.idempotency.decide(claim, found);
            match (self.parts.http.exchanges.get_mut(id).map(|exchange| &mut exchange.phase), item) {
                (Some(Phase::Claiming(_)), None) => self.decided(id, verdict),
                (Some(Phase::Sending(list)), Some(item)) => {
                    list.has_answer(item, verdict);
                    self.go_on_sending(id);
                }
                // The connection is gone, and nothing was sent.
                _ if matches!(verdict, Verdict::First(_)) => self.settle(&claim, None),
                _ => {}
            }
        }
        any
    }

    /// The request is carried out, or not.
    fn decided(&mut self, id: SocketId, verdict: Verdict) {
        let Some(exchange) = self.parts.http.exchanges.get_mut(id) else { return };
        let Phase::Claiming(begun) = std::mem::replace(&mut exchange.phase, Phase::Asking) else { return };
        match verdict {
            Verdict::First(claim) => self.carry_out(id, *begun, Some(claim)),
            verdict => self.answer_asked(id, &refusal(verdict)),
        }
    }

    /// Remembers the answers to requests with keys. Where nothing can have arrived, the next try is a first one.
    pub(super) fn remember(&mut self, claims: &Claims, reports: &[Report], answer: &Answer) {
        for (claim, report) in claims.items.iter().zip(reports) {
            let kept = if report.may_have_arrived() { Kept::new(report.status, &report.members()) } else { None };
            claim.iter().for_each(|claim| self.settle(claim, kept.clone()));
        }
        if let Some(claim) = &claims.whole {
            let may_have_arrived = reports.iter().any(Report::may_have_arrived);
            let kept = if may_have_arrived { Kept::new(answer.status.code(), &answer.body) } else { None };
            self.settle(claim, kept);
        }
    }

    /// Ends a claim, here and elsewhere. Without an answer the key is free again.
    pub(super) fn settle(&mut self, claim: &Claim, kept: Option<Kept>) {
        let (now, max_memory) = (self.server.now, self.server.limits().max_memory);
        let text = kept.as_ref().map(|kept| Found::answered(claim.request, kept).into());
        let idempotency = &mut self.server.extras.idempotency;
        match kept {
            Some(kept) => idempotency.answered(claim, kept, max_memory, now),
            None => drop(idempotency.forget(claim)),
        }
        let (name, seconds, is_late) = (claim.name.to_string().into(), KEPT_FOR.as_secs(), claim.is_late(now));
        self.server.elsewhere.post(Envelope::SettleKey { name, text, seconds, is_late });
    }
}
