//! What a packet says beyond PHP's keys, for those who ask.

use std::borrow::Cow;

use crate::packet::Packet;

impl<'a> Packet<'a> {
    /// The value of `room`; empty where there is none.
    pub fn room(&self) -> &str {
        &self.more.room
    }

    /// The value of `name`; empty where there is none.
    pub fn name(&self) -> &str {
        &self.more.name
    }

    /// Whether `announce` is `true`.
    pub fn announce(&self) -> bool {
        self.more.announce
    }

    /// The value of `key` where it is a string: a newer message takes the place of an older one with the
    /// same key that still waits for a slow client.
    pub fn key(&self) -> Option<Cow<'a, str>> {
        let key = self.more.key.filter(|key| key.starts_with('"'))?;
        serde_json::from_str(key).map(Cow::Owned).ok()
    }

    /// The text of `receipt` where it is a string, a number or a truth value: the sender wants to know
    /// what became of its message.
    pub fn receipt(&self) -> Option<&'a str> {
        self.more.receipt.filter(|receipt| !receipt.starts_with(['{', '[', 'n']))
    }

    /// The value of `cseq` where it is a number: a client that may resume numbers its messages, so that one
    /// that it sends again is not acted on twice.
    pub fn cseq(&self) -> Option<u64> {
        self.more.cseq
    }

    /// Whether the message wants more than to be sent.
    pub(crate) fn has_wishes(&self) -> bool {
        self.more.key.is_some() || self.more.receipt.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{JsonError, Message};

    fn parse(text: &str) -> Result<Packet<'_>, JsonError> {
        Packet::parse(Message::Text(text))
    }

    #[test]
    fn a_packet_shows_the_keys_of_a_room() {
        let packet = parse(r#"{"opcode":"join","room":7,"name":"\u0041nn","announce":true}"#).unwrap();
        assert_eq!((packet.room(), packet.name(), packet.announce()), ("7", "Ann", true));
        for text in [r#"{"announce":1}"#, r#"{"announce":"true"}"#, r#"{"room":null,"name":[]}"#, "{}"] {
            let packet = parse(text).unwrap();
            assert_eq!((packet.room(), packet.name(), packet.announce()), ("", "", false), "{text}");
        }
    }
}
