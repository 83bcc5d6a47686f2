//! How a client is written to: what waits for it, and the form in which it goes out.
//!
//! There are four forms, and each client has one. A [`Letter`] is a message on its way to one client or to
//! many; each form of it is made once. Nothing here knows a socket or a server. PHP counterpart: `Write`,
//! which has one form for all.

use std::rc::Rc;
use std::time::Instant;

use crate::ids::SocketId;
use crate::limits::Limits;
use crate::memory::{Block, Charge, Kind, Shared};
use crate::rfc6455::handshake::{PHP_FIRST_READ, PHP_READ};
use crate::rfc6455::{Opcode, frame};
use keyed::KeyedFrame;
use numbered::{Item, Kept, Text, asking_ping, object, text_of};
use outbox::{BufferPool, Outbox, SMALL};
use pace::Pace;

pub(crate) mod keyed;
pub(crate) mod numbered;
pub(crate) mod outbox;
pub(crate) mod pace;

/// Bytes of numbered messages that are handed to a connection at a time.
const FILL: usize = 64 * 1024;
/// This fraction of the bytes that may be kept is sent before a ping asks how far the client has come.
const ASK_AFTER: usize = 4;

/// The writing half of one client.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) outbox: Outbox,
    pub(crate) form: Form,
    /// Whether the client is on the list of those that are written to before the loop sleeps.
    pub(crate) dirty: bool,
    /// What is kept, as it was last looked at.
    kept_charge: Charge,
}

impl Default for Mail {
    fn default() -> Mail {
        Mail { outbox: Outbox::default(), form: Form::Frames, dirty: false, kept_charge: Charge::new(Kind::Kept) }
    }
}

/// How a client takes what is written.
#[derive(Debug, Default)]
pub(crate) enum Form {
    /// Frames, as many as a read gives: browsers, and PHP clients that say so.
    #[default]
    Frames,
    /// Bare text: the oldest dialect.
    Raw,
    /// One frame in each read: the other PHP clients.
    OneARead(Box<Pace>),
    /// Frames with numbers, kept until the client says that they have come.
    Numbered(Box<Kept>),
}

/// A message on its way, in the forms that its receivers need.
pub(crate) struct Letter<'a> {
    text: &'a str,
    /// The memory that the text lies in, if outboxes may share it.
    memory: Option<Block>,
    /// The frame with a key, if the message has one.
    keyed: Option<Rc<KeyedFrame>>,
    /// Its position in what several processes share; 0 if it has none.
    position: u64,
    /// Whether the receiver may not be waiting for it.
    unasked: bool,
    /// Whether it goes to several clients, so that its frame is worth sharing.
    many: bool,
    frame: Option<Block>,
    kept: Option<Text>,
}

impl<'a> Letter<'a> {
    /// An answer to one client.
    pub(crate) fn new(text: &'a str) -> Letter<'a> {
        let (memory, keyed, frame, kept) = (None, None, None, None);
        Letter { text, memory, keyed, position: 0, unasked: false, many: false, frame, kept }
    }

    /// With text that outboxes may share.
    pub(crate) fn in_memory(self, memory: Option<Block>) -> Letter<'a> {
        Letter { memory, ..self }
    }

    /// With a key.
    pub(crate) fn keyed(self, keyed: Option<Rc<KeyedFrame>>) -> Letter<'a> {
        Letter { keyed, ..self }
    }

    /// With text that is kept already.
    pub(crate) fn kept(self, text: Text) -> Letter<'a> {
        Letter { kept: Some(text), ..self }
    }

    /// At a position in what several processes share.
    pub(crate) fn at(self, position: u64) -> Letter<'a> {
        Letter { position, ..self }
    }

    /// For a client that may not be waiting for it.
    pub(crate) fn unasked(self) -> Letter<'a> {
        Letter { unasked: true, ..self }
    }

    /// For several clients.
    pub(crate) fn many(self) -> Letter<'a> {
        Letter { many: true, ..self }
    }

    /// The text.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }

    fn shared_frame(&mut self) -> &Block {
        let text = self.text.as_bytes();
        self.frame.get_or_insert_with(|| {
            let mut encoded = Vec::new();
            frame::encode(Opcode::Text, text, &mut encoded);
            Rc::new(Shared::new(encoded))
        })
    }

    /// The message as it is kept for clients that come back.
    pub(crate) fn item(&mut self) -> Item {
        Item { text: self.kept_text(), position: self.position, own: self.position == 0, frame: self.keyed.clone() }
    }

    fn kept_text(&mut self) -> Text {
        self.kept.get_or_insert_with(|| text_of(&object(self.text))).clone()
    }
}

impl Mail {
    /// Queues a message of an application for this client, `id`, in its form. Gives how many older ones were too
    /// many to keep, or `None` where it is held back. Keys count for browsers only.
    pub(crate) fn post(
        &mut self,
        pool: &mut BufferPool,
        letter: &mut Letter<'_>,
        id: SocketId,
        limits: &Limits,
        is_browser: bool,
    ) -> Option<u64> {
        let Mail { outbox, form, .. } = self;
        let replaced = match (form, &letter.keyed) {
            (Form::Numbered(kept), _) => {
                let replaced = kept.post(letter.item(), limits.kept_bytes())?;
                note_replaced(replaced.and_then(|item| item.frame), id);
                return Some(kept.trim(limits.kept_bytes()));
            }
            (Form::Frames, Some(keyed)) if is_browser => outbox.push_keyed(pool, keyed),
            (Form::OneARead(_), keyed) if letter.unasked || keyed.is_some() => {
                outbox.push_later(pool, letter.text);
                None
            }
            (Form::Frames, None) if letter.many && letter.memory.is_none() => {
                outbox.push_shared(pool, letter.shared_frame());
                None
            }
            _ => {
                self.frame(pool, Opcode::Text, letter.text.as_bytes(), letter.memory.as_ref());
                None
            }
        };
        note_replaced(replaced, id);
        Some(0)
    }

    /// Queues one frame, to a raw client the bare text. Says whether there was anything to queue: raw clients have
    /// no control frames.
    #[inline]
    pub(crate) fn frame(&mut self, pool: &mut BufferPool, opcode: Opcode, payload: &[u8], memory: Option<&Block>) -> bool {
        if matches!((&self.form, memory), (Form::Frames, None)) {
            self.outbox.push_with(pool, false, |run| frame::encode(opcode, payload, run));
            return true;
        }
        self.frame_in_form(pool, opcode, payload, memory)
    }

    /// The same for the rarer forms, and for memory that is shared.
    #[inline(never)]
    fn frame_in_form(&mut self, pool: &mut BufferPool, opcode: Opcode, payload: &[u8], memory: Option<&Block>) -> bool {
        let Mail { outbox, form, .. } = self;
        match (form, memory) {
            (Form::Raw, _) if opcode.is_control() => return false,
            (Form::Raw, _) => outbox.push_with(pool, false, |run| run.extend_from_slice(payload)),
            (Form::OneARead(_), _) => outbox.push_with(pool, true, |run| frame::encode(opcode, payload, run)),
            (_, Some(memory)) => {
                outbox.push_with(pool, false, |run| frame::encode_header(opcode, payload.len(), run));
                outbox.push_shared(pool, memory);
            }
            (_, None) => outbox.push_with(pool, false, |run| frame::encode(opcode, payload, run)),
        }
        true
    }

    /// Queues the first message of a client: one that takes one frame a read gets it as a whole read.
    pub(crate) fn first(&mut self, pool: &mut BufferPool, message: &str) {
        if self.pace().is_some() {
            self.outbox.push_with(pool, true, |run| frame::encode_filled(message, PHP_FIRST_READ, run));
        } else {
            self.frame(pool, Opcode::Text, message.as_bytes(), None);
        }
    }

    /// Queues bytes that are no frame: an HTTP answer.
    pub(crate) fn bytes(&mut self, pool: &mut BufferPool, bytes: &[u8]) {
        self.outbox.push_with(pool, true, |run| run.extend_from_slice(bytes));
    }

    /// Fills an empty outbox with what is kept; says whether there is anything to write. `connected` is whether
    /// the client has a connection.
    #[inline]
    pub(crate) fn fill(&mut self, pool: &mut BufferPool, connected: bool, limits: &Limits) -> bool {
        if connected && self.is_numbered() && self.outbox.is_empty() {
            self.hand_over(pool, limits.kept_bytes(), FILL);
        }
        !self.outbox.is_empty()
    }

    /// Makes the next frame for a client that takes one frame a read; `false` where that one has to wait: the first
    /// time, `remind` is told until when.
    #[inline(never)]
    pub(crate) fn make_front(&mut self, now: Instant, remind: impl FnOnce(Instant)) -> bool {
        let Mail { outbox, form: Form::OneARead(pace), .. } = self else { return true };
        if let Some(when) = pace.wait(now).filter(|_| !outbox.is_mid_run()) {
            if !std::mem::replace(&mut pace.armed, true) {
                remind(when);
            }
            return false;
        }
        outbox.make_front(|text, run| frame::encode_filled(text, PHP_READ, run));
        true
    }

    /// Hands numbered messages to the connection, up to some bytes, and asks now and then how far the client has
    /// come.
    pub(crate) fn hand_over(&mut self, pool: &mut BufferPool, kept_bytes: usize, up_to: usize) {
        let Mail { outbox, form: Form::Numbered(kept), .. } = self else { return };
        while kept.unsent > 0 && outbox.bytes() < up_to {
            match kept.next_shared(SMALL) {
                // A long text is in memory once, whatever number it goes out under.
                Some((text, range, tail)) => {
                    outbox.push_with(pool, false, |run| frame::encode_header(Opcode::Text, range.len() + tail.len(), run));
                    outbox.push_part(pool, text, range);
                    outbox.push_with(pool, false, |run| run.extend_from_slice(tail.as_bytes()));
                }
                None => outbox.push_with(pool, false, |run| {
                    kept.send_next(run);
                }),
            }
            if kept.unasked > kept_bytes / ASK_AFTER {
                kept.unasked = 0;
                let ping = asking_ping(kept.sent_up_to());
                outbox.push_with(pool, false, |run| frame::encode(Opcode::Ping, ping.as_bytes(), run));
            }
        }
    }

    /// Marks the client as one that is to be written to; `false` where it was one before.
    pub(crate) fn becomes_dirty(&mut self) -> bool {
        !std::mem::replace(&mut self.dirty, true)
    }

    /// Notes what this holds in memory: after something was written, came or was acknowledged.
    #[inline]
    pub(crate) fn account(&mut self) {
        if !self.outbox.is_empty() || self.is_numbered() || self.kept_charge.bytes() > 0 {
            self.account_rare();
        }
    }

    #[inline(never)]
    fn account_rare(&mut self) {
        self.outbox.account();
        self.kept_charge.set(self.kept().map_or(0, Kept::own_cost));
    }

    /// What it held in memory by itself as that was last looked at.
    pub(crate) fn charged(&self) -> usize {
        self.outbox.charged() + self.kept_charge.bytes()
    }

    /// Bytes that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.bytes() + self.kept().map_or(0, |kept| kept.unsent)
    }

    /// What that costs in memory.
    pub(crate) fn cost(&self) -> usize {
        self.outbox.cost() + self.kept().map_or(0, |kept| kept.unsent)
    }

    pub(crate) fn pace(&mut self) -> Option<&mut Pace> {
        match &mut self.form {
            Form::OneARead(pace) => Some(pace),
            _ => None,
        }
    }

    pub(crate) fn kept(&self) -> Option<&Kept> {
        match &self.form {
            Form::Numbered(kept) => Some(kept),
            _ => None,
        }
    }

    pub(crate) fn kept_mut(&mut self) -> Option<&mut Kept> {
        match &mut self.form {
            Form::Numbered(kept) => Some(kept),
            _ => None,
        }
    }

    /// Forgets what waits, but for a run under way, and what came of the client's pace.
    pub(crate) fn discard_unsent(&mut self) {
        self.outbox.discard_unsent();
        if let Form::OneARead(_) = self.form {
            self.form = Form::Frames;
        }
    }

    /// The ping of this client: one whose messages have numbers says in the pong how far it has come.
    pub(crate) fn ping_payload(&mut self) -> String {
        match &mut self.form {
            Form::Numbered(kept) => {
                kept.unasked = 0;
                asking_ping(kept.sent_up_to())
            }
            _ => r#"{"opcode":"PING"}"#.into(),
        }
    }

    /// The pong to a ping that asked how far the client has come.
    pub(crate) fn acknowledge(&mut self, pong: &[u8]) {
        let Form::Numbered(kept) = &mut self.form else { return };
        let number = |text: &str| text.rsplit_once(r#""seq":"#)?.1.strip_suffix('}')?.parse().ok();
        if let Some(seq) = std::str::from_utf8(pong).ok().and_then(number) {
            kept.acknowledge(seq);
        }
        self.account();
    }

    /// Whether what is written to it has numbers and is kept: then its client may come back.
    pub(crate) fn is_numbered(&self) -> bool {
        self.kept().is_some()
    }

    /// The client will not come back: it goes on with frames that have no numbers.
    pub(crate) fn stop_keeping(&mut self) {
        if let Form::Numbered(_) = self.form {
            self.form = Form::Frames;
        }
    }
}

/// Notes that a newer frame took the place of this one for that client, where somebody waits to hear of it.
fn note_replaced(old: Option<Rc<KeyedFrame>>, id: SocketId) {
    if let Some(old) = old.filter(|old| old.tracked.get()) {
        old.replaced.borrow_mut().insert(id);
    }
}
