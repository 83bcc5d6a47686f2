//! Who may publish: an allowed host, or whoever has a token.
//!
//! A host alone is not enough where the request may be somebody else's: a page in a browser on that host,
//! or a stranger behind a proxy on it. It knows no socket; time is an argument. The PHP original has no
//! counterpart, its backends are admitted by host alone.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::Answer;
use super::tokens::Tokens;
use crate::extras::idempotency::Digest;
use crate::limits::{Limits, Publish};
use crate::own_host::NotOurs;
use crate::rate::Rates;
use crate::rfc6455::handshake::trim;
use crate::rfc6455::{Request, Status};

/// Wrong tokens that one address may present in a second; twice as many in a burst. Beyond: 429 for further wrong ones.
const MAX_WRONG_TOKENS: u32 = 5;

/// Who publishes, and how often.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pub(crate) tokens: Tokens,
    requests: Rates,
    wrong_tokens: Rates,
}

impl Admission {
    /// Whose the keys of a request are: the token's, or without one the address's.
    pub(crate) fn owner(&self, request: &Request, ip: IpAddr) -> Digest {
        match bearer(request).filter(|token| self.tokens.admit(token)) {
            Some(token) => Digest::of(&[b"token", token.as_bytes()]),
            None => Digest::of(&[b"address", ip.to_string().as_bytes()]),
        }
    }

    /// Lets a request pass, or says why not; `ours` says whether it comes from an allowed host.
    pub(crate) fn check(
        &mut self,
        request: &Request,
        ip: IpAddr,
        ours: Result<(), NotOurs>,
        limits: &Limits,
        now: Instant,
    ) -> Result<(), Answer> {
        if let Err(refused) = by_host(request, ours, limits) {
            self.by_token(request, ip, refused, now)?;
        }
        match self.requests.take(ip, limits.max_publish_rate, now) {
            Ok(()) => Ok(()),
            Err(wait) => Err(too_many("Too many requests", wait)),
        }
    }

    /// Counts the messages of a list; the request has counted as the first. A list of more than a bucket holds passes
    /// when the bucket is full, and is made up for: whatever comes next waits for so long.
    pub(crate) fn check_list(&mut self, count: usize, ip: IpAddr, limits: &Limits, now: Instant) -> Result<(), Answer> {
        let wait = self.requests.take_more(ip, count.saturating_sub(1), limits.max_publish_rate, now);
        wait.map_err(|wait| too_many("Too many messages", wait))
    }

    /// A right token passes whatever was guessed before, since others may guess from the same address. It has too many
    /// bits to be found at any rate; wrong ones are only slowed down.
    fn by_token(&mut self, request: &Request, ip: IpAddr, refused: NotByHost, now: Instant) -> Result<(), Answer> {
        let Some(token) = bearer(request).filter(|_| !self.tokens.is_empty()) else {
            return Err(match refused {
                NotByHost::Foreign if !self.tokens.is_empty() => unauthorized("A token is needed: Authorization: Bearer <token>"),
                NotByHost::Foreign => Answer::error(Status::Forbidden, "No publishing from this address"),
                NotByHost::Doubtful(why) => Answer::error(Status::Forbidden, why),
            });
        };
        if self.tokens.admit(token) {
            return Ok(());
        }
        match self.wrong_tokens.take(ip, MAX_WRONG_TOKENS, now) {
            Ok(()) => Err(unauthorized("The token is wrong")),
            Err(wait) => Err(too_many("Too many wrong tokens", wait)),
        }
    }
}

/// Why a host is not enough.
enum NotByHost {
    /// It is none of the allowed ones.
    Foreign,
    /// It is, but the request may be somebody else's.
    Doubtful(&'static str),
}

fn by_host(request: &Request, ours: Result<(), NotOurs>, limits: &Limits) -> Result<(), NotByHost> {
    let has = |name: &str| request.header(name).is_some();
    match ours {
        Err(NotOurs::Foreign) => Err(NotByHost::Foreign),
        _ if limits.publish == Publish::Token => Err(NotByHost::Doubtful("This server wants a token from every host")),
        _ if has("origin") || has("sec-fetch-site") => {
            Err(NotByHost::Doubtful("A page in a browser needs a token: this request has Origin or Sec-Fetch-Site"))
        }
        Err(NotOurs::Forwarded) => Err(NotByHost::Doubtful(
            "A proxy that is no --trusted-proxy needs a token: this request has X-Forwarded-For, Forwarded or Via",
        )),
        Err(why) => Err(NotByHost::Doubtful(why.text(""))),
        Ok(()) => Ok(()),
    }
}

/// RFC 6750, section 2.1.
fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| trim(token))
}

fn unauthorized(why: &str) -> Answer {
    Answer::error(Status::Unauthorized, why).with("WWW-Authenticate", "Bearer realm=\"phpws\"")
}

fn too_many(why: &str, wait: Duration) -> Answer {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Answer::error(Status::TooManyRequests, why).with("Retry-After", seconds.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarded::{ClientAddress, Way};
    use crate::own_host::OwnHost;

    const LOCAL: &str = "127.0.0.1";
    const TOKEN: &str = "Authorization: Bearer abcdefghijklmnop";

    fn status(admission: &mut Admission, ip: &str, way: Way, fields: &str, limits: &Limits) -> String {
        let request = Request::parse(format!("POST /broadcast HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n").as_bytes()).unwrap();
        let from = ClientAddress::of(&request, ClientAddress { ip: ip.parse().unwrap(), way }, limits);
        let ours = OwnHost { own: LOCAL.parse().unwrap(), limits, certified: &[] }.admits_request(from, &request);
        let checked = admission.check(&request, from.ip, ours, limits, Instant::now());
        checked.map_or_else(|answer| answer.status.code().to_string(), |()| "200".to_owned())
    }

    fn with_token() -> Admission {
        Admission { tokens: Tokens::parse("abcdefghijklmnop").unwrap(), ..Admission::default() }
    }

    #[test]
    fn a_host_is_enough_unless_the_request_may_be_anothers() {
        let allowing = Limits { allowed_ip: vec!["192.0.2.0/24".parse().unwrap()], ..Limits::default() };
        for (ip, way, fields, expected) in [
            (LOCAL, Way::Direct, "X: y", "200"),
            ("::1", Way::Direct, "X: y", "200"),
            ("192.0.2.1", Way::Direct, "X: y", "200"),
            ("198.51.100.1", Way::Direct, "X: y", "403"),
            (LOCAL, Way::Direct, "Origin: http://x", "403"),
            (LOCAL, Way::Direct, "Sec-Fetch-Site: none", "403"),
            (LOCAL, Way::Direct, "X-Forwarded-For: 127.0.0.1", "403"),
            (LOCAL, Way::Direct, "Forwarded: for=127.0.0.1", "403"),
            (LOCAL, Way::Direct, "Via: 1.1 x", "403"),
            (LOCAL, Way::Named, "X: y", "403"),
            ("192.0.2.1", Way::Named, "X: y", "200"),
            ("192.0.2.1", Way::Named, "Origin: null", "403"),
            (LOCAL, Way::Direct, TOKEN, "200"),
            ("198.51.100.1", Way::Direct, TOKEN, "403"),
        ] {
            assert_eq!(status(&mut Admission::default(), ip, way, fields, &allowing), expected, "{ip} {fields}");
        }
    }

    #[test]
    fn a_token_is_enough_from_anywhere() {
        for (ip, fields, expected) in [
            ("198.51.100.1", TOKEN, "200"),
            ("198.51.100.1", "authorization: BEARER  abcdefghijklmnop", "200"),
            ("198.51.100.1", "X: y", "401"),
            ("198.51.100.1", "Authorization: Basic abcdefghijklmnop", "401"),
            ("198.51.100.1", "Authorization: Bearer wrong", "401"),
            ("198.51.100.1", "Authorization: abcdefghijklmnop", "401"),
            (LOCAL, "Origin: http://x\r\nAuthorization: Bearer abcdefghijklmnop", "200"),
            (LOCAL, "Origin: http://x", "403"),
            (LOCAL, "Authorization: Bearer wrong", "200"),
        ] {
            assert_eq!(status(&mut with_token(), ip, Way::Direct, fields, &Limits::default()), expected, "{ip} {fields}");
        }
        let strict = Limits { publish: Publish::Token, ..Limits::default() };
        assert_eq!(status(&mut with_token(), LOCAL, Way::Direct, "X: y", &strict), "403");
        assert_eq!(status(&mut with_token(), LOCAL, Way::Direct, TOKEN, &strict), "200");
    }

    #[test]
    fn who_guesses_too_often_waits_and_locks_nobody_out() {
        let (mut admission, limits) = (with_token(), Limits::default());
        let guess = |admission: &mut Admission, ip, fields| status(admission, ip, Way::Direct, fields, &limits);
        let wrong = "Authorization: Bearer wrong";
        assert!((0..10).all(|_| guess(&mut admission, "198.51.100.1", wrong) == "401"));
        assert_eq!(guess(&mut admission, "198.51.100.1", wrong), "429");
        assert_eq!(guess(&mut admission, "198.51.100.1", TOKEN), "200");
        assert_eq!(guess(&mut admission, "198.51.100.1", wrong), "429");
        assert_eq!(guess(&mut admission, "198.51.100.2", wrong), "401");
    }
}
