//! The keys of a packet that PHP's server does not know, noted as the packet is read.

use std::borrow::Cow;

use crate::json::Value;

/// Their values; what is not there is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keys<'a> {
    pub(super) room: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) announce: bool,
    pub(super) key: Option<&'a str>,
    pub(super) receipt: Option<&'a str>,
    pub(super) cseq: Option<u64>,
}

impl<'a> Keys<'a> {
    /// Notes a member of the packet. Of a key that comes twice the last value counts, as in PHP.
    pub(crate) fn note(&mut self, name: &str, value: &Value<'a>) {
        match name {
            "room" => self.room = value.word(),
            "name" => self.name = value.word(),
            "announce" => self.announce = value.text() == "true",
            "key" => self.key = Some(value.text()),
            "receipt" => self.receipt = Some(value.text()),
            "cseq" => self.cseq = value.text().parse().ok(),
            _ => {}
        }
    }
}
