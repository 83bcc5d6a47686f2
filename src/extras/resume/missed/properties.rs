//! What a client gets from the shelves, against a queue of its own into which each message is put at once.

use std::time::Instant;

use proptest::prelude::*;
use slotmap::SlotMap;

use super::*;
use crate::extras::resume::ResumeOutcome;
use crate::mail::keyed::KeyedFrame;
use crate::mail::numbered::text_of;

#[derive(Clone, Debug)]
enum Step {
    /// A message for an audience, with so much filling, perhaps with a key, from this client or another one.
    Put(usize, usize, Option<u8>, usize),
    /// A message for one client, perhaps with a key.
    Own(usize, usize, Option<u8>),
    /// A client goes away, or what it missed is settled, and it goes on being away or comes back.
    Leave(usize),
    Settle(usize),
    Return(usize),
}

const CLIENTS: usize = 3;
const AUDIENCES: [Audience; 3] = [Audience::All, Audience::Resource(AppId::of(1)), Audience::Resource(AppId::of(2))];

/// The audiences of a client: the last one reads all.
fn audiences(client: usize) -> impl Iterator<Item = Audience> {
    AUDIENCES
        .into_iter()
        .enumerate()
        .filter(move |(at, _)| *at == 0 || *at == client || client == 2)
        .map(|(_, audience)| audience)
}

fn step(keys: bool) -> impl Strategy<Value = Step> {
    let key = move || if keys { prop::option::of(0..2u8).boxed() } else { Just(None).boxed() };
    prop_oneof![
        8 => (0..AUDIENCES.len(), 0..200usize, key(), 0..6usize).prop_map(|(to, size, key, of)| Step::Put(to, size, key, of)),
        2 => (0..CLIENTS, 0..200usize, key()).prop_map(|(client, size, key)| Step::Own(client, size, key)),
        2 => (0..CLIENTS).prop_map(Step::Leave),
        1 => (0..CLIENTS).prop_map(Step::Settle),
        2 => (0..CLIENTS).prop_map(Step::Return),
    ]
}

/// One client twice: as it is, and as it would be with a queue of its own only.
struct Twin {
    kept: Kept,
    model: Kept,
    away: bool,
    lost: (u64, u64),
}

impl Twin {
    fn new() -> Twin {
        Twin { kept: Kept::new(ResumeOutcome::New), model: Kept::new(ResumeOutcome::New), away: false, lost: (0, 0) }
    }

    fn direct(kept: &mut Kept, item: Item, max: usize, away: bool) -> u64 {
        kept.post(item, max);
        if away { kept.trim(max) } else { 0 }
    }

    fn check(&self) {
        let state = |kept: &Kept| {
            let items: Vec<(String, u64)> = kept.items.iter().map(|item| ((**item.text).clone(), item.position)).collect();
            (kept.first, kept.sent, kept.cost, kept.unsent, items)
        };
        assert_eq!(state(&self.kept), state(&self.model));
        assert_eq!(self.lost.0, self.lost.1);
    }
}

fn item(number: usize, size: usize, key: Option<u8>) -> Item {
    let text = format!("{number}{}", "x".repeat(size));
    let frame = key.map(|key| Rc::new(KeyedFrame::new(&key.to_string(), &text, false)));
    Item { text: text_of(&text), position: number as u64, own: false, frame }
}

fn run(steps: &[Step], max: usize) {
    let mut ids = SlotMap::<SocketId, ()>::with_key();
    let ids: Vec<SocketId> = (0..CLIENTS).map(|_| ids.insert(())).collect();
    let (mut missed, mut twins) = (Missed::default(), [Twin::new(), Twin::new(), Twin::new()]);
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Put(to, size, key, of) => {
                let (audience, made) = (AUDIENCES[to], item(number + 1, size, key));
                // Only a client that is here sends.
                let sender = ids.get(of).filter(|_| !twins[of].away).copied();
                for (at, twin) in twins.iter_mut().enumerate().filter(|(at, _)| audiences(*at).any(|other| other == audience)) {
                    if Some(ids[at]) == sender {
                        continue;
                    }
                    twin.lost.1 += Twin::direct(&mut twin.model, made.clone(), max, twin.away);
                    if !twin.away {
                        Twin::direct(&mut twin.kept, made.clone(), max, false);
                    }
                }
                missed.put(audience, sender, max, || made);
            }
            Step::Own(at, size, key) => {
                let (twin, made) = (&mut twins[at], item(number + 1, size, key));
                twin.lost.1 += Twin::direct(&mut twin.model, made.clone(), max, twin.away);
                match missed.put_own(ids[at], made, max) {
                    Ok(true) => twin.lost.0 += missed.settle(ids[at], &mut twin.kept, max),
                    Ok(false) => {}
                    Err(made) => twin.lost.0 += Twin::direct(&mut twin.kept, made, max, twin.away),
                }
            }
            Step::Leave(at) if !twins[at].away => {
                let twin = &mut twins[at];
                twin.away = true;
                for (kept, lost) in [(&mut twin.kept, &mut twin.lost.0), (&mut twin.model, &mut twin.lost.1)] {
                    kept.away_since = Some(Instant::now());
                    *lost += kept.trim(max);
                }
                missed.begin(ids[at], audiences(at));
            }
            Step::Settle(at) if twins[at].away => {
                twins[at].lost.0 += missed.settle(ids[at], &mut twins[at].kept, max);
                twins[at].check();
            }
            Step::Return(at) if twins[at].away => {
                let twin = &mut twins[at];
                twin.lost.0 += missed.settle(ids[at], &mut twin.kept, max);
                missed.end(ids[at]);
                twin.check();
                twin.away = false;
                for kept in [&mut twin.kept, &mut twin.model] {
                    kept.away_since = None;
                    while kept.send_next(&mut Vec::new()) {}
                    kept.acknowledge(u64::MAX);
                }
            }
            _ => {}
        }
    }
    for (at, twin) in twins.iter_mut().enumerate() {
        twin.lost.0 += missed.settle(ids[at], &mut twin.kept, max);
        missed.end(ids[at]);
        twin.check();
    }
    assert!(missed.shelves.is_empty() && missed.count == 0 && missed.readers.is_empty(), "{}", missed.count);
}

proptest! {
    #[test]
    fn nothing_differs_from_a_queue_for_each_client(steps in prop::collection::vec(step(false), 0..80), max in 100..3000usize) {
        run(&steps, max);
    }

    /// Where all that waits may be kept, keys too take the same places.
    #[test]
    fn keys_take_the_same_places(steps in prop::collection::vec(step(true), 0..80)) {
        run(&steps, usize::MAX / 4);
    }
}

#[test]
fn a_key_that_changes_all_the_time_takes_no_room() {
    let mut ids = SlotMap::<SocketId, ()>::with_key();
    let id = ids.insert(());
    let (mut missed, mut kept) = (Missed::default(), Kept::new(ResumeOutcome::New));
    kept.away_since = Some(Instant::now());
    missed.begin(id, [Audience::All].into_iter());
    (0..10_000).for_each(|number| missed.put(Audience::All, None, 4096, || item(number, 10, Some(1))));
    assert!(missed.count < 50, "{}", missed.count);
    assert_eq!(missed.settle(id, &mut kept, 4096), 0);
    assert_eq!((kept.items.len(), kept.first), (1, 1));
    assert!(kept.items[0].text.starts_with("9999"));
}

#[test]
fn what_is_given_up_is_a_gap_of_that_many() {
    let mut ids = SlotMap::<SocketId, ()>::with_key();
    let id = ids.insert(());
    let (mut missed, mut kept) = (Missed::default(), Kept::new(ResumeOutcome::New));
    kept.away_since = Some(Instant::now());
    missed.begin(id, [Audience::All].into_iter());
    (0..100).for_each(|number| missed.put(Audience::All, None, 1 << 20, || item(number, 10, None)));
    assert!(missed.shrink() && missed.count > 0);
    let lost = missed.settle(id, &mut kept, 1 << 20);
    assert!((40..60).contains(&lost) && kept.items.len() as u64 == 100 - lost && kept.first == lost + 1, "{lost}");
    kept.rewind(0);
    assert_eq!(kept.outcome, ResumeOutcome::Gap(Some(lost)));
}
