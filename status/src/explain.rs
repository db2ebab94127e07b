//! Why a run takes as long as it does, from what was measured: a pure function of its status, and the one place where such words are
//! made. Says nothing of what does not stand out, nor of runs that are over before anybody would ask.

use std::collections::BTreeSet;

use crate::value::{Member, SPARE, Status};

/// A run says nothing of itself before it has trained for so long, in so many of the passes that are looked back at.
const SECONDS_MIN: f64 = 10.0;
const PASSES_MIN: usize = 20;

/// A share of the time stands out from here on.
const SHARE_MIN: f64 = 0.15;

/// A worker is waited for whose answers take so many times as long as the median.
const LAG_MIN: f64 = 1.5;

/// Steps that are shorter than this are hardly worth sharing.
const SHORT_SECONDS: f64 = 0.005;

/// What stands out in a run, the largest first.
pub(crate) fn explained(status: &Status) -> Vec<String> {
    let passes = &status.strip.seconds;
    if status.now.seconds < SECONDS_MIN || passes.len() < PASSES_MIN || status.members.len() < 2 {
        return Vec::new();
    }
    let is_at_work = |member: &&Member| member.computing.is_some() && member.state != SPARE;
    let members: Vec<&Member> = status.members.iter().filter(is_at_work).collect();
    if members.is_empty() {
        return Vec::new();
    }
    let step = passes.iter().sum::<f64>() / passes.len() as f64;
    let spare = status.members.iter().filter(|member| member.state == SPARE).count();
    if spare > 0 && members.len() == 1 {
        // It waits for nobody.
        return vec![spared(step, spare, status.members.len())];
    }
    let mean = |of: fn(&Member) -> Option<f64>| {
        members.iter().filter_map(|member| of(member)).sum::<f64>() / members.len() as f64
    };
    let waiting = mean(|member| member.waiting);
    let sending = mean(|member| member.sending);
    let mut found: Vec<(f64, String)> = Vec::new();
    if waiting >= SHARE_MIN {
        found.push((waiting, waits(waiting, &members)));
    }
    if sending >= SHARE_MIN {
        found.push((sending, sends(sending, status)));
    }
    let lost = waiting + sending;
    if spare > 0 {
        found.push((1.0, spared(step, spare, status.members.len())));
    } else if step < SHORT_SECONDS && lost >= 0.5 {
        found.push((lost, too_short(step, lost, members.len())));
    }
    if let Some(idle) = without_shards(status) {
        found.push((1.0, idle));
    }
    found.sort_by(|one, other| other.0.total_cmp(&one.0));
    found.into_iter().map(|(_, text)| text).collect()
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn waits(share: f64, members: &[&Member]) -> String {
    let lag = |member: &&&Member| member.lag.unwrap_or(0.0);
    let slowest = members.iter().max_by(|a, b| lag(a).total_cmp(&lag(b)));
    let Some(slowest) = slowest.filter(|member| lag(member) >= LAG_MIN) else {
        return format!(
            "{} of the workers' time goes into waiting for each other and the coordinator",
            percent(share)
        );
    };
    let times = lag(&slowest);
    let mut paces: Vec<f64> = members
        .iter()
        .filter(|member| member.worker != slowest.worker)
        .filter_map(|member| member.rows_per_second)
        .collect();
    paces.sort_by(f64::total_cmp);
    let others = paces.get(paces.len() / 2).copied().filter(|&median| median > 0.0);
    let pace = slowest.rows_per_second.zip(others).map(|(own, others)| own / others);
    let pace = pace.map_or(String::new(), |pace| {
        format!(", and it computes {pace:.1} of the others' rows a second")
    });
    format!(
        "{} of the workers' time goes into waiting, most of it for worker {} on {}: its answers take {times:.1} times as long as the median{pace}",
        percent(share),
        slowest.worker,
        slowest.host
    )
}

fn sends(share: f64, status: &Status) -> String {
    let text = format!(
        "{} of the workers' time goes into results on their way, or into waiting for weights",
        percent(share)
    );
    let hosts: BTreeSet<&str> = status.members.iter().map(|member| member.host.as_str()).collect();
    let is_in_full = fact(status, "precision") == Some("f32");
    match hosts.len() > 1 && is_in_full {
        true => format!(
            "{text}: precision = \"bf16\" halves the bytes, and would save about {} at most; it changes the result",
            percent(share / 2.0)
        ),
        false => text,
    }
}

fn too_short(step: f64, lost: f64, workers: usize) -> String {
    format!(
        "a step takes {:.1} ms, and {} of that is not computing: {workers} workers are more than help. Fewer, or a larger batch_size, \
         which changes the result, would do",
        1000.0 * step,
        percent(lost)
    )
}

fn spared(step: f64, spare: usize, workers: usize) -> String {
    format!(
        "a step takes {:.1} ms, and would take longer with all {workers} workers: {spare} of them are spare. A larger batch_size, which \
         changes the result, would give them something to do",
        1000.0 * step
    )
}

/// Workers for which there is no shard.
fn without_shards(status: &Status) -> Option<String> {
    let shards: usize = fact(status, "shards")?.parse().ok()?;
    let workers = status.members.len();
    (workers > shards).then(|| {
        format!(
            "{workers} workers share {shards} shards: {} of them have nothing to do. More shards change the result",
            workers - shards
        )
    })
}

fn fact<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status.job.facts.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Job, Now, Strip};

    /// A run of workers, each with where its time goes, its lag and its pace.
    fn of(workers: &[(f64, f64, f64, f64)], step: f64) -> Status {
        let member =
            |(place, &(computing, sending, lag, pace)): (usize, &(f64, f64, f64, f64))| Member {
                worker: place as u64 + 1,
                host: format!("node{}", place + 1),
                computing: Some(computing),
                sending: Some(sending),
                waiting: Some(1.0 - computing - sending),
                lag: Some(lag),
                rows_per_second: Some(pace),
                ..Member::default()
            };
        let facts = [("precision", "f32"), ("shards", "4")];
        let facts = facts.map(|(name, value)| (name.to_string(), value.to_string())).into();
        Status {
            now: Now { seconds: 60.0, ..Now::default() },
            job: Job { facts, ..Job::default() },
            members: workers.iter().enumerate().map(member).collect(),
            strip: Strip { seconds: vec![step; 60], ..Strip::default() },
            ..Status::default()
        }
    }

    #[test]
    fn a_run_that_computes_says_nothing() {
        assert_eq!(explained(&of(&[(0.92, 0.05, 1.0, 10.0); 3], 0.1)), [""; 0]);
        assert_eq!(explained(&of(&[(0.2, 0.1, 1.0, 10.0)], 0.1)), [""; 0]);
        let mut young = of(&[(0.2, 0.4, 1.0, 10.0); 3], 0.1);
        young.now.seconds = 9.0;
        assert_eq!(explained(&young), [""; 0]);
        assert_eq!(explained(&Status::default()), [""; 0]);
    }

    #[test]
    fn the_worker_that_is_waited_for_is_named() {
        let workers = [(0.6, 0.0, 1.0, 100.0), (0.6, 0.0, 1.0, 100.0), (1.0, 0.0, 2.5, 40.0)];
        let wanted = "27 % of the workers' time goes into waiting, most of it for worker 3 on node3: its answers take 2.5 times as \
                      long as the median, and it computes 0.4 of the others' rows a second";
        assert_eq!(explained(&of(&workers, 0.1)), [wanted]);
        let even = explained(&of(&[(0.6, 0.0, 1.0, 100.0); 3], 0.1));
        assert_eq!(
            even,
            ["40 % of the workers' time goes into waiting for each other and the coordinator"]
        );
    }

    #[test]
    fn fewer_bits_are_worth_a_word_between_machines_alone() {
        let mut status = of(&[(0.8, 0.2, 1.0, 100.0); 2], 0.1);
        let said = explained(&status);
        assert!(said[0].starts_with("20 % ") && said[0].contains("about 10 % at most"), "{said:?}");
        status.members.iter_mut().for_each(|member| member.host = "one".to_string());
        assert!(!explained(&status)[0].contains("bf16"));
        status.job.facts.clear();
        status.members[0].host = "another".to_string();
        assert!(!explained(&status)[0].contains("bf16"));
    }

    #[test]
    fn more_workers_than_help() {
        let said = explained(&of(&[(0.3, 0.1, 1.0, 100.0); 3], 0.001));
        assert!(said[0].contains("a step takes 1.0 ms, and 70 %"), "{said:?}");
        let mut status = of(&[(0.3, 0.1, 1.0, 100.0); 3], 0.0004);
        status.members[1..].iter_mut().for_each(|member| member.state = "spare".to_string());
        let said = explained(&status);
        let wanted =
            "a step takes 0.4 ms, and would take longer with all 3 workers: 2 of them are spare";
        assert!(said[0].starts_with(wanted), "{said:?}");
        assert!(!said.iter().any(|said| said.contains("more than help")), "{said:?}");
        let said = explained(&of(&[(0.9, 0.1, 1.0, 100.0); 6], 0.1));
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("6 workers share 4 shards: 2 of them"), "{said:?}");
    }
}
