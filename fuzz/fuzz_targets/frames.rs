//! The frame codec: the same bytes in any reads give the same events, an error comes once and last,
//! and no more is kept than the limit allows.
//!
//! An input is a [plan](pieces::plan), whose first byte chooses the limit, and then a client's bytes.
#![no_main]

mod pieces;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use libfuzzer_sys::fuzz_target;
use phpws::rfc6455::{Event, Inbox, Opcode, ProtocolError};

const LIMITS: [usize; 8] = [0, 1, 2, 125, 126, 1000, 65_536, 5 * 1024 * 1024];

/// An event without its borrow, or the end of them.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Failed(ProtocolError),
}

fuzz_target!(|data: &[u8]| {
    let Some((plan, bytes)) = pieces::plan(data) else { return };
    let limit = LIMITS[usize::from(plan.mode) % LIMITS.len()];
    let (cut, single): (Vec<&[u8]>, Vec<&[u8]>) = (plan.pieces(bytes), bytes.chunks(1).collect());

    let whole = feed(Inbox::new(limit), limit, &[bytes]);
    only_the_last_is_an_end(&whole, limit);
    assert_eq!(feed(Inbox::new(limit), limit, &cut), whole, "in pieces of {plan:?}");
    assert_eq!(feed(Inbox::new(limit), limit, &single), whole, "byte by byte");
    events_survive_another_way(&whole);

    let php = feed(Inbox::for_php(limit), limit, &[bytes]);
    only_the_last_is_an_end(&php, limit);
    assert_eq!(feed(Inbox::for_php(limit), limit, &cut), php, "for PHP in pieces of {plan:?}");
    assert_eq!(feed(Inbox::for_php(limit), limit, &single), php, "for PHP byte by byte");
    php_differs_at_an_orphan_only(&php, &whole);
});

/// What an inbox says to these reads. Between reads it holds no more than its limit, and room to grow.
fn feed(mut inbox: Inbox, limit: usize, reads: &[&[u8]]) -> Vec<Seen> {
    let before = LIVE.get();
    let mut kept = 0;
    let mut seen = Vec::new();
    for read in reads {
        let mut bytes = read.to_vec();
        let mut input = &mut bytes[..];
        loop {
            match inbox.next_event(&mut input) {
                Ok(None) => break,
                Ok(Some(event)) => seen.push(owned(event)),
                Err(error) => seen.push(Seen::Failed(error)),
            }
        }
        assert!(input.is_empty(), "bytes left over");
        drop(bytes);
        kept = LIVE.get() - before - heap_of(&seen);
        assert!(kept <= 2 * limit as isize + 512, "{kept} bytes kept of a limit of {limit}");
        assert!(inbox.is_mid_message() || !inbox.is_mid_frame());
        assert!(inbox.is_mid_message() || kept == 0, "{kept} bytes kept of no message");
    }
    drop(inbox);
    assert_eq!(LIVE.get() - before - heap_of(&seen), 0, "of {kept} bytes");
    seen
}

fn owned(event: Event<'_>) -> Seen {
    match event {
        Event::Text(text) => Seen::Text(text.to_owned()),
        Event::Binary(data) => Seen::Binary(data.to_vec()),
        Event::Collected(Opcode::Text, text) => Seen::Text(String::from_utf8(text).unwrap()),
        Event::Collected(_, data) => Seen::Binary(data),
        Event::Ping(payload) => Seen::Ping(payload),
        Event::Pong(payload) => Seen::Pong(payload),
        Event::Close(code, reason) => Seen::Close(code.map(|code| code.0), reason),
    }
}

/// Close and error are the last thing said; messages are within the limit, control frames within theirs.
fn only_the_last_is_an_end(seen: &[Seen], limit: usize) {
    for (index, event) in seen.iter().enumerate() {
        let len = match event {
            Seen::Text(text) => text.len(),
            Seen::Binary(data) => data.len(),
            Seen::Ping(payload) | Seen::Pong(payload) => {
                assert!(payload.len() <= 125);
                continue;
            }
            Seen::Close(code, reason) => {
                assert!(reason.len() <= 123 && (code.is_some() || reason.is_empty()));
                // RFC 6455, section 7.4, and the codes registered since.
                assert!(code.is_none_or(|code| matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)), "{code:?}");
                0
            }
            Seen::Failed(_) => 0,
        };
        assert!(len <= limit, "a message of {len} bytes over a limit of {limit}");
        let is_end = matches!(event, Seen::Close(..) | Seen::Failed(_));
        assert!(!is_end || index + 1 == seen.len(), "an event after the end: {seen:?}");
    }
}

/// Every event, in a frame written here, is read as the same event.
fn events_survive_another_way(seen: &[Seen]) {
    for event in seen {
        let (opcode, payload) = match event {
            Seen::Text(text) => (1, text.as_bytes().to_vec()),
            Seen::Binary(data) => (2, data.clone()),
            Seen::Close(Some(code), reason) => (8, [&code.to_be_bytes(), reason.as_bytes()].concat()),
            Seen::Close(None, _) => (8, Vec::new()),
            Seen::Ping(payload) => (9, payload.clone()),
            Seen::Pong(payload) => (10, payload.clone()),
            Seen::Failed(_) => continue,
        };
        let frame = masked(opcode, &payload);
        assert_eq!(feed(Inbox::new(payload.len()), payload.len(), &[&frame]), std::slice::from_ref(event));
    }
}

/// A client's whole frame, by RFC 6455 and not by the code under test.
fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | len as u8),
        len @ 126..=0xFFFF => frame.extend([&[0xFE][..], &(len as u16).to_be_bytes()].concat()),
        len => frame.extend([&[0xFF][..], &(len as u64).to_be_bytes()].concat()),
    }
    frame.extend(MASK);
    frame.extend(payload.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    frame
}

/// An inbox for PHP clients says the same, except that it goes on where others fail at a continuation
/// of nothing.
fn php_differs_at_an_orphan_only(php: &[Seen], whole: &[Seen]) {
    match whole.split_last() {
        Some((Seen::Failed(ProtocolError::UnexpectedContinuation), same)) => {
            assert!(php.starts_with(same));
            assert!(!php.contains(&Seen::Failed(ProtocolError::UnexpectedContinuation)));
        }
        _ => assert_eq!(php, whole),
    }
}

/// What the events themselves hold on the heap.
fn heap_of(seen: &Vec<Seen>) -> isize {
    let events = seen.iter().map(|event| match event {
        Seen::Text(text) => text.capacity(),
        Seen::Binary(data) | Seen::Ping(data) | Seen::Pong(data) => data.capacity(),
        Seen::Close(_, reason) => reason.capacity(),
        Seen::Failed(_) => 0,
    });
    (events.sum::<usize>() + seen.capacity() * size_of::<Seen>()) as isize
}

/// The system's allocator, and a count of the bytes that this thread holds.
struct Counted;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        unsafe { System.dealloc(pointer, layout) }
    }
}
