//! The paths that are counted. Each is a preparation and an operation that can be done again and again.

use std::hint::black_box;

use phpws::rfc6455::frame::{self, Header};
use phpws::rfc6455::{Inbox, Opcode};
use phpws::{Message, Packet};

use crate::samples::{self, SHORT, UUID};

/// A path by name.
pub struct Path {
    pub name: &'static str,
    /// How often it is gone to be counted: as often as gives some million instructions.
    pub rounds: u32,
    prepare: fn() -> Box<dyn FnMut()>,
}

pub const PATHS: &[Path] = &[
    Path { name: "header_parse", rounds: 50_000, prepare: header_parse },
    Path { name: "unmask_125", rounds: 50_000, prepare: || unmask(125) },
    Path { name: "unmask_64k", rounds: 500, prepare: || unmask(64 << 10) },
    Path { name: "inbox_whole_20", rounds: 20_000, prepare: || inbox(samples::text(SHORT)) },
    Path { name: "inbox_3_fragments", rounds: 10_000, prepare: || inbox(samples::fragments(SHORT, 3)) },
    Path { name: "encode_20", rounds: 50_000, prepare: encode },
    Path { name: "packet_feedback", rounds: 10_000, prepare: || packet(20) },
    Path { name: "packet_60k", rounds: 100, prepare: || packet(60_000) },
    Path { name: "next_and_echo", rounds: 5_000, prepare: echo },
    Path { name: "next_and_feedback", rounds: 5_000, prepare: feedback },
    Path { name: "broadcast_to_1000", rounds: 50, prepare: broadcast },
];

impl Path {
    /// Prepares it and goes it so often.
    pub fn go(&self, rounds: u32) {
        let mut operation = (self.prepare)();
        (0..rounds).for_each(|_| operation());
    }
}

fn header_parse() -> Box<dyn FnMut()> {
    let frame = samples::text(SHORT);
    Box::new(move || assert!(matches!(Header::parse(black_box(&frame)), Ok(Some(_)))))
}

fn unmask(len: usize) -> Box<dyn FnMut()> {
    let mut payload = vec![b'x'; len];
    Box::new(move || {
        black_box(frame::unmask(black_box(&mut payload), black_box([0x37, 0xFA, 0x21, 0x3D])));
    })
}

/// One read with one message.
fn inbox(mut read: Vec<u8>) -> Box<dyn FnMut()> {
    let mut inbox = Inbox::new(1 << 20);
    Box::new(move || {
        let mut input: &mut [u8] = black_box(&mut read);
        assert!(matches!(black_box(inbox.next_event(&mut input)), Ok(Some(_))));
        assert!(input.is_empty());
    })
}

fn encode() -> Box<dyn FnMut()> {
    let mut out = Vec::with_capacity(64);
    Box::new(move || {
        out.clear();
        frame::encode(Opcode::Text, black_box(SHORT.as_bytes()), &mut out);
        black_box(&out);
    })
}

fn packet(len: usize) -> Box<dyn FnMut()> {
    let packet = samples::packet("feedback", UUID, len);
    Box::new(move || assert!(Packet::parse(black_box(Message::Text(&packet))).is_ok()))
}

fn echo() -> Box<dyn FnMut()> {
    let (mut server, ids) = samples::with_clients(1);
    let frame = samples::text(&samples::packet("echo", UUID, 20));
    Box::new(move || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard(ids[0]) > frame.len());
    })
}

/// To one of a thousand, so that the look-up is that of a table of some size.
fn feedback() -> Box<dyn FnMut()> {
    let (mut server, ids) = samples::with_clients(1000);
    let uuid = server.server().client(ids[500]).map(|client| client.uuid().to_string());
    let frame = samples::text(&samples::packet("feedback", &uuid.unwrap_or_default(), 20));
    Box::new(move || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard(ids[0]) > 0 && server.discard(ids[500]) > 0);
    })
}

fn broadcast() -> Box<dyn FnMut()> {
    let (mut server, ids) = samples::with_clients(1001);
    let packet = samples::packet("broadcast", UUID, 20);
    let frame = samples::text(&packet);
    Box::new(move || {
        server.feed(ids[0], black_box(&frame));
        assert!(server.discard_all() > 1000 * packet.len());
    })
}
