//! What many cheap messages cost the others: each of them makes work for thousands, and the work of one client must not
//! stand before that of another.
//!
//! Every round has a server of its own and measures first without the flood and then with it. Of the rounds the
//! middle one counts: what else runs on the machine spoils one of them now and then.

use std::time::{Duration, Instant};

use super::{MS, SECOND, holds, verdict};
use crate::util::http::try_post;
use crate::util::lab::{self, KIB, Lab, MIB, Times, compare};
use crate::util::swarm::{Prober, Swarm, enter};
use crate::util::{NEXT, masked, wait_for};

const ROUNDS: usize = 3;
const QUIET: Duration = Duration::from_millis(700);
const FLOOD: Duration = Duration::from_secs(2);

const ANY: &str = "Client-Type: php\r\nFrames-Per-Read: any\r\n";
const BROADCAST: &[u8] = br#"{"opcode":"broadcast"}"#;

/// What clients that behave had to wait in a round.
#[derive(Default)]
struct Waits {
    /// For an echo: a backend, and a page that gets all broadcasts too.
    backend: Times,
    page: Times,
    /// For `next`: a PHP client that sends a broadcast and feedback in turns.
    next: Times,
}

/// Those clients.
struct Observers {
    backend: Prober,
    /// What the page measures.
    measure: fn(&mut Prober) -> Result<Duration, Duration>,
    page: Prober,
    php: Prober,
    uuid: String,
}

impl Observers {
    fn of(lab: &Lab) -> Observers {
        let backend = Prober::new(lab.ready_on("/php", ANY).0);
        let (page, uuid) = lab.ready_on("/web", "");
        let php = Prober::new(lab.ready_on("/php", "Client-Type: php\r\n").0);
        Observers { backend, measure: Prober::echo, page: Prober::new(page), php, uuid }
    }

    /// With the flood the PHP client has broadcasts to send too, where they are what floods.
    fn watch(&mut self, time: Duration, broadcasts: bool) -> Waits {
        let start = Instant::now();
        let done = || start.elapsed() >= time;
        let Observers { backend, measure, page, php, uuid } = self;
        let feedback = format!(r#"{{"opcode":"feedback","uuid":"{uuid}"}}"#);
        let mut turn = 0;
        std::thread::scope(|scope| {
            let backend = scope.spawn(|| backend.until(2 * MS, Prober::echo, done));
            let page = scope.spawn(|| page.until(2 * MS, *measure, done));
            let ask = |php: &mut Prober| {
                turn += 1;
                php.next(if broadcasts && turn % 2 == 0 { r#"{"opcode":"broadcast"}"# } else { &feedback })
            };
            let next = php.until(20 * MS, ask, done);
            Waits { backend: backend.join().unwrap(), page: page.join().unwrap(), next }
        })
    }
}

/// The middle one of the figures of some rounds.
fn middle(mut figures: Vec<Duration>) -> Duration {
    figures.sort();
    figures[figures.len() / 2]
}

/// What was measured of one client in some rounds.
#[derive(Default)]
struct Figures {
    quiet: Vec<Duration>,
    half: Vec<Duration>,
    p99: Vec<Duration>,
    worst: Vec<Duration>,
}

impl Figures {
    fn add(&mut self, name: &str, mut quiet: Times, mut with: Times) {
        compare(name, &mut quiet, &mut with);
        self.quiet.push(quiet.p99());
        self.half.push(with.percentile(50));
        self.p99.push(with.p99());
        self.worst.push(with.percentile(100));
    }

    /// The bounds of an echo: ten times what it takes without the flood, or 20 ms where that is less, and at most 100 ms.
    fn hold(self, name: &str) -> [Result<(), String>; 2] {
        let most = (10 * middle(self.quiet)).clamp(20 * MS, 100 * MS);
        [holds(&format!("{name}, p99"), middle(self.p99), most), holds(&format!("{name}, worst"), middle(self.worst), 250 * MS)]
    }
}

/// A flood, and who gets it.
struct Scene<'a> {
    name: &'a str,
    args: &'a [&'a str],
    readers: usize,
    /// What readers and flooders send first.
    greeting: &'a [u8],
    flooders: usize,
    message: &'a [u8],
    /// Bytes that each flooder sends at most.
    each: usize,
}

impl Scene<'_> {
    /// Waits of the backend, of the page, and for `next`.
    fn play(&self) -> [Figures; 3] {
        let mut figures: [Figures; 3] = Default::default();
        for _ in 0..ROUNDS {
            let lab = Lab::start(&[self.args, &["--ping-interval", "0"]].concat());
            let come = |count| enter(|| lab.connect(), count, "/web", "", self.greeting);
            let readers = Swarm::readers(come(self.readers), usize::MAX);
            let flooders = Swarm::flooders(come(self.flooders), self.message, self.each);
            let mut observers = Observers::of(&lab);
            if self.args.contains(&"--receive-only") {
                observers.measure = |page| page.next(r#"{"opcode":"echo"}"#);
            }
            wait_for("the greetings to be over", || (lab.cpu_share(50 * MS) < 50.0).then_some(()));
            let quiet = observers.watch(QUIET, false);
            let before = (readers.read(), flooders.written());
            flooders.flood();
            let start = Instant::now();
            let with = observers.watch(FLOOD, self.message == masked(true, 1, BROADCAST));
            println!(
                "{}: in {:.1?} {} KiB of flood were taken, readers read {} KiB, {} of them are gone",
                self.name,
                start.elapsed(),
                (flooders.written() - before.1) / KIB,
                (readers.read() - before.0) / KIB,
                readers.lost()
            );
            assert_eq!(readers.lost(), 0, "readers that read are not closed");
            let pairs = [(quiet.backend, with.backend), (quiet.page, with.page), (quiet.next, with.next)];
            for ((figures, who), (quiet, with)) in figures.iter_mut().zip(["backend", "page", "next"]).zip(pairs) {
                figures.add(&format!("{}, {who}", self.name), quiet, with);
            }
        }
        figures
    }

    /// Plays it, with the bounds of an echo for the backend and the page, and a second for `next`.
    fn is_borne(&self) {
        let [backend, page, next] = self.play();
        let mut outcomes = backend.hold(&format!("{}, a backend's echo", self.name)).to_vec();
        outcomes.extend(page.hold(&format!("{}, a page's echo", self.name)));
        outcomes.push(holds(&format!("{}, a PHP client's next, worst", self.name), middle(next.worst), SECOND));
        verdict(outcomes);
    }
}

#[test]
fn broadcasts_of_sixteen_senders_to_a_thousand_readers_hold_nobody_up() {
    let message = &masked(true, 1, BROADCAST);
    Scene { name: "16 senders, 1,000 readers", args: &[], readers: 1000, greeting: b"", flooders: 16, message, each: MIB }
        .is_borne();
}

#[test]
fn broadcasts_of_sixteen_senders_to_four_thousand_readers_hold_nobody_up() {
    let message = &masked(true, 1, BROADCAST);
    Scene { name: "16 senders, 4,000 readers", args: &[], readers: 4000, greeting: b"", flooders: 16, message, each: MIB }
        .is_borne();
}

#[test]
fn echoes_at_full_speed_of_sixty_four_clients_hold_nobody_up() {
    let message = &masked(true, 1, br#"{"opcode":"echo"}"#);
    let name = "echoes of 64 clients";
    let scene = Scene { name, args: &[], readers: 0, greeting: b"", flooders: 64, message, each: usize::MAX };
    let [backend, page, next] = scene.play();
    verdict([
        holds(&format!("{name}, a backend's echo, p50"), middle(backend.half), 10 * MS),
        holds(&format!("{name}, a page's echo, p50"), middle(page.half), 10 * MS),
        holds(&format!("{name}, a PHP client's next, worst"), middle(next.worst), SECOND),
    ]);
}

#[test]
fn coming_and_going_in_a_room_that_announces_holds_nobody_up() {
    let frame = |text: &[u8]| masked(true, 1, text);
    let greeting = &frame(br#"{"opcode":"join","room":"r","announce":true}"#);
    let message = &[frame(br#"{"opcode":"leave","room":"r"}"#), greeting.clone()].concat();
    let name = "join and leave, 2,000 members";
    let args = &["--receive-only"];
    let [backend, page, _] = Scene { name, args, readers: 2000, greeting, flooders: 1, message, each: usize::MAX }.play();
    // The page's own is refused here, after its `next`.
    let mut outcomes = backend.hold(&format!("{name}, a backend's echo")).to_vec();
    outcomes.extend(page.hold(&format!("{name}, a page's refused echo")));
    verdict(outcomes);
}

#[test]
fn a_list_of_a_thousand_broadcasts_to_four_thousand_readers_holds_nobody_up() {
    const NAME: &str = "a list of 1,000 broadcasts";
    let lab = Lab::start(&["--ping-interval", "0"]);
    let readers = Swarm::readers(enter(|| lab.connect(), 4000, "/web", "", b""), usize::MAX);
    let mut observers = Observers::of(&lab);
    let list = format!("[{}]", [r#"{"broadcast":true,"message":1}"#; 1000].join(","));
    let (mut backend, mut page) = (Figures::default(), Figures::default());
    for _ in 0..ROUNDS {
        let quiet = observers.watch(QUIET, false);
        let with = std::thread::scope(|scope| {
            let publishing = scope.spawn(|| {
                let start = Instant::now();
                let answer = try_post(lab.addr, "/publish", &list);
                println!("{NAME}: answered with {:?} after {:.1?}", answer.map(|answer| answer.0), start.elapsed());
            });
            let with = observers.watch(FLOOD, false);
            publishing.join().unwrap();
            with
        });
        backend.add(NAME, quiet.backend, with.backend);
        page.add(NAME, quiet.page, with.page);
    }
    assert_eq!(readers.lost(), 0);
    verdict([
        holds(&format!("{NAME}, a backend's echo, worst"), middle(backend.worst), 250 * MS),
        holds(&format!("{NAME}, a page's echo, worst"), middle(page.worst), 250 * MS),
    ]);
}

/// Clients that may come back and whose connection broke.
pub fn away(lab: &Lab, count: usize) -> Vec<String> {
    let before = lab.log_count("goes on as");
    let entered = enter_and_break(lab, count);
    lab.wait_for_log("goes on as", before + count);
    entered
}

fn enter_and_break(lab: &Lab, count: usize) -> Vec<String> {
    const GROUP: usize = 500;
    let mut uuids = Vec::with_capacity(count);
    while uuids.len() < count {
        for (stream, uuid) in enter(|| lab.connect(), GROUP.min(count - uuids.len()), "/web?resume=", "", b"") {
            lab::reset(stream);
            uuids.push(uuid);
        }
    }
    uuids
}

/// The time on the CPU of one of so many, done again until it can be measured.
fn cost(lab: &Lab, each: u32, mut act: impl FnMut()) -> Duration {
    let (before, start, mut count) = (lab.ran(), Instant::now(), 0);
    while count == 0 || lab.ran() - before < 50 * MS && start.elapsed() < SECOND / 2 {
        act();
        count += each;
    }
    (lab.ran() - before) / count
}

#[test]
fn a_broadcast_costs_the_same_whoever_is_away() {
    const AWAY: usize = 10_000;
    const NAME: &str = "10,000 away";
    let args = ["--ping-interval", "0", "--resume-time", "600"];
    let labs = [0, 10, AWAY].map(|count| {
        let lab = Lab::start(&args);
        away(&lab, count);
        lab
    });

    // Time on the CPU, in turns with none away, with a few and with all of them.
    let mut senders = labs.each_ref().map(|lab| (lab, lab.browser()));
    let (mut one_by_one, mut at_once) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
    let packet = std::str::from_utf8(BROADCAST).unwrap();
    for _ in 0..5 {
        for (at, (lab, sender)) in senders.iter_mut().enumerate() {
            one_by_one[at].push(cost(lab, 100, || (0..100).for_each(|_| sender.say(packet))));
            at_once[at].push(cost(lab, 1000, || {
                sender.send(&masked(true, 1, BROADCAST).repeat(1000));
                (0..1000).for_each(|_| assert_eq!(sender.text(), NEXT));
            }));
        }
    }
    drop(senders);
    let mut outcomes = Vec::new();
    for (way, costs, base) in [("one by one", one_by_one, 0), ("at once", at_once, 1)] {
        let costs = costs.map(middle);
        println!("{NAME}: a broadcast {way} takes {costs:.1?} of the CPU with none, 10 and {AWAY} away");
        outcomes.push(holds(&format!("{NAME}, the CPU of a broadcast {way}"), costs[2], costs[base] * 6 / 5));
    }
    let lab = &labs[2];

    // What a burst of them does to others.
    let mut observer = Prober::new(lab.ready_on("/php", ANY).0);
    let mut figures = Figures::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        let quiet = observer.until(MS, Prober::echo, || start.elapsed() >= QUIET);
        let message = masked(true, 1, BROADCAST);
        let flooder = Swarm::flooders(enter(|| lab.connect(), 1, "/web", "", b""), &message, 128 * KIB);
        flooder.flood();
        let start = Instant::now();
        let with = observer.until(MS, Prober::echo, || start.elapsed() >= FLOOD / 2);
        figures.add(NAME, quiet, with);
    }
    outcomes.push(holds(&format!("{NAME}, an echo beside 128 KiB of broadcasts, worst"), middle(figures.worst), 100 * MS));
    verdict(outcomes);
}
