//! What the benches feed the server: frames as clients send them, and the packets in them.
//!
//! All masks are zero. Unmasking then costs what it costs and leaves the payload as it is, so that
//! one frame can be read again and again.

use phpws::SocketId;
use phpws::resources::ResourceWeb;
use phpws::testing::Harness;

/// A server without sockets that has so many browsers on `/web`, and their ids.
pub fn with_clients(count: usize) -> (Harness, Vec<SocketId>) {
    let mut server = Harness::new();
    server.register("/web", ResourceWeb);
    let ids = (0..count).map(|_| server.connect("/web")).collect();
    (server, ids)
}

/// A message of 20 bytes.
pub const SHORT: &str = "twenty bytes of text";

/// One frame of a client.
pub fn frame(fin: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => frame.extend([&[0xFE][..], &(len as u16).to_be_bytes()].concat()),
        len => frame.extend([&[0xFF][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A whole text message.
pub fn text(message: &str) -> Vec<u8> {
    frame(true, 1, message.as_bytes())
}

/// A text message in `count` fragments.
pub fn fragments(message: &str, count: usize) -> Vec<u8> {
    let pieces: Vec<&[u8]> = message.as_bytes().chunks(message.len().div_ceil(count)).collect();
    let last = pieces.len() - 1;
    pieces.iter().enumerate().flat_map(|(index, piece)| frame(index == last, u8::from(index == 0), piece)).collect()
}

/// A packet with `uuid`, which a server may ignore, and a message of so many bytes.
pub fn packet(opcode: &str, uuid: &str, len: usize) -> String {
    let message = "half done, 50 % ".chars().cycle().take(len).collect::<String>();
    format!(r#"{{"opcode":"{opcode}","uuid":"{uuid}","message":"{message}"}}"#)
}

/// A uuid of nobody.
pub const UUID: &str = "e7369655-7143-43dd-a710-75937c023233";
