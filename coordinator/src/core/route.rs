//! Which chunk has which home. Pure: what is known of the members goes in, a route and the reason for it come out.
//!
//! A route is chosen between two passes, of workers that others can reach, with equal shares. Inside a pass chunks only ever
//! come back to the coordinator. Sends nothing and adds nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use lockstep_proto::frame::Route;
use lockstep_proto::ids::{Chunk, Pass, WorkerId};
use lockstep_proto::layout::Layout;
use lockstep_proto::values::Precision;

use super::INLINE_BYTES_MAX;
use crate::spec::Homes;

/// A worker whose sums were late is home to nothing for so long, and twice as long each time that it happens again.
const REST_MIN: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(600);

/// One alone would be sent all that the coordinator would be.
const ELSEWHERE_MIN: usize = 2;

/// What a choice depends on.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) homes: Homes,
    /// Whether all weights together are few.
    pub(super) is_small: bool,
    /// Whether workers' results are compared: the coordinator has to see them.
    pub(super) is_audited: bool,
    pub(super) members: Vec<Fact>,
}

/// A member, as a choice sees it.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) worker: WorkerId,
    /// It is on the coordinator's machine, and shares memory with it.
    pub(super) shares: bool,
    /// Its sums were late.
    pub(super) rests: bool,
    /// How many others it can exchange messages with.
    pub(super) reached: usize,
}

/// Why the coordinator adds up everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Star {
    Off,
    Audited,
    Small,
    OneMachine,
    FewElsewhere,
    Unreached,
    Slower,
}

impl Star {
    /// Before anybody takes part.
    pub(super) fn at_first(homes: Homes, is_small: bool, is_audited: bool) -> Star {
        check(homes, is_small, is_audited).err().unwrap_or(Star::OneMachine)
    }
}

impl fmt::Display for Star {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Star::Off => "`cluster.homes` is off",
            Star::Audited => "results are compared",
            Star::Small => "the network is small",
            Star::OneMachine => "no worker is on another machine",
            Star::FewElsewhere => "fewer than 2 workers are on other machines",
            Star::Unreached => "workers cannot reach each other",
            Star::Slower => "workers were not found to be faster",
        })
    }
}

/// The workers that are to be homes, in order.
///
/// # Errors
/// Why there are none.
pub(super) fn choose(facts: &Facts) -> Result<Vec<WorkerId>, Star> {
    let is_auto = facts.homes == Homes::Auto;
    check(facts.homes, facts.is_small, facts.is_audited)?;
    let elsewhere: Vec<&Fact> = facts.members.iter().filter(|member| !member.shares).collect();
    if elsewhere.is_empty() {
        return Err(Star::OneMachine);
    }
    if is_auto && elsewhere.len() < ELSEWHERE_MIN {
        return Err(Star::FewElsewhere);
    }
    // What one of them cannot exchange with a home goes through the coordinator: not to be the rule.
    let others = elsewhere.len() - 1;
    let is_fit =
        |member: &&&Fact| !member.rests && member.reached > 0 && 2 * member.reached >= others;
    let homes: Vec<WorkerId> =
        elsewhere.iter().filter(is_fit).map(|member| member.worker).collect();
    if homes.is_empty() { Err(Star::Unreached) } else { Ok(homes) }
}

/// Whether there may be homes at all, whoever takes part.
fn check(homes: Homes, is_small: bool, is_audited: bool) -> Result<(), Star> {
    match homes {
        Homes::Off => Err(Star::Off),
        _ if is_audited => Err(Star::Audited),
        Homes::Auto if is_small => Err(Star::Small),
        Homes::Auto | Homes::On => Ok(()),
    }
}

fn check_before(
    homes: Homes,
    audit_fraction: f64,
    layout: &Layout,
    precision: Precision,
) -> Result<(), Star> {
    let is_small = layout.len() * precision.width() <= INLINE_BYTES_MAX;
    check(homes, is_small, audit_fraction > 0.0)
}

/// Whether a run may have homes, as far as that is known before anybody takes part.
pub fn may_have_homes(
    homes: Homes,
    audit_fraction: f64,
    layout: &Layout,
    precision: Precision,
) -> bool {
    check_before(homes, audit_fraction, layout, precision).is_ok()
}

/// Who adds up the gradients of such a run, in words.
pub fn who_may_add(
    homes: Homes,
    audit_fraction: f64,
    layout: &Layout,
    precision: Precision,
) -> String {
    match check_before(homes, audit_fraction, layout, precision) {
        Err(star) => format!("the coordinator: {star}"),
        Ok(()) if homes == Homes::Auto => {
            "the coordinator or, where at least 2 are on other machines and that is faster, workers"
                .to_string()
        }
        Ok(()) => "workers that reach each other".to_string(),
    }
}

/// A home for each chunk: neighbouring chunks at different ones, so that all are sent to at once, and about as many bytes each.
pub(super) fn spread(sizes: &[usize], homes: &[WorkerId]) -> Vec<Option<WorkerId>> {
    let mut loads: BTreeSet<(usize, usize)> = (0..homes.len()).map(|place| (0, place)).collect();
    let mut spread = vec![None; sizes.len()];
    for (chunk, size) in sizes.iter().enumerate().rev() {
        let Some((load, place)) = loads.pop_first() else { break };
        spread[chunk] = Some(homes[place]);
        loads.insert((load + size, place));
    }
    spread
}

/// See the file's text.
#[derive(Debug)]
pub(super) struct Router {
    /// By chunk: values in a frame.
    sizes: Vec<usize>,
    /// Who said of whom that they can exchange messages.
    up: BTreeSet<(WorkerId, WorkerId)>,
    /// Until when those rest whose sums were late, and how often they did.
    rests: BTreeMap<WorkerId, (Instant, u32)>,
    route: Route,
    /// The homes that the pass in hand began with.
    first: Vec<Option<WorkerId>>,
    /// What the newest route was chosen of.
    chosen: Vec<WorkerId>,
}

impl Router {
    pub(super) fn new(sizes: Vec<usize>) -> Router {
        Router {
            sizes,
            up: BTreeSet::new(),
            rests: BTreeMap::new(),
            route: Route::default(),
            first: Vec::new(),
            chosen: Vec::new(),
        }
    }

    /// The newest route; number 0 before there is any.
    pub(super) fn route(&self) -> &Route {
        &self.route
    }

    /// How many workers are homes, unless chunks were recalled.
    pub(super) fn chosen(&self) -> usize {
        self.chosen.len()
    }

    /// A member says whether it can exchange messages with another. Whether that is new.
    pub(super) fn reach(&mut self, worker: WorkerId, other: WorkerId, is_up: bool) -> bool {
        if is_up { self.up.insert((worker, other)) } else { self.up.remove(&(worker, other)) }
    }

    /// Whether a member sends to another what is for it.
    pub(super) fn sends_to(&self, worker: WorkerId, other: WorkerId) -> bool {
        worker == other || self.up.contains(&(worker, other))
    }

    /// Whether both say that they can exchange messages.
    pub(super) fn exchange(&self, one: WorkerId, other: WorkerId) -> bool {
        self.up.contains(&(one, other)) && self.up.contains(&(other, one))
    }

    /// A member is gone.
    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.up.retain(|&(one, other)| one != worker && other != worker);
        self.rests.remove(&worker);
    }

    /// A member's sums were late.
    pub(super) fn rest(&mut self, now: Instant, worker: WorkerId) {
        let times = self.rests.get(&worker).map_or(0, |&(_, times)| times);
        let rest = REST_MIN.saturating_mul(1 << times.min(16)).min(REST_MAX);
        self.rests.insert(worker, (now + rest, times + 1));
    }

    pub(super) fn rests(&self, now: Instant, worker: WorkerId) -> bool {
        self.rests.get(&worker).is_some_and(|&(until, _)| now < until)
    }

    /// A training pass begins, with these homes. The route that is to be told, if it is another than before.
    pub(super) fn begin(&mut self, pass: Pass, homes: Vec<WorkerId>) -> Option<&Route> {
        // Some of it may have been recalled.
        let is_whole = match homes.is_empty() {
            true => self.route.homes.iter().all(Option::is_none),
            false => self.route.homes.iter().all(Option::is_some),
        };
        if homes == self.chosen && is_whole {
            self.first.clone_from(&self.route.homes);
            return None;
        }
        let spread = if homes.is_empty() { Vec::new() } else { spread(&self.sizes, &homes) };
        self.chosen = homes;
        self.first.clone_from(&spread);
        self.route = Route { number: self.route.number + 1, from: pass, homes: spread };
        Some(&self.route)
    }

    /// Another pass begins, in which nothing has a home.
    pub(super) fn begin_other(&mut self) {
        self.first.clear();
    }

    /// Gives chunks of the pass in hand back to the coordinator. The route that is to be told, if that changes anything.
    pub(super) fn recall(
        &mut self,
        pass: Pass,
        is_meant: impl Fn(Chunk, WorkerId) -> bool,
    ) -> Option<&Route> {
        let mut homes = self.route.homes.clone();
        for (chunk, home) in homes.iter_mut().enumerate() {
            *home = home.filter(|&home| !is_meant(Chunk(chunk as u32), home));
        }
        if self.first.is_empty() || homes == self.route.homes {
            return None;
        }
        self.route = Route { number: self.route.number + 1, from: pass, homes };
        Some(&self.route)
    }

    /// Whether a worker is or was home to a chunk in the pass in hand.
    pub(super) fn was_home(&self, worker: WorkerId, chunk: Chunk) -> bool {
        self.first.get(chunk.0 as usize) == Some(&Some(worker))
    }

    /// The home of a chunk in the pass in hand, if that is a worker.
    pub(super) fn home(&self, chunk: Chunk) -> Option<WorkerId> {
        self.first.get(chunk.0 as usize)?;
        self.route.homes.get(chunk.0 as usize).copied().flatten()
    }

    /// The workers that are home to any chunk in the pass in hand.
    pub(super) fn homes(&self) -> BTreeSet<WorkerId> {
        match self.first.is_empty() {
            true => BTreeSet::new(),
            false => self.route.homes.iter().copied().flatten().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(homes: Homes, members: &[(u64, bool, usize)]) -> Facts {
        let members = members.iter().map(|&(worker, shares, reached)| Fact {
            worker: WorkerId(worker),
            shares,
            rests: false,
            reached,
        });
        Facts { homes, is_small: false, is_audited: false, members: members.collect() }
    }

    fn names(workers: &[u64]) -> Vec<WorkerId> {
        workers.iter().copied().map(WorkerId).collect()
    }

    #[test]
    fn homes_are_workers_on_other_machines_that_are_reached() {
        let four = [(1, false, 2), (2, false, 2), (3, false, 2), (4, true, 0)];
        let found = facts(Homes::Auto, &four);
        assert_eq!(choose(&found), Ok(names(&[1, 2, 3])));
        for (altered, why) in [
            (Facts { homes: Homes::Off, ..found.clone() }, Star::Off),
            (Facts { is_audited: true, ..found.clone() }, Star::Audited),
            (Facts { is_small: true, ..found.clone() }, Star::Small),
            (facts(Homes::Auto, &four[2..]), Star::FewElsewhere),
            (facts(Homes::On, &four[3..]), Star::OneMachine),
            (facts(Homes::On, &[]), Star::OneMachine),
            (facts(Homes::On, &[(1, false, 0), (2, false, 0)]), Star::Unreached),
        ] {
            assert_eq!(choose(&altered), Err(why), "{why}");
        }
        assert_eq!(
            choose(&Facts { homes: Homes::On, is_small: true, ..found }),
            Ok(names(&[1, 2, 3]))
        );
        let few = [(1, false, 3), (2, false, 1), (3, false, 2), (4, false, 3)];
        let mut few = facts(Homes::Auto, &few);
        assert_eq!(choose(&few), Ok(names(&[1, 3, 4])));
        few.members[3].rests = true;
        assert_eq!(choose(&few), Ok(names(&[1, 3])));
    }

    #[test]
    fn shares_are_equal_and_neighbours_apart() {
        let homes = names(&[5, 6, 7]);
        let spread = spread(&[10; 9], &homes);
        for home in homes {
            assert_eq!(spread.iter().filter(|of| **of == Some(home)).count(), 3);
        }
        assert!(spread.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_route_is_told_when_it_changes_and_recalled_chunks_come_back_in_the_next_pass() {
        let mut router = Router::new(vec![8; 4]);
        let two = || names(&[1, 2]);
        assert_eq!(router.begin(Pass(0), Vec::new()), None);
        let route = router.begin(Pass(1), two()).expect("another");
        assert_eq!((route.number, route.from), (1, Pass(1)));
        assert_eq!(router.begin(Pass(2), two()), None);
        assert_eq!(router.homes(), BTreeSet::from([WorkerId(1), WorkerId(2)]));
        let chunk = Chunk(0);
        let home = router.home(chunk).expect("a worker");
        let route = router.recall(Pass(2), |of, _| of == chunk).expect("another").clone();
        assert_eq!((route.number, route.home(Pass(2), chunk)), (2, None));
        assert!(router.recall(Pass(2), |of, _| of == chunk).is_none());
        assert!(router.was_home(home, chunk) && router.home(chunk).is_none());
        assert_eq!(router.begin(Pass(3), two()).map(|route| route.number), Some(3));
        assert!(router.home(chunk).is_some());
        router.recall(Pass(3), |_, _| true).expect("another");
        assert_eq!(router.begin(Pass(4), Vec::new()).map(|route| route.number), Some(5));
        assert_eq!(router.begin(Pass(5), Vec::new()), None);
        router.begin_other();
        assert!(router.homes().is_empty() && router.home(chunk).is_none());
    }

    #[test]
    fn whoever_was_late_rests_longer_each_time() {
        let (mut router, now, worker) = (Router::new(Vec::new()), Instant::now(), WorkerId(1));
        assert!(!router.rests(now, worker));
        router.rest(now, worker);
        assert!(router.rests(now, worker) && !router.rests(now + REST_MIN, worker));
        router.rest(now, worker);
        assert!(router.rests(now + REST_MIN, worker));
        (0..99).for_each(|_| router.rest(now, worker));
        assert!(!router.rests(now + REST_MAX, worker));
    }
}
