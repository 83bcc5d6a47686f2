//! What the paths of publishing do: read the request, send, and put into words what became of it.
//!
//! It knows the [`Server`] as an application does, and no socket. What was sent is answered later, by the
//! loop; everything else at once.

use std::borrow::Cow;
use std::time::Duration;

use super::members::{self as json, Members};
use super::{Answer, is_get, is_head};
use crate::elsewhere::{Envelope, Others};
use crate::extras::idempotency::{Claim, Claims};
use crate::extras::publishing::{About, Asker, Report, Sent};
use crate::extras::resume;
use crate::ids::SocketId;
use crate::mail::keyed::MAX_KEY;
use crate::printable::{elapsed_since, moment};
use crate::resource::AllApps;
use crate::rfc6455::handshake::trim;
use crate::rfc6455::{Request, Status};
use crate::server::Server;
use crate::server::delivery::{Delivery, To};

/// A path of publishing, and with `query` what the request said behind it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    kind: Kind,
    query: Query,
}

#[derive(Clone, Debug)]
enum Kind {
    /// `POST /feedback/{uuid}`, and `POST /feedback?ident=…` without a uuid.
    Feedback(String),
    /// `POST /broadcast`.
    Broadcast,
    /// `POST /publish`.
    List,
    /// `GET /clients/{uuid}`.
    Client(String),
}

/// What may stand behind the path.
#[derive(Clone, Debug, Default)]
struct Query {
    ident: Option<String>,
    key: Option<String>,
    resource: Option<String>,
    room: Option<String>,
}

impl Endpoint {
    /// The endpoint of a path.
    pub(crate) fn find(path: &str) -> Option<Endpoint> {
        let kind = match path {
            "/feedback" => Kind::Feedback(String::new()),
            "/broadcast" => Kind::Broadcast,
            "/publish" => Kind::List,
            _ => match path
                .strip_prefix("/feedback/")
                .map(|uuid| (true, uuid))
                .or(path.strip_prefix("/clients/").map(|uuid| (false, uuid)))?
            {
                (_, uuid) if uuid.is_empty() || uuid.contains('/') => return None,
                (true, uuid) => Kind::Feedback(uuid.into()),
                (false, uuid) => Kind::Client(uuid.into()),
            },
        };
        Some(Endpoint { kind, query: Query::default() })
    }

    /// Whether the request brings a body.
    pub(crate) fn has_body(&self) -> bool {
        !matches!(self.kind, Kind::Client(_))
    }

    /// Checks what can be checked before the body comes, and keeps the query.
    pub(crate) fn accept(&mut self, request: &Request) -> Result<(), Answer> {
        let (good, allow) = match self.kind {
            Kind::Client(_) => (is_get(request) || is_head(request), "GET, HEAD"),
            _ => (request.method().eq_ignore_ascii_case("POST"), "POST"),
        };
        if !good {
            return Err(Answer::error(Status::MethodNotAllowed, &format!("Method must be {allow}")).with("Allow", allow));
        }
        self.query = Query::parse(request.query(), &self.kind).map_err(|why| Answer::error(Status::BadRequest, &why))?;
        match &self.kind {
            Kind::Feedback(uuid) if uuid.is_empty() == self.query.ident.is_none() => {
                Err(Answer::error(Status::BadRequest, "Name one client: /feedback/<uuid> or /feedback?ident=<name>"))
            }
            Kind::Client(_) => Ok(()),
            _ => accept_content(request),
        }
    }

    /// Whether the request brings a list of messages: they are sent a few at a time, by `list`.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List)
    }

    /// Does what the request asks for: an answer, or `None` where the loop will give one.
    pub(crate) fn act(
        &self,
        server: &mut Server,
        all_apps: &AllApps,
        id: SocketId,
        body: &[u8],
        claim: Option<Claim>,
    ) -> Option<Answer> {
        let sent = match &self.kind {
            Kind::Client(uuid) => return client(server, id, uuid),
            kind => match (json::check(body), kind) {
                (Err(fault), _) => return Some(Answer::error(Status::BadRequest, &format!("Not JSON: {fault}"))),
                (Ok(text), Kind::Broadcast) => self.send(server, all_apps, text, "", true),
                (Ok(text), Kind::Feedback(uuid) | Kind::Client(uuid)) => self.send(server, all_apps, text, uuid, false),
                (Ok(_), Kind::List) => return None,
            },
        };
        match sent {
            Ok(sent) => {
                let claims = Claims { whole: claim, ..Claims::default() }.boxed();
                server.ask(Asker::Http { id, list: false, claims }, sent);
                None
            }
            Err(answer) => Some(answer),
        }
    }

    /// The one message of a request that is not `/publish`.
    fn send(&self, server: &mut Server, all_apps: &AllApps, text: &str, uuid: &str, all: bool) -> Result<Vec<Sent>, Answer> {
        let members = Members::of(text);
        let key = self.query.key.as_deref().map(Cow::Borrowed).or_else(|| members.key?.string());
        let message = Message {
            all,
            uuid,
            ident: self.query.ident.as_deref().unwrap_or_default(),
            resource: self.query.resource.as_deref(),
            room: self.query.room.as_deref(),
            key: key.as_deref(),
            text,
        };
        match message.send(server, all_apps) {
            Sent { error: Some((400, why)), .. } => Err(Answer::error(Status::BadRequest, &why)),
            sent => Ok(vec![sent]),
        }
    }
}

impl Query {
    /// An unknown word is refused: `?rom=x` must not become a broadcast to everybody.
    fn parse(query: &str, kind: &Kind) -> Result<Query, String> {
        let mut parsed = Query::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let slot = match (&*name, kind) {
                ("ident", Kind::Feedback(_)) => &mut parsed.ident,
                ("resource", Kind::Broadcast) => &mut parsed.resource,
                ("room", Kind::Broadcast) => &mut parsed.room,
                ("key", Kind::Feedback(_) | Kind::Broadcast) => &mut parsed.key,
                _ => return Err(format!("Unknown word in the query: {name}")),
            };
            if slot.replace(value.into_owned()).is_some() {
                return Err(format!("Twice in the query: {name}"));
            }
        }
        Ok(parsed)
    }
}

/// One message and whom it is for.
#[derive(Default)]
pub(super) struct Message<'a> {
    pub(super) all: bool,
    pub(super) uuid: &'a str,
    pub(super) ident: &'a str,
    pub(super) resource: Option<&'a str>,
    pub(super) room: Option<&'a str>,
    pub(super) key: Option<&'a str>,
    pub(super) text: &'a str,
}

impl Message<'_> {
    pub(super) fn send(&self, server: &mut Server, all_apps: &AllApps) -> Sent {
        if self.key.is_some_and(|key| key.len() > MAX_KEY) {
            return Sent::nowhere(400, format!("The key is over {MAX_KEY} bytes"));
        }
        let (opcode, receiver) = match (self.all, self.uuid) {
            (true, _) => ("broadcast", self.room.map(|room| ("room", room))),
            (false, "") => ("feedback", Some(("ident", self.ident))),
            (false, uuid) => ("feedback", Some(("uuid", uuid))),
        };
        let to = match (self.resource, self.room) {
            _ if !self.all => To::Name { uuid: self.uuid, ident: self.ident },
            (None, None) => To::All,
            (None, Some(room)) => To::Members(room),
            (Some(_), Some(_)) => return Sent::nowhere(400, "name a resource or a room, not both"),
            (Some(path), None) => match all_apps.find(path).filter(|app| all_apps.options(*app).dialog) {
                Some(app) => To::Resource(app),
                None => return Sent::nowhere(404, "no resource has that path"),
            },
        };
        let packet = json::packet(self.text, opcode, receiver);
        if matches!(packet, Cow::Owned(_)) && json::check(packet.as_bytes()).is_err() {
            return Sent::nowhere(400, "Not JSON: nested deeper than 512 levels as a packet");
        }
        let key = self.key.filter(|key| !key.is_empty());
        server.deliver(Delivery::new(to, &packet).keyed(key).asked(true))
    }
}

/// Bodies are JSON; what `curl -d` and PHP streams say of theirs unless they are told otherwise is
/// believed to be JSON too.
fn accept_content(request: &Request) -> Result<(), Answer> {
    let coded = request.header("content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
    let content_type = request.header("content-type").unwrap_or_default();
    let essence = trim(content_type.split(';').next().unwrap_or_default()).to_ascii_lowercase();
    match essence.as_str() {
        _ if coded => Err(Answer::error(Status::UnsupportedMediaType, "The body must not be compressed")),
        "" | "application/json" | "text/json" | "application/x-www-form-urlencoded" => Ok(()),
        _ => Err(Answer::error(Status::UnsupportedMediaType, "The body must be application/json")),
    }
}

/// What is known of a client; `None` where another process will say.
fn client(server: &mut Server, asker: SocketId, uuid: &str) -> Option<Answer> {
    let known = server.find_uuid(uuid).and_then(|id| describe(server, id));
    if let Some(known) = known {
        return Some(Answer::json(Status::Ok, known));
    }
    match server.elsewhere.others {
        Others::Alone => Some(Answer::error(Status::NotFound, "nobody has that uuid")),
        Others::CutOff => Some(not_said()),
        Others::Joined => {
            let ask = server.extras.receipts.asks.open(About::One, server.now);
            server.elsewhere.post(Envelope::Describe { uuid: uuid.into(), ask });
            server.ask(Asker::Description(asker), vec![Sent::elsewhere(Some(ask))]);
            None
        }
    }
}

fn not_said() -> Answer {
    Answer::error(Status::ServiceUnavailable, "other processes do not answer: nobody knows whether the client is there")
}

/// What another process said of a client.
pub(crate) fn description(reports: &[Report]) -> Answer {
    match reports {
        [Report { text: Some(text), .. }] => Answer::json(Status::Ok, text.clone()),
        [Report { status: 404, error: Some(error), .. }] => Answer::error(Status::NotFound, error),
        _ => not_said(),
    }
}

/// What is known of a client, as a JSON object.
pub(crate) fn describe(server: &mut Server, id: SocketId) -> Option<String> {
    resume::settle(server, id);
    let client = server.client(id)?;
    let elapsed = client.opened.map(|opened| server.now().saturating_duration_since(opened)).unwrap_or_default();
    let path = client.app.and_then(|app| server.counters.path(app)).map_or("", |path| &**path);
    let client_type = client.client_type().to_string();
    Some(as_object(!client.is_away(), elapsed, client.queued_bytes(), &client_type, path))
}

/// The same of a client that no process has now and that may come back, which began at that time in microseconds.
pub(crate) fn describe_between(begun: u64, queued: usize, client_type: &str, path: &str) -> String {
    as_object(false, elapsed_since(begun), queued, client_type, path)
}

fn as_object(connected: bool, elapsed: Duration, queued: usize, client_type: &str, path: &str) -> String {
    let (since, seconds, resource) = (moment(elapsed), elapsed.as_secs(), serde_json::Value::from(path));
    format!(
        r#"{{"connected":{connected},"since":"{since}","seconds":{seconds},"queued":{queued},"client_type":"{client_type}","resource":{resource}}}"#
    )
}

/// The answer of a request whose messages have gone where they could.
pub(crate) fn answer(reports: &[Report], list: bool) -> Answer {
    let failed = |report: &Report| report.status >= 400;
    let status = match reports {
        _ if list && reports.iter().any(failed) => Status::MultiStatus,
        [Report { status: 503, .. }] if !list => Status::ServiceUnavailable,
        [one] if !list && failed(one) => Status::NotFound,
        _ if reports.iter().any(|report| report.status == 202) => Status::Accepted,
        _ => Status::Ok,
    };
    if !list {
        return Answer::json(status, reports.iter().map(|report| format!("{{{}}}", report.members())).collect());
    }
    let results: Vec<String> =
        reports.iter().map(|report| format!(r#"{{"status":{},{}}}"#, report.status, report.members())).collect();
    Answer::json(status, format!(r#"{{"results":[{}]}}"#, results.join(",")))
}
