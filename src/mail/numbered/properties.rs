//! Whatever happens to a client that may resume: a simple model of what it is owed, against [`Kept`].

use std::rc::Rc;
use std::time::Instant;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A message with so much filling, perhaps with one of a few keys.
    Push(usize, Option<u8>),
    /// The loop hands so many to the connection.
    Send(usize),
    /// So many of those reach the client.
    Arrive(usize),
    /// A pong says how far the client has come, or was a while ago.
    Pong(u64),
    /// A pong with a number out of the blue.
    Lie(u64),
    /// The connection breaks, and what was on its way is gone.
    Break,
    /// The client comes back, with the number of the last message that it got.
    Resume,
    /// The size is checked, with so much allowed.
    Trim(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..200usize, prop::option::of(0..3u8)).prop_map(|(filling, key)| Step::Push(filling, key)),
        5 => (0..8usize).prop_map(Step::Send),
        5 => (0..8usize).prop_map(Step::Arrive),
        3 => (0..4u64).prop_map(Step::Pong),
        2 => Just(Step::Break),
        3 => Just(Step::Resume),
        1 => (0..2000usize).prop_map(Step::Trim),
    ]
}

/// The same with clients that lie.
fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![9 => step(), 1 => (0..200u64).prop_map(Step::Lie), 1 => any::<u64>().prop_map(Step::Lie)]
}

/// The queue, and what a client makes of what it is sent.
struct World {
    kept: Kept,
    pushed: u64,
    /// Number and message of all that is owed and was not given up.
    owed: Vec<(u64, u64)>,
    keys: Vec<(u64, u8)>,
    /// The number of the next message.
    next: u64,
    on_the_way: Vec<(u64, u64)>,
    got: Vec<(u64, u64)>,
    /// The number that the client remembers.
    seq: u64,
}

impl World {
    fn new() -> World {
        let kept = Kept::new(ResumeOutcome::New);
        World { kept, pushed: 0, owed: vec![], keys: vec![], next: 1, on_the_way: vec![], got: vec![], seq: 0 }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Push(filling, key) => self.push(filling, key),
            Step::Send(count) => self.send(count),
            Step::Arrive(count) => self.arrive(count),
            Step::Pong(ago) => self.kept.acknowledge(self.seq.saturating_sub(ago)),
            Step::Lie(seq) => self.kept.acknowledge(seq),
            Step::Break => self.break_off(),
            Step::Resume => self.resume(),
            Step::Trim(max) => self.trim(max),
        }
        self.check_costs();
    }

    fn push(&mut self, filling: usize, key: Option<u8>) {
        self.pushed += 1;
        let text = format!(r#"{{"filling":"{}","message":{}}}"#, "x".repeat(filling), self.pushed);
        let frame = key.map(|key| Rc::new(KeyedFrame::new(&key.to_string(), &text, false)));
        let replaced = self.kept.push(Item { text: text_of(&text), position: 0, own: true, frame });
        let sent = self.kept.sent_up_to();
        let older = key.and_then(|key| self.keys.iter().rev().find(|(_, other)| *other == key));
        match older.filter(|(seq, _)| *seq > sent) {
            Some((seq, _)) => {
                let owed = self.owed.iter_mut().find(|(number, _)| number == seq).unwrap();
                assert!(replaced.unwrap().text.ends_with(&format!(r#""message":{}}}"#, owed.1)));
                owed.1 = self.pushed;
            }
            None => {
                assert!(replaced.is_none());
                self.owed.push((self.next, self.pushed));
                self.keys.extend(key.map(|key| (self.next, key)));
                self.next += 1;
            }
        }
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            let mut run = Vec::new();
            if self.kept.away_since.is_some() {
                return;
            }
            // Long texts go out in parts, to the same effect.
            let value: serde_json::Value = if let Some((text, range, tail)) = self.kept.next_shared(100) {
                serde_json::from_str(&(text[range].to_owned() + &tail)).unwrap()
            } else if self.kept.send_next(&mut run) {
                let at = if run[1] < 126 { 2 } else { 4 };
                serde_json::from_slice(&run[at..]).unwrap()
            } else {
                return;
            };
            self.on_the_way.push((value["seq"].as_u64().unwrap(), value["message"].as_u64().unwrap()));
        }
    }

    fn arrive(&mut self, count: usize) {
        for (seq, message) in self.on_the_way.drain(..count.min(self.on_the_way.len())) {
            assert_eq!(seq, self.seq + 1, "no number is left out");
            self.seq = seq;
            self.got.push((seq, message));
        }
    }

    fn break_off(&mut self) {
        self.on_the_way.clear();
        self.kept.away_since = Some(Instant::now());
    }

    fn resume(&mut self) {
        self.break_off();
        self.kept.rewind(self.seq);
        let missing = self.kept.first - (self.seq + 1).min(self.kept.first);
        let expected = if missing == 0 { ResumeOutcome::Resumed } else { ResumeOutcome::Gap(Some(missing)) };
        assert_eq!(self.kept.outcome, expected);
        self.seq = self.seq.max(self.kept.first - 1);
    }

    fn trim(&mut self, max: usize) {
        let (first, sent) = (self.kept.first, self.kept.sent_up_to());
        let lost = self.kept.trim(max);
        assert_eq!(lost, self.kept.first.saturating_sub(first.max(sent + 1)), "what goes unsent is counted");
        assert!(self.kept.cost <= max || self.kept.sent == 0 && self.kept.away_since.is_none());
        // What a client had not got when it went is owed no more.
        let (gone, seq) = (self.kept.first, self.seq);
        self.owed.retain(|(number, _)| *number >= gone || *number <= seq);
    }

    fn check_costs(&self) {
        let costs = |from: usize| self.kept.items.iter().skip(from).map(Item::cost).sum::<usize>();
        assert!(self.kept.sent <= self.kept.items.len());
        assert_eq!((self.kept.cost, self.kept.unsent), (costs(0), costs(self.kept.sent)));
        assert_eq!(self.kept.first + self.kept.items.len() as u64, self.next);
        assert!(self.kept.keys.len() <= self.kept.items.len(), "keys go with their messages");
    }

    /// Lets everything come that still can.
    fn finish(&mut self) {
        self.resume();
        self.send(usize::MAX);
        self.arrive(usize::MAX);
        self.kept.acknowledge(self.seq);
        self.check_costs();
        assert_eq!((self.kept.cost, self.kept.items.len()), (0, 0));
    }
}

proptest! {
    #[test]
    fn an_honest_client_gets_each_message_once_and_in_order(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        steps.iter().for_each(|step| world.take(step));
        world.finish();
        // A message that was trimmed after it was sent may have come all the same.
        let owed: Vec<_> = world.owed.iter().filter(|owed| world.got.contains(owed)).collect();
        prop_assert_eq!(owed.len(), world.owed.len(), "{:?} of {:?}", world.got, world.owed);
        prop_assert!(world.got.is_sorted_by(|one, next| one.0 < next.0 && one.1 != next.1), "{:?}", world.got);
    }

    #[test]
    fn a_client_that_lies_harms_nobody_else(steps in prop::collection::vec(any_step(), 0..120)) {
        let mut world = World::new();
        for step in &steps {
            // It may have to be told of a gap that it made itself.
            if let Step::Arrive(_) = step {
                world.on_the_way.drain(..).for_each(|(seq, _)| world.seq = seq);
            }
            world.take(step);
        }
        world.finish();
    }
}
