//! Which connections to other workers there are to be: who dials whom and when, which of two is kept, and when a pair counts as
//! cut off. Time is an argument; knows no sockets, tasks and clocks.
//!
//! Either side of a pair may dial, and the one with the lower name decides: it dials at once, the other only a while later, for
//! where the lower one cannot get through. A connection counts when the lower one has said something on it, which it does on
//! one alone. So both use the same one, and neither loses anything to a tie.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use lockstep_net::Pin;
use lockstep_proto::frame::Member;
use lockstep_proto::ids::WorkerId;

/// How long the higher of a pair leaves dialing to the lower.
const SECOND_DIAL_AFTER: Duration = Duration::from_secs(1);

/// First and longest pause after a dial that came to nothing.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// After a connection that lasted this long, pauses begin anew.
const STEADY: Duration = Duration::from_secs(5);

/// A pair without a connection for this long is cut off.
const CUT_OFF_AFTER: Duration = Duration::from_secs(5);

/// Most dials at once; more wait.
const DIALS_MAX: usize = 16;

/// Most connections of a pair that were made and do not count yet.
const MEETINGS_MAX: usize = 2;

/// A connection, or a try at one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Link(u64);

/// Something to be done, in order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Make a connection to this member, and listen on it.
    Dial(Link, Member),
    /// Say something on a connection that was made, and go on with it: it is the one that is used.
    Start(Link, WorkerId),
    /// Greet on a connection that was accepted, so that the other side knows that it was, and listen on it.
    Greet(Link),
    /// Let a connection go.
    Close(Link),
    /// There is a connection with a member.
    Up(WorkerId),
    /// There is none, and why.
    Down(WorkerId, String),
}

/// All connections of one worker.
#[derive(Debug)]
pub(crate) struct Links {
    me: WorkerId,
    /// Whether others may be able to dial this worker.
    listens: bool,
    pairs: BTreeMap<WorkerId, Pair>,
    /// Whose every link is.
    owners: BTreeMap<Link, WorkerId>,
    /// Those that are tries.
    dials: BTreeSet<Link>,
    next: u64,
    outputs: VecDeque<Output>,
}

/// This worker and another.
#[derive(Debug)]
struct Pair {
    member: Member,
    state: State,
    dialing: Option<Link>,
    /// Made, and not yet those that count.
    meeting: Vec<Link>,
    /// When to dial; `None` if that is of no use.
    dial_at: Option<Instant>,
    pause: Duration,
    /// What the last try met.
    met: Option<String>,
}

#[derive(Debug)]
enum State {
    Up {
        link: Link,
        since: Instant,
    },
    /// No connection, and nothing was said of it yet.
    Missing {
        since: Instant,
    },
    CutOff,
    /// It broke the contract: nothing more with this one.
    Shunned,
}

impl Links {
    /// Of a worker with this name.
    pub(crate) fn new(me: WorkerId, listens: bool) -> Links {
        Links {
            me,
            listens,
            pairs: BTreeMap::new(),
            owners: BTreeMap::new(),
            dials: BTreeSet::new(),
            next: 0,
            outputs: VecDeque::new(),
        }
    }

    /// What is to be done next.
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The keys of all others.
    pub(crate) fn pins(&self) -> impl Iterator<Item = Pin> {
        self.pairs.values().map(|pair| Pin(pair.member.key))
    }

    /// The members from now on. Whoever is none any more is let go.
    pub(crate) fn set_roster(&mut self, now: Instant, members: Vec<Member>) {
        let members: BTreeMap<_, _> =
            members.into_iter().map(|member| (member.worker, member)).collect();
        let gone: Vec<WorkerId> = self
            .pairs
            .iter()
            .filter_map(|(&worker, pair)| {
                (members.get(&worker) != Some(&pair.member)).then_some(worker)
            })
            .collect();
        for worker in gone {
            self.let_go(worker, None);
            self.pairs.remove(&worker);
        }
        for (worker, member) in members {
            if worker == self.me || self.pairs.contains_key(&worker) {
                continue;
            }
            let dials_second = self.me > worker && self.listens;
            let wait = if dials_second { SECOND_DIAL_AFTER } else { Duration::ZERO };
            let pair = Pair {
                dial_at: (!member.addresses.is_empty()).then_some(now + wait),
                member,
                state: State::Missing { since: now },
                dialing: None,
                meeting: Vec::new(),
                pause: PAUSE_MIN,
                met: None,
            };
            self.pairs.insert(worker, pair);
        }
        self.work(now);
    }

    /// Somebody who has this key was let in; the name of the connection.
    pub(crate) fn accept(&mut self, now: Instant, key: Pin) -> Option<Link> {
        let found = self.pairs.iter().find(|(_, pair)| pair.member.key == key.0);
        let (&worker, pair) = found?;
        let is_wanted = match &pair.state {
            State::Up { .. } | State::Shunned => false,
            State::Missing { .. } | State::CutOff => pair.meeting.len() < MEETINGS_MAX,
        };
        if !is_wanted {
            return None;
        }
        let link = self.name(worker);
        match self.me < worker {
            true => self.choose(now, worker, link),
            false => {
                self.outputs.push_back(Output::Greet(link));
                self.pair(worker)?.meeting.push(link);
            }
        }
        Some(link)
    }

    /// A dial has led to the member, whose first words are there.
    pub(crate) fn dialed(&mut self, now: Instant, link: Link) {
        self.dials.remove(&link);
        self.hear(now, link);
    }

    /// The first words came on a connection that was accepted.
    pub(crate) fn hear(&mut self, now: Instant, link: Link) {
        let Some(&worker) = self.owners.get(&link) else { return };
        let Some(pair) = self.pair(worker) else { return };
        pair.forget(link);
        match &pair.state {
            State::Up { .. } | State::Shunned => self.close(link),
            State::Missing { .. } | State::CutOff => self.choose(now, worker, link),
        }
    }

    /// A connection is no more, or could not be made, and why.
    pub(crate) fn end(&mut self, now: Instant, link: Link, why: String) {
        let is_dial = self.dials.remove(&link);
        let Some(worker) = self.owners.remove(&link) else { return };
        let Some(pair) = self.pairs.get_mut(&worker) else { return };
        pair.forget(link);
        if is_dial {
            pair.back_off(now);
        }
        if let State::Up { link: up, since } = pair.state
            && up == link
        {
            if now.saturating_duration_since(since) >= STEADY {
                pair.pause = PAUSE_MIN;
            }
            pair.back_off(now);
            pair.state = State::CutOff;
            self.outputs.push_back(Output::Down(worker, why));
        } else {
            pair.met = Some(why);
        }
        self.work(now);
    }

    /// A member said what cannot be said: it is not spoken to any more.
    pub(crate) fn shun(&mut self, worker: WorkerId) {
        self.let_go(worker, Some(State::Shunned));
    }

    /// A member takes nothing: what is queued for it is dropped, and it is dialed anew after a pause.
    pub(crate) fn give_up(&mut self, now: Instant, worker: WorkerId, why: &str) {
        let Some(State::Up { link, .. }) = self.pairs.get(&worker).map(|pair| &pair.state) else {
            return;
        };
        let link = *link;
        self.outputs.push_back(Output::Close(link));
        self.end(now, link, why.to_string());
    }

    /// When to be asked again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let dials = self.dials.len() < DIALS_MAX;
        let times = self.pairs.values().flat_map(|pair| {
            let dial_at = pair.dial_at.filter(|_| dials && pair.dials());
            [dial_at, pair.cut_off_at()]
        });
        times.flatten().min()
    }

    /// The time has come.
    pub(crate) fn time_out(&mut self, now: Instant) {
        self.work(now);
    }

    fn work(&mut self, now: Instant) {
        let Links { pairs, owners, dials, next, outputs, listens, .. } = self;
        for (&worker, pair) in pairs {
            let is_due = pair.dials() && pair.dial_at.is_some_and(|at| at <= now);
            if is_due && dials.len() < DIALS_MAX {
                let link = Link(*next);
                *next += 1;
                dials.insert(link);
                owners.insert(link, worker);
                (pair.dialing, pair.dial_at) = (Some(link), None);
                outputs.push_back(Output::Dial(link, pair.member.clone()));
            }
            let is_hopeless = pair.member.addresses.is_empty() && !*listens;
            let is_missing = matches!(pair.state, State::Missing { .. });
            if is_missing && (is_hopeless || pair.cut_off_at().is_some_and(|at| at <= now)) {
                pair.state = State::CutOff;
                outputs.push_back(Output::Down(worker, pair.why(is_hopeless)));
            }
        }
    }

    fn choose(&mut self, now: Instant, worker: WorkerId, link: Link) {
        let Some(pair) = self.pair(worker) else { return };
        pair.state = State::Up { link, since: now };
        pair.dial_at = None;
        let others: Vec<Link> = pair.meeting.drain(..).chain(pair.dialing.take()).collect();
        self.outputs.push_back(Output::Start(link, worker));
        self.outputs.push_back(Output::Up(worker));
        for other in others {
            self.close(other);
        }
    }

    /// Closes all that leads to a member.
    fn let_go(&mut self, worker: WorkerId, state: Option<State>) {
        let Some(pair) = self.pair(worker) else { return };
        let up = match pair.state {
            State::Up { link, .. } => Some(link),
            _ => None,
        };
        let links: Vec<Link> =
            pair.meeting.drain(..).chain(pair.dialing.take()).chain(up).collect();
        pair.dial_at = None;
        if let Some(state) = state {
            pair.state = state;
        }
        for link in links {
            self.close(link);
        }
    }

    fn close(&mut self, link: Link) {
        self.dials.remove(&link);
        self.owners.remove(&link);
        self.outputs.push_back(Output::Close(link));
    }

    fn name(&mut self, worker: WorkerId) -> Link {
        let link = Link(self.next);
        self.next += 1;
        self.owners.insert(link, worker);
        link
    }

    fn pair(&mut self, worker: WorkerId) -> Option<&mut Pair> {
        self.pairs.get_mut(&worker)
    }
}

impl Pair {
    /// Whether a dial is of use.
    fn dials(&self) -> bool {
        let is_wanted = matches!(self.state, State::Missing { .. } | State::CutOff);
        is_wanted && self.dialing.is_none() && self.meeting.is_empty()
    }

    fn cut_off_at(&self) -> Option<Instant> {
        match self.state {
            State::Missing { since } => Some(since + CUT_OFF_AFTER),
            _ => None,
        }
    }

    fn forget(&mut self, link: Link) {
        self.meeting.retain(|&other| other != link);
        self.dialing.take_if(|dialing| *dialing == link);
    }

    fn back_off(&mut self, now: Instant) {
        self.dial_at = (!self.member.addresses.is_empty()).then_some(now + self.pause);
        self.pause = (2 * self.pause).min(PAUSE_MAX);
    }

    /// Why there is no connection.
    fn why(&self, is_hopeless: bool) -> String {
        match &self.met {
            _ if is_hopeless => "neither of the two can be dialed".to_string(),
            Some(met) => met.clone(),
            None => format!("no connection within {} s", CUT_OFF_AFTER.as_secs()),
        }
    }
}
