//! What docs/cluster.md and docs/resume.md do not promise, each by a name.

/// Why something that looks wrong is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Excuse {
    ToldOfGap,
    ToldLost,
    PlainConnectionBroke,
    ToldUnknown,
    NothingAsked,
    EmptyRedisFills,
    PlainIsGone,
    KeyTwice,
    KeyReplaced,
    OldIdentity,
    JustCame,
}

impl Excuse {
    /// The words of the docs.
    pub fn sentence(self) -> &'static str {
        match self {
            Excuse::ToldOfGap => "the page's `ready` says `gap`",
            Excuse::ToldLost => "its `ready` says `lost`",
            Excuse::PlainConnectionBroke => "a message for a client that does not resume: its connection breaks",
            Excuse::ToldUnknown => "`unknown` is neither a failure nor a success",
            Excuse::NothingAsked => "senders that must know use `receipt`, HTTP, or resume",
            Excuse::EmptyRedisFills => {
                "until its clients and rooms are written again they are not found: 404, or counts without them"
            }
            Excuse::PlainIsGone => "a process is killed: its other clients are gone, 404",
            Excuse::KeyTwice => "sent twice: a message with a key that replaced an older one",
            Excuse::KeyReplaced => "a message with a `key` replaces an older message with the same key that still waits",
            Excuse::OldIdentity => "after `resume-time` it is gone: until then who it was before `lost` is counted",
            Excuse::JustCame => "a client that comes or goes while the message is on its way",
        }
    }
}
