//! Requests that get no 101: the status and the line that answer one, and what they are counted as.
//!
//! Where the PHP answers a bad handshake with half a response, or with several status lines, this is one
//! whole answer.

use std::fmt;

use super::handshake::MAX_HEAD;

/// The statuses that this server answers with (RFC 9110, section 15).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "they are their standard phrases")]
pub enum Status {
    Ok = 200,
    Accepted = 202,
    MultiStatus = 207,
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    Conflict = 409,
    LengthRequired = 411,
    ContentTooLarge = 413,
    UnsupportedMediaType = 415,
    ExpectationFailed = 417,
    UnprocessableContent = 422,
    UpgradeRequired = 426,
    TooManyRequests = 429,
    RequestHeaderFieldsTooLarge = 431,
    NotImplemented = 501,
    ServiceUnavailable = 503,
}

impl Status {
    /// The number alone.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The number and its standard phrase, as they stand in the first line of an answer.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "200 OK",
            Status::Accepted => "202 Accepted",
            Status::MultiStatus => "207 Multi-Status",
            Status::BadRequest => "400 Bad Request",
            Status::Unauthorized => "401 Unauthorized",
            Status::Forbidden => "403 Forbidden",
            Status::NotFound => "404 Not Found",
            Status::MethodNotAllowed => "405 Method Not Allowed",
            Status::RequestTimeout => "408 Request Timeout",
            Status::Conflict => "409 Conflict",
            Status::LengthRequired => "411 Length Required",
            Status::ContentTooLarge => "413 Content Too Large",
            Status::UnsupportedMediaType => "415 Unsupported Media Type",
            Status::ExpectationFailed => "417 Expectation Failed",
            Status::UnprocessableContent => "422 Unprocessable Content",
            Status::UpgradeRequired => "426 Upgrade Required",
            Status::TooManyRequests => "429 Too Many Requests",
            Status::RequestHeaderFieldsTooLarge => "431 Request Header Fields Too Large",
            Status::NotImplemented => "501 Not Implemented",
            Status::ServiceUnavailable => "503 Service Unavailable",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The counter of a refused client, whatever it is told.
///
/// In the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The request itself, by the status that answers it.
    Request(Status),
    /// It comes from a host that may not.
    Address,
    /// It was no client, and gave way to a newer connection.
    Evicted,
    /// There are as many clients as may be.
    MaxClients,
    /// Its address has as many as it may have.
    MaxPerIp,
    /// It comes from a page that may not.
    Origin,
    /// Its path is no resource.
    Resource,
    /// It has no live PHP session.
    Session,
    /// Nothing could be said: the TLS handshake, or a proxy's header, did not come in time.
    Tls,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Request(status) => status.as_str(),
            Reason::Address => "address",
            Reason::Evicted => "evicted",
            Reason::MaxClients => "max_clients",
            Reason::MaxPerIp => "max_per_ip",
            Reason::Origin => "origin",
            Reason::Resource => "resource",
            Reason::Session => "session",
            Reason::Tls => "tls",
        })
    }
}

/// A request that is answered with an HTTP status in place of the 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What the answer begins with.
    pub status: Status,
    /// Its counter.
    pub reason: Reason,
    /// One line that says what is missing or wrong.
    pub text: String,
}

impl Refusal {
    fn new(status: Status, text: impl Into<String>) -> Refusal {
        Refusal { status, reason: Reason::Request(status), text: text.into() }
    }

    /// 400: the request is not what RFC 6455 or HTTP asks for.
    pub fn bad_request(text: impl Into<String>) -> Refusal {
        Refusal::new(Status::BadRequest, text)
    }

    /// 403: this client, or this origin, may not.
    pub fn forbidden(reason: Reason, text: impl Into<String>) -> Refusal {
        Refusal { reason, ..Refusal::new(Status::Forbidden, text) }
    }

    /// 404: a plain request for a path that is no resource.
    pub fn not_found(text: impl Into<String>) -> Refusal {
        Refusal::new(Status::NotFound, text)
    }

    /// 405: only GET.
    pub fn method_not_allowed() -> Refusal {
        Refusal::new(Status::MethodNotAllowed, "Method must be GET")
    }

    /// 408: the head did not come in time.
    pub fn timeout() -> Refusal {
        Refusal::new(Status::RequestTimeout, "The request head took too long")
    }

    /// 426: a WebSocket resource, but not this version of the protocol, or none.
    pub fn upgrade_required(text: impl Into<String>) -> Refusal {
        Refusal::new(Status::UpgradeRequired, text)
    }

    /// 429: this address asks too often.
    pub fn too_many(text: impl Into<String>) -> Refusal {
        Refusal::new(Status::TooManyRequests, text)
    }

    /// 431: the head is over [`MAX_HEAD`].
    pub fn head_too_large() -> Refusal {
        Refusal::new(Status::RequestHeaderFieldsTooLarge, format!("The request head is over {MAX_HEAD} bytes"))
    }

    /// 501: a body in a form that this server does not read.
    pub fn not_implemented(text: impl Into<String>) -> Refusal {
        Refusal::new(Status::NotImplemented, text)
    }

    /// 503: too late, the server is about to end.
    pub fn unavailable() -> Refusal {
        Refusal::new(Status::ServiceUnavailable, "The server is being stopped")
    }

    /// The whole HTTP answer, with a body of one line.
    pub fn response(&self) -> Vec<u8> {
        let extra = match self.status {
            Status::MethodNotAllowed => "Allow: GET\r\n",
            Status::TooManyRequests => "Retry-After: 1\r\n",
            Status::UpgradeRequired => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            _ => "",
        };
        let connection = if self.status == Status::UpgradeRequired { "close, Upgrade" } else { "close" };
        format!(
            "HTTP/1.1 {}\r\n{extra}Connection: {connection}\r\nContent-Type: text/plain; charset=utf-8\r\n\
             X-Content-Type-Options: nosniff\r\nContent-Length: {}\r\n\r\n{}\n",
            self.status,
            self.text.len() + 1,
            self.text
        )
        .into_bytes()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_begins_with_its_number() {
        for status in [Status::Ok, Status::MultiStatus, Status::NotFound, Status::RequestHeaderFieldsTooLarge] {
            assert!(status.as_str().starts_with(&format!("{} ", status.code())), "{status}");
        }
    }

    #[test]
    fn what_is_said_does_not_change_what_is_counted() {
        assert_eq!(Refusal::forbidden(Reason::Origin, "x").reason.to_string(), "origin");
        assert_eq!(Refusal::not_found("This origin is not allowed").reason.to_string(), "404 Not Found");
    }
}
