//! The floor for broadcasts and feedback: one plain `write` for each receiver and each `next`, and nothing else
//! that could be left out.
//!
//! It knows as much of WebSocket and of the dialog as the load needs: the handshake, `ready`, small
//! frames that come whole, `next`. A uuid is the number of its connection, so that it need not be looked
//! up. There are no checks, no queues shared by turns, no limits.

use peers::Options;
use peers::bare::{self, Connections};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

const NEXT: &str = r#"{"opcode":"next","fyi":""}"#;

/// Whether a connection has had its handshake.
#[derive(Default)]
struct Open(bool);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = Options::from_args()?.listen()?;
    Ok(bare::serve::<Open>(listener, answer)?)
}

fn answer(connections: &mut Connections<Open>, index: usize, bytes: &[u8]) {
    let Some(open) = connections.state(index) else { return };
    if !std::mem::replace(&mut open.0, true) {
        return connections.send(index, &welcome(bytes, index));
    }
    let mut rest = bytes;
    while let Some((message, tail)) = unmask(rest) {
        match receiver(&message) {
            Some(receiver) => connections.send(receiver, &encode(&message)),
            None => broadcast(connections, index, &encode(&message)),
        }
        connections.send(index, &encode(NEXT.as_bytes()));
        rest = tail;
    }
}

/// Whom a feedback is for; a broadcast has no uuid.
fn receiver(message: &[u8]) -> Option<usize> {
    const KEY: &[u8] = br#""uuid":"00000000-0000-4000-8000-"#;
    let at = message.windows(KEY.len()).position(|part| part == KEY)? + KEY.len();
    usize::from_str_radix(std::str::from_utf8(message.get(at..at + 12)?).ok()?, 16).ok()
}

fn broadcast(connections: &mut Connections<Open>, sender: usize, frame: &[u8]) {
    for receiver in (0..connections.end()).filter(|receiver| *receiver != sender) {
        if connections.state(receiver).is_some_and(|open| open.0) {
            connections.send(receiver, frame);
        }
    }
}

/// The 101 and `ready`.
fn welcome(head: &[u8], index: usize) -> Vec<u8> {
    let head = String::from_utf8_lossy(head);
    let mut headers = head.lines().filter_map(|line| line.split_once(':'));
    let key = headers.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map_or("", |(_, key)| key.trim());
    let accept = derive_accept_key(key.as_bytes());
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes();
    let ready = format!(r#"{{"opcode":"ready","uuid":"00000000-0000-4000-8000-{index:012x}"}}"#);
    answer.extend(encode(ready.as_bytes()));
    answer
}

/// The payload of the first frame, and what follows it; lengths up to 65,535.
fn unmask(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (len, at) = match *bytes.get(1)? & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        len => (usize::from(len), 2),
    };
    let mask: &[u8; 4] = bytes.get(at..)?.first_chunk()?;
    let payload = bytes.get(at + 4..at + 4 + len)?;
    let message = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    Some((message, &bytes[at + 4 + len..]))
}

fn encode(payload: &[u8]) -> Vec<u8> {
    let mut frame = match payload.len() {
        len @ ..126 => vec![0x81, len as u8],
        len => vec![0x81, 126, (len >> 8) as u8, len as u8],
    };
    frame.extend_from_slice(payload);
    frame
}
