//! What became of a message: where it went, what each receiver says of it, and the status that follows.
//!
//! It knows no server and no connection. Counts of several processes are added up here too.

use std::rc::Rc;

use crate::elsewhere::Fates;
use crate::ids::SocketId;
use crate::mail::keyed::KeyedFrame;
use crate::server::delivery::Outcome;

/// Why a client that is away does not get a message.
pub(crate) const TOO_LARGE: &str = "the client is away, and the message is larger than what is kept for it (resume-bytes)";

/// Where a message went, until it is known what became of it.
pub(crate) struct Sent {
    pub(super) receivers: Vec<SocketId>,
    /// Receivers that were too many to remember.
    pub(super) uncounted: usize,
    /// Why it went nowhere.
    pub(crate) error: Option<(u16, String)>,
    /// Whether it was for one client, and no other will do.
    single: bool,
    frame: Option<Rc<KeyedFrame>>,
    /// The number of the question that other processes answer.
    pub(crate) ask: Option<u64>,
    /// Whether nobody knows what became of it in other processes.
    unknown: bool,
    /// Whether its only receiver had no room for it.
    dropped: bool,
    /// What was said of it before, where it was not sent again.
    said: Option<String>,
}

/// Why a message went nowhere whose only receiver had no room for it.
const TOO_MUCH_WAITS: &str = "too much waits for the client: it reads too slowly";

/// What a question to other processes is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// One client, or a message for it.
    One,
    /// A message for many.
    Many,
}

/// What became of a message for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The system took its last byte.
    Delivered,
    /// It waits behind a socket that takes no more, or for its turn.
    Queued,
    /// The client was closed before it had the message.
    Failed,
}

/// What became of one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) status: u16,
    pub(crate) fates: Fates,
    pub(crate) error: Option<String>,
    /// Whether it was for one client.
    single: bool,
    /// Whether nobody knows what became of it in other processes; the counts are of those that are known.
    unknown: bool,
    /// Whether no other process was given it, for one client that is not here.
    unsent: bool,
    /// What was asked for, where that is not the fate of a message.
    pub(crate) text: Option<String>,
}

impl Sent {
    /// A message that goes nowhere, and why.
    pub(crate) fn nowhere(status: u16, error: impl Into<String>) -> Sent {
        Sent { error: Some((status, error.into())), ..Sent::to(Vec::new(), true, None) }
    }

    /// A message for one client for which too much waits already.
    pub(crate) fn dropped() -> Sent {
        Sent { dropped: true, ..Sent::nowhere(503, TOO_MUCH_WAITS) }
    }

    /// A message for one client that is away, and larger than what is kept for it.
    pub(crate) fn too_large() -> Sent {
        Sent { dropped: true, ..Sent::nowhere(503, TOO_LARGE) }
    }

    /// A message to these clients.
    pub(super) fn to(receivers: Vec<SocketId>, single: bool, frame: Option<Rc<KeyedFrame>>) -> Sent {
        Sent { receivers, uncounted: 0, error: None, single, frame, ask: None, unknown: false, dropped: false, said: None }
    }

    /// A message that was sent before, and what was said of it then.
    pub(crate) fn said(status: u16, members: String) -> Sent {
        Sent { said: Some(members), ..Sent::nowhere(status, "") }
    }

    /// A message of which other processes will say what became of it.
    pub(crate) fn elsewhere(ask: Option<u64>) -> Sent {
        Sent { ask, ..Sent::to(Vec::new(), false, None) }
    }

    /// A message for one client of which nobody knows whether it exists.
    pub(crate) fn unknown() -> Sent {
        Sent::to(Vec::new(), true, None).and_unknown()
    }

    /// The same, with nothing known of other processes.
    pub(crate) fn and_unknown(self) -> Sent {
        Sent { unknown: true, ..self }
    }

    /// Counts what `fate` says of each receiver.
    pub(crate) fn report(self, mut fate: impl FnMut(SocketId) -> Fate) -> Report {
        if let (Some((status, _)), Some(said)) = (&self.error, &self.said) {
            return Report { status: *status, text: Some(said.clone()), ..Report::default() };
        }
        if let Some((status, error)) = self.error {
            let fates = Fates { failed: usize::from(self.dropped), dropped: self.dropped, ..Fates::default() };
            return Report { status, fates, error: Some(error), ..Report::default() };
        }
        let fates = Fates { queued: self.uncounted, ..Fates::default() };
        let mut report = Report { fates, unknown: self.unknown, single: self.single, ..Report::default() };
        report.unsent = self.unknown && self.single;
        for id in self.receivers {
            let replaced = self.frame.as_ref().is_some_and(|frame| frame.replaced.borrow().contains(&id));
            match fate(id) {
                Fate::Failed => report.fates.failed += 1,
                Fate::Delivered if !replaced => report.fates.delivered += 1,
                _ => report.fates.queued += 1,
            }
        }
        if let Some(frame) = self.frame {
            frame.tracked.set(false);
            frame.replaced.take();
        }
        report.judged()
    }
}

impl Report {
    /// The same for an application.
    pub(crate) fn outcome(&self) -> Outcome {
        let Fates { delivered, queued, failed, .. } = self.fates;
        Outcome { delivered, queued, failed, unknown: self.unknown, error: self.error.clone() }
    }

    /// An answer that other processes will give.
    pub(super) fn about(about: About) -> Report {
        Report { single: about == About::One, ..Report::default() }
    }

    /// Nobody knows, since the process that would have known is gone.
    pub(crate) fn unknown() -> Report {
        Report { single: true, unknown: true, ..Report::default() }.judged()
    }

    /// Adds the counts of one process.
    pub(crate) fn add(&mut self, Fates { delivered, queued, failed, dropped }: Fates) {
        self.fates.dropped |= dropped;
        self.fates.delivered += delivered;
        self.fates.queued += queued;
        self.fates.failed += failed;
    }

    pub(crate) fn set_error(&mut self, status: u16, why: &str) {
        (self.status, self.error) = (status, Some(why.into()));
    }

    /// What was not delivered waits elsewhere.
    pub(crate) fn wait(&mut self) {
        if !self.fates.dropped {
            self.fates.queued += std::mem::take(&mut self.fates.failed);
        }
    }

    pub(crate) fn set_unknown(&mut self) {
        self.unknown = true;
    }

    /// With the status that follows from the rest.
    pub(crate) fn judged(mut self) -> Report {
        if self.error.is_some() {
            return self;
        }
        let Fates { delivered, queued, failed, dropped } = self.fates;
        // Where the one client that it is for was found, the others don't matter.
        self.unknown &= !self.single || delivered + queued + failed == 0;
        self.status = match queued {
            _ if self.unknown && self.single => 503,
            _ if self.unknown => 202,
            0 if self.single && dropped => 503,
            0 if self.single && failed > 0 => 404,
            0 => 200,
            _ => 202,
        };
        match self.status {
            404 => self.error = Some("the client was closed before it had the message".into()),
            503 if dropped => self.error = Some(TOO_MUCH_WAITS.into()),
            503 => self.error = Some("other processes are not reached: nobody knows whether the client is there".into()),
            _ => {}
        }
        self
    }

    /// The answer to a client that asked with that `receipt`.
    pub(crate) fn receipt(&self, receipt: &str) -> String {
        format!(r#"{{"opcode":"receipt","receipt":{receipt},"status":{},{}}}"#, self.status, self.members())
    }

    /// Whether a client may have the message: then it must not be sent again.
    pub(crate) fn may_have_arrived(&self) -> bool {
        self.text.is_some() || self.status < 400 || self.unknown && !self.unsent
    }

    /// The counts and the error as members of a JSON object.
    pub(crate) fn members(&self) -> String {
        if let Some(text) = &self.text {
            return text.clone();
        }
        let Fates { delivered, queued, failed, .. } = self.fates;
        let failed = if failed > 0 { format!(r#","failed":{failed}"#) } else { String::new() };
        let delivered = if self.unknown { format!(r#""unknown","known":{delivered}"#) } else { delivered.to_string() };
        let error = self.error.as_ref().map(|error| format!(r#","error":{}"#, serde_json::Value::from(&**error)));
        format!(r#""delivered":{delivered},"queued":{queued}{failed}{}"#, error.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(count: u64, single: bool) -> Sent {
        let receivers = (1..=count).map(SocketId::from_u64).collect();
        Sent::to(receivers, single, None)
    }

    #[test]
    fn the_status_says_what_became_of_it() {
        for (fates, single, status, members) in [
            (&[Fate::Delivered][..], true, 200, r#""delivered":1,"queued":0"#),
            (&[Fate::Queued], true, 202, r#""delivered":0,"queued":1"#),
            (&[], false, 200, r#""delivered":0,"queued":0"#),
            (&[Fate::Delivered, Fate::Queued, Fate::Failed], false, 202, r#""delivered":1,"queued":1,"failed":1"#),
            (&[Fate::Delivered, Fate::Failed], false, 200, r#""delivered":1,"queued":0,"failed":1"#),
        ] {
            let mut rest = fates.iter().copied();
            let report = sent(fates.len() as u64, single).report(|_| rest.next().expect("a fate for each"));
            assert_eq!((report.status, report.members().as_str()), (status, members));
        }
        assert_eq!(sent(1, true).report(|_| Fate::Failed).status, 404);
        assert_eq!(
            Sent::nowhere(404, "nobody").report(|_| Fate::Failed).members(),
            r#""delivered":0,"queued":0,"error":"nobody""#
        );
    }

    #[test]
    fn a_message_that_was_replaced_counts_as_queued() {
        let frame = Rc::new(KeyedFrame::new("k", "text", true));
        frame.replaced.borrow_mut().insert(SocketId::from_u64(2));
        let report = Sent { frame: Some(frame.clone()), ..sent(3, false) }.report(|_| Fate::Delivered);
        assert_eq!((report.fates.delivered, report.fates.queued), (2, 1));
        assert!(!frame.tracked.get() && frame.replaced.borrow().is_empty());
    }
}
