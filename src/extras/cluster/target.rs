//! Whom a message is for, in words that hold in every process.

use std::rc::Rc;

/// Whom a message is for. PHP has no counterpart; `publish::To` is the same within one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// All browsers of the dialog.
    All,
    /// All browsers of a resource.
    Path(Box<str>),
    /// All members of a room.
    Room(Box<str>),
    /// The client of that uuid, else of that ident.
    One { uuid: Box<str>, ident: Box<str> },
}

impl Target {
    /// The channel of a target that is not one client.
    pub(crate) fn channel(&self) -> Rc<str> {
        match self {
            Target::All => "all".into(),
            Target::Path(path) => format!("path:{path}").into(),
            Target::Room(room) => format!("room:{room}").into(),
            Target::One { .. } => "".into(),
        }
    }
}
