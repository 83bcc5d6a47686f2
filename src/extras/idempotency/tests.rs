//! The table of keys: what is said of a key, what is forgotten, and a model that any sequence of calls agrees with.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::memory;

const MEMORY: usize = 1 << 30;

fn name(text: &str) -> Digest {
    Digest::of(&[text.as_bytes()])
}

fn kept(body: &str) -> Kept {
    Kept::new(200, body).unwrap()
}

fn first(verdict: Verdict) -> Claim {
    match verdict {
        Verdict::First(claim) => claim,
        other => panic!("not the first: {other:?}"),
    }
}

#[test]
fn a_key_is_visible_and_not_too_long() {
    for (key, expected) in [("a", Some("a")), ("\"a-1\"", Some("a-1")), (&"x".repeat(255), Some(&*"x".repeat(255)))] {
        assert_eq!(check_key(key).ok(), expected);
    }
    for key in ["", "\"\"", "a b", "a\"b", "\"a", "a\\b", "ä", "a\tb", &"x".repeat(256)] {
        assert!(check_key(key).is_err(), "{key}");
    }
}

#[test]
fn parts_do_not_run_into_each_other() {
    assert_ne!(Digest::of(&[b"ab", b"c"]), Digest::of(&[b"a", b"bc"]));
    assert_eq!(Digest::parse(&name("a").to_string()), Some(name("a")));
}

#[test]
fn the_first_answer_is_given_again_for_five_minutes() {
    let (mut table, start) = (Idempotency::default(), Instant::now());
    let claim = first(table.claim(name("k"), name("r"), MEMORY, start));
    assert_eq!(table.claim(name("k"), name("r"), MEMORY, start), Verdict::UnderWay);
    assert_eq!(table.claim(name("k"), name("s"), MEMORY, start), Verdict::Other);
    table.answered(&claim, kept("a"), MEMORY, start);
    let last = start + KEPT_FOR - Duration::from_millis(1);
    assert_eq!(table.claim(name("k"), name("r"), MEMORY, last), Verdict::Again(kept("a")));
    assert_eq!(table.claim(name("k"), name("s"), MEMORY, last), Verdict::Other);
    first(table.claim(name("k"), name("s"), MEMORY, start + KEPT_FOR));
    assert_eq!(table.counts, Counts { repeated: 1, under_way: 1, other: 2 });
}

#[test]
fn a_claim_without_an_answer_is_taken_over_and_its_late_answer_changes_nothing() {
    let (mut table, start) = (Idempotency::default(), Instant::now());
    let slow = first(table.claim(name("k"), name("r"), MEMORY, start));
    let late = start + TAKEN_OVER_AFTER;
    assert!(!slow.is_late(late - Duration::from_millis(1)) && slow.is_late(late));
    let next = first(table.claim(name("k"), name("r"), MEMORY, late));
    table.answered(&slow, kept("slow"), MEMORY, late);
    assert!(!table.forget(&slow));
    assert_eq!(table.claim(name("k"), name("r"), MEMORY, late), Verdict::UnderWay);
    table.answered(&next, kept("next"), MEMORY, late);
    assert_eq!(table.claim(name("k"), name("r"), MEMORY, late), Verdict::Again(kept("next")));
}

#[test]
fn a_key_that_is_given_back_is_free_at_once() {
    let (mut table, now) = (Idempotency::default(), Instant::now());
    let claim = first(table.claim(name("k"), name("r"), MEMORY, now));
    assert!(table.forget(&claim) && table.len() == 0);
    first(table.claim(name("k"), name("other"), MEMORY, now));
}

#[test]
fn what_others_know_counts_more_than_an_own_claim() {
    let (mut table, now) = (Idempotency::default(), Instant::now());
    for (found, expected) in [
        (Found::Claimed(name("r")), Verdict::UnderWay),
        (Found::Claimed(name("s")), Verdict::Other),
        (Found::Answered(name("r"), kept("a")), Verdict::Again(kept("a"))),
        (Found::Answered(name("s"), kept("a")), Verdict::Other),
    ] {
        let claim = first(table.claim(name("k"), name("r"), MEMORY, now));
        assert_eq!((table.decide(claim, Some(found)), table.len()), (expected, 0));
    }
    let claim = first(table.claim(name("k"), name("r"), MEMORY, now));
    assert_eq!(table.decide(claim, None), Verdict::First(claim));
    assert_eq!(table.len(), 1);
}

#[test]
fn what_stands_in_redis_is_read_as_it_was_written() {
    let request = name("r");
    assert_eq!(Found::parse(&Found::claimed(&request.to_string(), "node", 7)), Some(Found::Claimed(request)));
    let answer = Kept::new(207, r#"{"results":[ 1 ]}"#).unwrap();
    assert_eq!(Found::parse(&Found::answered(request, &answer)), Some(Found::Answered(request, answer)));
    for strange in ["", "claim", "answer x 200 {}", &format!("answer {request} many {{}}"), &format!("what {request} 200 x")] {
        assert_eq!(Found::parse(strange), None, "{strange}");
    }
}

#[test]
fn the_oldest_keys_go_first_by_number_and_by_bytes() {
    let (mut table, now) = (Idempotency::default(), Instant::now());
    let nth = |number: usize| name(&number.to_string());
    for number in 0..=MAX_KEYS {
        table.claim(nth(number), name("r"), MEMORY, now);
    }
    assert_eq!(table.len(), MAX_KEYS);
    assert_eq!(table.claim(nth(1), name("r"), MEMORY, now), Verdict::UnderWay);
    first(table.claim(nth(0), name("r"), MEMORY, now));
    let before = memory::held(Kind::Answers);
    let small = 16 * SHARE_OF_MEMORY * 1024;
    let claim = first(table.claim(name("large"), name("r"), small, now));
    assert!(memory::held(Kind::Answers) <= 16 * 1024 && before > 16 * 1024);
    table.answered(&claim, kept(&"x".repeat(15 * 1024)), small, now);
    assert!(memory::held(Kind::Answers) <= 16 * 1024 && table.len() >= 1);
    assert_eq!(Kept::new(200, &"x".repeat(MAX_KEPT_ANSWER + 1)), None);
    drop(table);
    assert_eq!(memory::held(Kind::Answers), 0);
}

#[derive(Clone, Debug)]
enum Act {
    Claim(u8, u8),
    Answer(usize),
    Forget(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0..4u8, 0..2u8).prop_map(|(key, request)| Act::Claim(key, request)),
        3 => any::<usize>().prop_map(Act::Answer),
        1 => any::<usize>().prop_map(Act::Forget),
        2 => prop_oneof![0..20u64, 200..400u64].prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 0..100)
}

/// A key in the model: the request, who has claimed it when, and the answer.
type Entry = (u8, u64, Instant, Option<Kept>);

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    /// A table that forgets nothing too early and nothing too late, whatever comes in which order.
    #[test]
    fn any_sequence_of_calls_agrees_with_a_model(acts in acts()) {
        let (mut table, mut model, mut now) = (Idempotency::default(), HashMap::<u8, Entry>::new(), Instant::now());
        let mut claims: Vec<(u8, Claim)> = Vec::new();
        for (step, act) in acts.into_iter().enumerate() {
            model.retain(|_, (_, _, since, kept)| {
                now - *since < if kept.is_some() { KEPT_FOR } else { TAKEN_OVER_AFTER }
            });
            match act {
                Act::Wait(seconds) => now += Duration::from_secs(seconds),
                Act::Claim(key, request) => {
                    let verdict = table.claim(Digest::of(&[&[key]]), Digest::of(&[&[request]]), MEMORY, now);
                    match (model.get(&key), verdict) {
                        (None, Verdict::First(claim)) => {
                            claims.push((key, claim));
                            model.insert(key, (request, claim.number, now, None));
                        }
                        (Some((of, ..)), verdict) if *of != request => prop_assert_eq!(verdict, Verdict::Other),
                        (Some((.., None)), verdict) => prop_assert_eq!(verdict, Verdict::UnderWay),
                        (Some((.., Some(kept))), verdict) => prop_assert_eq!(verdict, Verdict::Again(kept.clone())),
                        (None, verdict) => prop_assert!(false, "free, but {:?}", verdict),
                    }
                }
                Act::Answer(which) if !claims.is_empty() => {
                    let (key, claim) = claims[which % claims.len()];
                    let answer = kept(&step.to_string());
                    table.answered(&claim, answer.clone(), MEMORY, now);
                    // Where nobody has taken it over, a late answer is one too.
                    if model.get(&key).is_none_or(|(_, number, ..)| *number == claim.number) {
                        let request = u8::from(claim.request == Digest::of(&[&[1]]));
                        model.insert(key, (request, 0, now, Some(answer)));
                    }
                }
                Act::Forget(which) if !claims.is_empty() => {
                    let (key, claim) = claims[which % claims.len()];
                    let had_it = model.get(&key).is_some_and(|(_, number, _, body)| *number == claim.number && body.is_none());
                    let has_forgotten = table.forget(&claim);
                    prop_assert!(has_forgotten || !had_it);
                    if had_it {
                        model.remove(&key);
                    }
                }
                Act::Answer(_) | Act::Forget(_) => {}
            }
            prop_assert_eq!(table.order.len(), table.records.len());
            prop_assert_eq!(table.bytes.bytes(), table.records.values().map(Record::cost).sum::<usize>());
        }
    }
}
