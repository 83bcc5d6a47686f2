//! RFC 6455 by hand: the opening handshake and the frame codec.
//!
//! Nothing here knows a socket, an application or a clock: bytes go in, requests, events and bytes
//! come out. PHP counterpart: `RFC6455.php` (`RFC_6455.php` in 2026), a trait that `webSocketServer` mixes in; here the loop
//! calls these modules instead.

use std::fmt;

pub mod frame;
pub mod handshake;
pub mod inbox;
mod refusal;

pub use handshake::Request;
pub use inbox::{Event, Inbox};
pub use refusal::{Reason, Refusal, Status};

/// The four bits that say what a frame is (RFC 6455, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// A message, or its first fragment, in UTF-8.
    Text = 0x1,
    /// A message, or its first fragment, of any bytes.
    Binary = 0x2,
    /// The sender will send nothing more.
    Close = 0x8,
    /// "Are you there?"
    Ping = 0x9,
    /// "Yes."
    Pong = 0xA,
}

impl Opcode {
    /// The opcode of those four bits; the reserved ones are an error.
    pub fn from_bits(bits: u8) -> Result<Opcode, ProtocolError> {
        match bits {
            0x0 => Ok(Opcode::Continuation),
            0x1 => Ok(Opcode::Text),
            0x2 => Ok(Opcode::Binary),
            0x8 => Ok(Opcode::Close),
            0x9 => Ok(Opcode::Ping),
            0xA => Ok(Opcode::Pong),
            _ => Err(ProtocolError::ReservedOpcode),
        }
    }

    /// Close, ping and pong: short, never fragmented, allowed between the fragments of a message.
    pub fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

/// Why a connection ends (RFC 6455, section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose is fulfilled.
    pub const NORMAL: CloseCode = CloseCode(1000);
    /// The server is going down.
    pub const GOING_AWAY: CloseCode = CloseCode(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: CloseCode = CloseCode(1002);
    /// The payload is not what its type says: text that is not UTF-8, a packet that is not JSON.
    pub const INVALID_PAYLOAD: CloseCode = CloseCode(1007);
    /// The server's rules do not admit this client.
    pub const POLICY_VIOLATION: CloseCode = CloseCode(1008);
    /// A message larger than the limit.
    pub const MESSAGE_TOO_BIG: CloseCode = CloseCode(1009);
    /// An application failed.
    pub const INTERNAL_ERROR: CloseCode = CloseCode(1011);
    /// The server is restarted: come again.
    pub const SERVICE_RESTART: CloseCode = CloseCode(1012);
    /// The server, or this client's queue, is full.
    pub const TRY_AGAIN_LATER: CloseCode = CloseCode(1013);

    /// The body of a close frame: the code, and a reason of at most 123 bytes.
    pub(crate) fn body(self, reason: &str) -> Vec<u8> {
        let mut body = self.0.to_be_bytes().to_vec();
        body.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(123)]);
        body
    }

    /// Whether a peer may send this code (RFC 6455, section 7.4 and the IANA registry).
    pub fn may_be_received(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a peer did wrong after the handshake. It ends the connection with [`close_code`](Self::close_code).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// A reserved bit is set although no extension was agreed.
    ReservedBits,
    /// Opcode 3 to 7 or 11 to 15.
    ReservedOpcode,
    /// Clients must mask every frame.
    Unmasked,
    /// A length in more bytes than it needs, or with its top bit set.
    BadLength,
    /// A control frame in fragments.
    FragmentedControl,
    /// A control frame of more than 125 bytes.
    LongControl,
    /// A continuation without a beginning.
    UnexpectedContinuation,
    /// A new message inside an unfinished one.
    ExpectedContinuation,
    /// A close frame of one byte, or with a code nobody may send.
    BadClose,
    /// Text or a close reason that is not UTF-8.
    InvalidUtf8,
    /// A message over the limit.
    TooBig,
}

impl ProtocolError {
    /// The code of the close frame that answers this error.
    pub fn close_code(self) -> CloseCode {
        match self {
            ProtocolError::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            ProtocolError::TooBig => CloseCode::MESSAGE_TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ProtocolError::ReservedBits => "reserved bits set",
            ProtocolError::ReservedOpcode => "reserved opcode",
            ProtocolError::Unmasked => "frame not masked",
            ProtocolError::BadLength => "bad frame length",
            ProtocolError::FragmentedControl => "fragmented control frame",
            ProtocolError::LongControl => "control frame over 125 bytes",
            ProtocolError::UnexpectedContinuation => "continuation without a message",
            ProtocolError::ExpectedContinuation => "message inside a message",
            ProtocolError::BadClose => "bad close frame",
            ProtocolError::InvalidUtf8 => "invalid UTF-8",
            ProtocolError::TooBig => "message too big",
        })
    }
}

impl std::error::Error for ProtocolError {}
