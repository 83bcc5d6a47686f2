//! Names of the records: of a connection, of an application, of who is at the other end.
//!
//! Plain values that every part may hold; they know nothing of what they name. PHP counterpart:
//! `intval($socket)` and `clientType`.

use std::fmt;

slotmap::new_key_type! {
    /// Names a connection; plays PHP's `intval($socket)`. Never used twice while the server runs: an
    /// id kept past its connection finds nothing.
    #[doc(alias = "intval")]
    pub struct SocketId;
}

impl SocketId {
    /// The id as a number, for instance as the tag of a timer; [`from_u64`](Self::from_u64) reverses it.
    pub fn as_u64(self) -> u64 {
        slotmap::Key::data(&self).as_ffi()
    }

    /// The number in the log.
    pub(crate) fn number(self) -> u64 {
        let (slot, generation) = (self.as_u64() & 0xFFFF_FFFF, self.as_u64() >> 33);
        generation * 1_000_000 + slot
    }

    /// The id of that number.
    pub fn from_u64(number: u64) -> SocketId {
        slotmap::KeyData::from_ffi(number).into()
    }
}

/// The number in the log: the slot, and above the millions how often it was taken before.
impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

/// Names a registered application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(u32);

impl AppId {
    /// That of a place in the order of registration.
    pub(crate) const fn of(index: usize) -> AppId {
        AppId(index as u32)
    }

    /// Its place in the order of registration.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientType {
    /// A browser, or anything that does not say otherwise.
    Websocket,
    /// A backend that sent `Client-Type: php`; it decodes one frame per read.
    Php,
    /// A backend of the oldest kind, with bare JSON in place of frames.
    Tcp,
}

impl fmt::Display for ClientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClientType::Websocket => "websocket",
            ClientType::Php => "php",
            ClientType::Tcp => "tcp",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_printed_without_the_marks_of_the_store() {
        let mut sockets = slotmap::SlotMap::<SocketId, ()>::with_key();
        let first = sockets.insert(());
        assert_eq!(first.to_string(), "1");
        sockets.remove(first);
        let second = sockets.insert(());
        assert_eq!(second.to_string(), "1000001");
        assert_eq!(SocketId::from_u64(second.as_u64()), second);
    }
}
