//! What each message must have become, and what it became.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::{Duration, Instant};

use super::excuses::Excuse;
use super::members::Member;
use super::publishers::{Sent, To, Told, told};
use super::rooms_of;
use super::world::World;

pub const COLUMNS: [&str; 8] = ["lost", "doubled", "order", "answers", "presence", "cseq", "receipts", "page"];
/// Places of the columns.
const LOST: usize = 0;
const DOUBLED: usize = 1;
const ORDER: usize = 2;
const ANSWERS: usize = 3;
const PRESENCE: usize = 4;
const CSEQ: usize = 5;
const RECEIPTS: usize = 6;
const PAGE: usize = 7;
/// Failures of a column that are told in full.
const TOLD_IN_FULL: usize = 2;
/// How long a process may take to find out, and to make good.
const A_WHILE: Duration = Duration::from_secs(12);

/// Where each message was got: page, identity, place.
type Got<'a> = HashMap<(usize, u64), Vec<(usize, &'a str, usize)>>;

/// One line of the table.
pub struct Row {
    pub seed: u64,
    sent: usize,
    received: usize,
    world: usize,
    columns: [usize; 8],
    pub excused: BTreeMap<Excuse, usize>,
}

impl Row {
    pub fn faults(&self) -> usize {
        self.columns.iter().sum()
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { seed, sent, received, world, columns, excused } = self;
        write!(f, "| {seed} | {sent} | {received} | {world} |")?;
        columns.iter().try_for_each(|column| write!(f, " {column} |"))?;
        let excused: Vec<String> = excused.iter().map(|(excuse, count)| format!("{excuse:?} {count}")).collect();
        write!(f, " {} |", excused.join(", "))
    }
}

struct Judge<'a> {
    world: &'a World,
    members: &'a [Member],
    row: Row,
    got: Got<'a>,
    /// The newest value of a key that each page got, by sender.
    newest: HashMap<(usize, usize, &'a str), u64>,
}

pub fn judge<'a>(seed: u64, world: &'a World, members: &'a [Member], sent: &'a [Sent], presence: Vec<String>) -> Row {
    let mut got = Got::new();
    for member in members {
        for (place, uuid, sender, number, text) in member.got() {
            if text["opcode"] != "receipt" {
                got.entry((sender as usize, number)).or_default().push((member.number, uuid, place));
            }
        }
    }
    let received = got.values().map(Vec::len).sum();
    let row = Row { seed, sent: sent.len(), received, world: world.history.len(), columns: [0; 8], excused: BTreeMap::new() };
    let mut newest = HashMap::new();
    for message in sent {
        for (key, (page, ..)) in message
            .key
            .iter()
            .flat_map(|key| got.get(&(message.sender, message.number)).into_iter().flatten().map(move |got| (key, got)))
        {
            let newest: &mut u64 = newest.entry((*page, message.sender, &**key)).or_default();
            *newest = message.number.max(*newest);
        }
    }
    let mut judge: Judge<'a> = Judge { world, members, row, got, newest };
    for problem in presence {
        judge.fails(PRESENCE, &problem, None, None);
    }
    for member in members {
        for wrong in &member.page.wrong {
            judge.fails(PAGE, &format!("page {}: {wrong}", member.number), Some(member), None);
        }
    }
    let told: Vec<Told> = sent.iter().map(|message| judge.receipt(message)).collect();
    for (message, told) in sent.iter().zip(&told) {
        judge.message(message, told);
    }
    let told = sent.iter().map(|message| (message.sender, message.number)).zip(told).collect();
    judge.orders(sent, &told);
    judge.row
}

impl<'a> Judge<'a> {
    fn fails(&mut self, column: usize, what: &str, page: Option<&Member>, message: Option<&Sent>) {
        self.row.columns[column] += 1;
        if self.row.columns[column] <= TOLD_IN_FULL {
            println!("\nseed {}, {}: {what}", self.row.seed, COLUMNS[column]);
            self.tell(page, message);
        }
    }

    /// What the page and the message lived through.
    fn tell(&self, page: Option<&Member>, message: Option<&Sent>) {
        let Some(begin) = self.world.history.first().map(|(time, _)| *time - Duration::from_secs(1)) else { return };
        let ms = |time: Instant| time.saturating_duration_since(begin).as_millis();
        let wrong = page.and_then(|page| page.page.notes.iter().flatten().find(|(_, note)| note.starts_with("WRONG")));
        let wrong = wrong.map(|(time, _)| *time - Duration::from_secs(3)..*time + Duration::from_millis(100));
        let around = message
            .map(|message| message.sent - Duration::from_millis(1500)..message.answered + Duration::from_secs(6))
            .or(wrong);
        let is_near = |time: &Instant| around.as_ref().is_none_or(|around| around.contains(time));
        let mut lines: Vec<(Instant, String)> = Vec::new();
        if let Some(message) = message {
            lines.push((message.sent, format!("-- sender {} sends message {}", message.sender, message.number)));
            lines.push((message.answered, format!("-- answered {:?}: {}", message.told, message.how)));
        }
        lines.extend(
            self.world.history.iter().filter(|(time, _)| is_near(time)).map(|(time, what)| (*time, format!("** {what}"))),
        );
        let of_message = message.map(|message| (format!(r#""s":{},"n":{}"#, message.sender, message.number), message.sender));
        for (time, note) in page.iter().flat_map(|page| page.page.notes.iter().flatten()) {
            let is_message = note.starts_with('{') && !note.contains(r#""opcode":"ready""#);
            let is_it = of_message.as_ref().is_some_and(|(text, _)| {
                note.find(&**text).is_some_and(|at| !note[at + text.len()..].starts_with(|next: char| next.is_ascii_digit()))
            });
            if is_it || !is_message && is_near(time) && !note.starts_with("says") || note.starts_with("WRONG") {
                lines.push((*time, format!("page {}: {note}", page.map_or(0, |page| page.number))));
            }
        }
        lines.sort_by_key(|(time, _)| *time);
        lines.iter().take(80).for_each(|(time, line)| println!("{:>7} ms  {line}", ms(*time)));
    }

    fn excuse(&mut self, excuse: Excuse) {
        *self.row.excused.entry(excuse).or_default() += 1;
    }

    /// What was said of a message, where a receipt said it.
    fn receipt(&mut self, message: &Sent) -> Told {
        let Some(member) = self.members.iter().find(|member| member.number == message.sender) else {
            return message.told.clone();
        };
        let is_receipt = |text: &&serde_json::Value| text["opcode"] == "receipt" && text["receipt"] == message.number;
        let receipts: Vec<_> = member.page.got.iter().filter(is_receipt).collect();
        let missing = match (&message.told, &message.to) {
            (Told::Later, _) => receipts.is_empty(),
            (_, To::Itself) => !self.got.contains_key(&(message.sender, message.number)),
            _ => return message.told.clone(),
        };
        if missing {
            match self.may_lack(member, message) {
                Some(excuse) => self.excuse(excuse),
                None => self.fails(RECEIPTS, &format!("page {} lacks its answer", member.number), Some(member), Some(message)),
            }
        }
        if receipts.len() > 1 {
            self.fails(DOUBLED, &format!("page {} got a receipt twice", member.number), Some(member), Some(message));
        }
        receipts.first().map_or(Told::Nothing, |text| told(text["status"].as_u64().unwrap_or_default() as u16, text))
    }

    /// Why a page may lack a message of that time.
    fn may_lack(&self, member: &Member, message: &Sent) -> Option<Excuse> {
        let page = &member.page;
        for ((time, ..), standing) in page.readies.iter().zip(&page.standings) {
            match &**standing {
                "gap" if *time >= message.sent => return Some(Excuse::ToldOfGap),
                "lost" if *time >= message.sent => return Some(Excuse::ToldLost),
                _ => {}
            }
        }
        let until = message.answered + Duration::from_secs(5);
        let broke = |time: &Instant| (message.sent..until).contains(time);
        if page.is_plain && member.offs.iter().any(broke) {
            return Some(Excuse::PlainConnectionBroke);
        }
        let key = (member.number, message.sender, message.key.as_deref()?);
        (self.newest.get(&key)? > &message.number).then_some(Excuse::KeyReplaced)
    }

    /// Whether a message is for a page: it was the one that was meant, and a member, as the message was sent.
    fn is_for(member: &Member, message: &Sent) -> bool {
        let page = &member.page;
        let Some(ready) = page.readies.iter().rposition(|(time, ..)| *time <= message.sent) else { return false };
        let is_connected = !page.is_plain || {
            let is_off = |time: &Instant| *time > page.readies[ready].0 && *time <= message.sent;
            !member.offs.iter().any(is_off)
        };
        // Since it is this client.
        let since = (0..=ready).rev().find(|at| !matches!(&*page.standings[*at], "resumed" | "gap")).unwrap_or_default();
        let has_joined = member.joined.iter().any(|time| (page.readies[since].0..message.sent).contains(time));
        let is_other = member.number != message.sender;
        is_connected
            && match &message.to {
                To::Page(number, uuid) => *number == member.number && page.readies[ready].1 == *uuid,
                To::All => is_other && has_joined,
                To::Room(room) => is_other && has_joined && rooms_of(member.number).contains(room),
                To::Itself => !is_other,
            }
    }

    /// Whether it would be for a page, were that there all the time.
    fn may_be_for(member: &Member, message: &Sent) -> bool {
        let is_meant = match &message.to {
            To::All => true,
            To::Room(room) => rooms_of(member.number).contains(room),
            To::Page(..) | To::Itself => false,
        };
        is_meant && member.number != message.sender
    }

    fn is_after_empty(&self, message: &Sent) -> bool {
        let is_soon = |empty: &Instant| message.answered >= *empty && message.sent < *empty + A_WHILE;
        self.world.empty.iter().any(is_soon)
    }

    fn message(&mut self, message: &Sent, told: &Told) {
        let got = self.got.get(&(message.sender, message.number)).cloned().unwrap_or_default();
        self.doubled(message, &got);
        if message.to == To::Itself {
            return;
        }
        let (mut reached, mut vague) = (0, 0);
        for member in self.members {
            let has = got.iter().any(|(page, ..)| *page == member.number);
            reached += usize::from(has);
            if !Judge::is_for(member, message) {
                vague += usize::from(has || Judge::may_be_for(member, message));
                continue;
            }
            let lack = self.may_lack(member, message);
            vague += usize::from(lack.is_some());
            match (has, told, lack) {
                (true, ..) => {}
                (false, Told::Counts(_), Some(excuse)) => self.excuse(excuse),
                (false, Told::Counts(0), None) if self.is_after_empty(message) => self.excuse(Excuse::EmptyRedisFills),
                (false, Told::Counts(_), None) if matches!(message.to, To::All | To::Room(_)) && self.is_after_empty(message) => {
                    self.excuse(Excuse::EmptyRedisFills);
                }
                (false, Told::Counts(_), None) => {
                    let what = format!("page {} never got message {} of {}", member.number, message.number, message.sender);
                    self.fails(LOST, &what, Some(member), Some(message));
                }
                (false, Told::Unknown, _) => self.excuse(Excuse::ToldUnknown),
                (false, Told::NotFound, _) => self.not_found(member, message),
                (false, ..) => {}
            }
        }
        match told {
            Told::NotFound if reached > 0 && matches!(message.to, To::Page(..)) => {
                let member = self.members.iter().find(|member| got.iter().any(|(page, ..)| *page == member.number));
                self.fails(ANSWERS, "404, and the page got it", member, Some(message));
            }
            Told::Counts(count) if vague == 0 && *count != reached => self.miscounted(message, *count, reached),
            Told::Counts(count) if *count != reached => self.excuse(Excuse::JustCame),
            _ => {}
        }
    }

    /// A page that is there was not found.
    fn not_found(&mut self, member: &Member, message: &Sent) {
        if self.is_after_empty(message) {
            self.excuse(Excuse::EmptyRedisFills);
        } else if self.may_lack(member, message).is_some() {
            self.excuse(if member.page.is_plain { Excuse::PlainIsGone } else { Excuse::ToldLost });
        } else {
            self.fails(ANSWERS, &format!("404, and page {} is there", member.number), Some(member), Some(message));
        }
    }

    fn miscounted(&mut self, message: &Sent, count: usize, reached: usize) {
        let lost =
            |member: &&Member| member.page.standings.iter().any(|standing| standing == "lost") || !member.lost_unread.is_empty();
        // A page that is lost, or was told so and did not hear it, leaves an old identity behind.
        let old =
            self.members.iter().filter(lost).map(|member| member.page.standings.len() + member.lost_unread.len()).sum::<usize>();
        let is_soon = |time: &Instant| *time + A_WHILE > message.sent && *time < message.answered;
        let plain_broke = self.members.iter().any(|member| member.page.is_plain && member.offs.iter().any(is_soon));
        if self.is_after_empty(message) {
            self.excuse(Excuse::EmptyRedisFills);
        } else if count > reached && (count - reached <= old || plain_broke) {
            self.excuse(Excuse::OldIdentity);
        } else {
            let what = format!("{count} delivered or queued, {reached} got it, message {} of {}", message.number, message.sender);
            let page =
                self.members.iter().find(|member| Judge::is_for(member, message) && count < reached && !member.page.is_plain);
            self.fails(ANSWERS, &what, page, Some(message));
        }
    }

    fn doubled(&mut self, message: &Sent, got: &[(usize, &'a str, usize)]) {
        for member in self.members {
            let mine: Vec<_> = got.iter().filter(|(page, ..)| *page == member.number).collect();
            let mut identities: Vec<&str> = mine.iter().map(|(_, uuid, _)| *uuid).collect();
            identities.sort_unstable();
            identities.dedup();
            let is_sender = |member: &&Member| member.number == message.sender;
            let is_resent = self.members.iter().find(is_sender).is_some_and(|sender| sender.resent.contains(&message.number));
            let what =
                format!("page {} got message {} of {}, {} times", member.number, message.number, message.sender, mine.len());
            match (mine.len() - identities.len(), identities.len() > 1, is_resent) {
                (0, false, _) => {}
                (_, _, true) => self.fails(CSEQ, &what, Some(member), Some(message)),
                // As another client it may get it again: what it was before was lost.
                (0, true, false) => self.excuse(Excuse::ToldLost),
                _ if message.key.is_some() => self.excuse(Excuse::KeyTwice),
                _ => self.fails(DOUBLED, &what, Some(member), Some(message)),
            }
        }
    }

    /// What one sender sent comes in its order. A keyed message may take the place of an older one, so that only its own
    /// key has an order.
    fn orders(&mut self, sent: &'a [Sent], told: &HashMap<(usize, u64), Told>) {
        let by_number: HashMap<(usize, u64), &Sent> = sent.iter().map(|sent| ((sent.sender, sent.number), sent)).collect();
        for member in self.members {
            let mut last: HashMap<(usize, &str, Option<&str>), &Sent> = HashMap::new();
            for (_, uuid, sender, number, text) in member.got() {
                let id = (sender as usize, number);
                let Some(message) = by_number.get(&id).copied().filter(|message| message.to != To::Itself) else { continue };
                if text["opcode"] == "receipt" {
                    continue;
                }
                let place = last.entry((id.0, uuid, message.key.as_deref())).or_insert(message);
                if place.number <= number {
                    *place = message;
                    continue;
                }
                let (newer, what) = (*place, format!("page {} got {number} behind {} of {sender}", member.number, place.number));
                // Of a key the older value must not come later, whatever was said of the newer one.
                let of_both = [message, newer].map(|message| told.get(&(message.sender, message.number)));
                let vague = if message.key.is_some() { &of_both[..1] } else { &of_both[..] };
                if vague.contains(&Some(&Told::Unknown)) {
                    self.excuse(Excuse::ToldUnknown);
                } else if vague.contains(&Some(&Told::Nothing)) {
                    self.excuse(Excuse::NothingAsked);
                } else {
                    self.fails(ORDER, &what, Some(member), Some(message));
                }
            }
        }
    }
}
