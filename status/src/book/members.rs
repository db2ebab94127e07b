//! Of a book: who joins and leaves, and how each member does beside the others.

use super::{Book, GONE_MAX};
use crate::value::{Gone, Member, SPARE, Wait};

/// Most members that are listed.
const MEMBERS_MAX: usize = 1024;

/// A worker is slow whose threads compute fewer rows than this share of the median.
const SLOW_SHARE: f64 = 0.6;

/// A worker is slow, too, that was late so many times in so many seconds.
const LATE_TIMES: usize = 3;
const LATE_SECONDS: f64 = 10.0;

/// Who joined.
#[derive(Clone, Debug, Default)]
pub struct Joined {
    /// Its number.
    pub worker: u64,
    /// Its machine.
    pub host: String,
    /// The address of its machine.
    pub address: Option<String>,
    /// Its process.
    pub pid: u32,
    /// Its threads.
    pub threads: u32,
    /// The number that the same process had before.
    pub was: Option<u64>,
}

/// What a member is doing.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Its number.
    pub worker: u64,
    /// What it is doing, as in [`Member`].
    pub state: &'static str,
    /// The same in words.
    pub reason: String,
    /// For how long.
    pub state_seconds: Option<f64>,
    /// Its shards.
    pub span: Option<(u32, u32)>,
    /// Rows that it computes a second.
    pub rows_per_second: Option<f64>,
    /// Since it joined.
    pub joined_seconds: f64,
}

impl Book {
    /// A worker was let in.
    pub fn joined(&mut self, at: f64, joined: Joined, text: String) {
        self.counts.joined += 1;
        self.refused.clear();
        let Joined { worker, host, address, pid, threads, was } = joined;
        let state = "waiting".to_string();
        let member =
            Member { worker, host, address, pid, threads, was, state, ..Member::default() };
        self.members.insert(worker, member);
        self.event(at, "joined", text);
    }

    /// A worker is gone.
    pub fn left(&mut self, at: f64, worker: u64, cause: &str, reason: &str, text: String) {
        self.counts.lost += 1;
        self.late_at.remove(&worker);
        let host = self.members.remove(&worker).map(|member| member.host).unwrap_or_default();
        if self.gone.len() == GONE_MAX {
            self.gone.pop_front();
        }
        let (cause, reason) = (cause.to_string(), reason.to_string());
        self.gone.push_back(Gone { worker, host, at, step: self.position.step, cause, reason });
        self.event(at, "left", text);
    }

    /// A worker was not let in: it is shown among the waits until one is, or for a while.
    pub fn refused(&mut self, at: f64, peer: String, text: String) {
        self.counts.refused += 1;
        let wait = Wait {
            what: text.clone(),
            stage: "joining".to_string(),
            peer: Some(peer.clone()),
            seconds: 0.0,
            limit_seconds: None,
            remedy: "start that worker again with what this run wants; the run goes on without it"
                .to_string(),
        };
        self.refused.retain(|(_, before)| before.peer.as_ref() != Some(&peer));
        if self.refused.len() == 8 {
            self.refused.pop_front();
        }
        self.refused.push_back((at, wait));
        self.event(at, "refused", text);
    }

    /// A span was late, and was dealt to others as well.
    pub fn hedged(&mut self, at: f64, worker: u64, text: String) {
        self.counts.hedged += 1;
        if let Some(member) = self.members.get_mut(&worker) {
            member.hedged += 1;
            let late_at = self.late_at.entry(worker).or_default();
            late_at.push_back(at);
            if late_at.len() > LATE_TIMES {
                late_at.pop_front();
            }
        }
        self.event(at, "hedged", text);
    }

    /// Microbatches are computed again.
    pub fn dealt_again(&mut self, at: f64, microbatches: u64, text: String) {
        self.counts.dealt_again += microbatches;
        self.event(at, "dealt_again", text);
    }

    /// The members, with where their time goes; one that is slower than the others is called so. Of spare ones nothing is known: what
    /// they did is over.
    pub(super) fn members(&self, at: f64) -> Vec<Member> {
        let times = self.strip.times();
        let pace =
            |member: &Member| Some(member.rows_per_second? / f64::from(member.threads.max(1)));
        let at_work = self.members.values().filter(|member| member.state != SPARE);
        let mut paces: Vec<f64> = at_work.filter_map(pace).collect();
        paces.sort_by(f64::total_cmp);
        let median = paces.get(paces.len() / 2).copied();
        let shown = |member: &Member| {
            let mut member = member.clone();
            if member.state == SPARE {
                member.rows_per_second = None;
                return member;
            }
            let Some(times) = times.get(&member.worker) else { return member };
            member.computing = Some(times.computing);
            member.sending = Some(times.sending);
            member.waiting = Some(times.waiting);
            member.lag = times.lag;
            let is_at_work = matches!(member.state.as_str(), "computing" | "idle");
            let share = pace(&member).zip(median).map(|(own, median)| own / median);
            if let Some(share) = share.filter(|&share| is_at_work && share < SLOW_SHARE) {
                member.reason = format!(
                    "a thread of it computes {:.0} % of the rows that others' do: it is busy with something else, or slower",
                    100.0 * share
                );
                member.state = "slow".to_string();
            } else if is_at_work && self.is_often_late(member.worker, at) {
                member.reason = format!(
                    "it was late {LATE_TIMES} times or more in the last {LATE_SECONDS:.0} s, and others computed the same"
                );
                member.state = "slow".to_string();
            } else if let Some(lag) = times.lag.filter(|_| is_at_work && times.is_slow) {
                member.reason = format!("its answers take {lag:.1} times as long as the median");
                member.state = "slow".to_string();
            }
            member
        };
        self.members.values().take(MEMBERS_MAX).map(shown).collect()
    }

    fn is_often_late(&self, worker: u64, at: f64) -> bool {
        let late_at = self.late_at.get(&worker);
        late_at
            .is_some_and(|late_at| late_at.len() == LATE_TIMES && at - late_at[0] <= LATE_SECONDS)
    }
}
