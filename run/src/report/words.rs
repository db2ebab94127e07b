//! What is told, in words for people. Shows nothing itself.

use lockstep_proto::words::{count, nouns};

use super::escape::peer_name;
use super::figures::{figure, listed, measures, numbered, shown, thousands, verified};
use super::{Chosen, EarlyStop, FaultKind, Report, classes};

/// What happens, in words. Progress and errors are shown in their own way.
pub fn line_of(report: &Report) -> String {
    match report {
        Report::Listening { address, run_id, .. } => {
            format!("run {run_id}: listening on {address}")
        }
        Report::WorkerJoined { worker, host, address, was, pid, threads } => {
            let machine = machine(host, address.as_deref());
            let threads = count((*threads).into(), "thread");
            format!("worker {worker} joined: {machine}, process {pid}, {threads}{}", before(*was))
        }
        Report::WorkerLeft { worker, host, address, was, reason, workers, cause } => {
            let (machine, before) = (machine(host, address.as_deref()), before(*was));
            let left = if cause == "expelled" { "was expelled" } else { "left" };
            let workers = count(*workers as u64, "worker");
            format!("worker {worker} ({machine}{before}) {left}: {reason}; {workers} remaining")
        }
        Report::Epoch { epoch, epochs, values, loss_is_scaled, .. } => {
            format!("epoch {epoch}/{epochs}: {}", listed(values, *loss_is_scaled))
        }
        Report::Warning { message } => format!("warning: {message}"),
        Report::Waiting { what, peer, limit_seconds, remedy, .. } => {
            let who = peer.as_ref().map_or(String::new(), |peer| format!(" ({peer})"));
            let limit = limit_seconds
                .map_or("no limit".to_string(), |limit| format!("{limit:.0} s at most"));
            format!("warning: {what}{who}; {limit}; what helps: {remedy}")
        }
        Report::Chaos { fault, processes, seconds } => fault_text(*fault, processes, *seconds),
        Report::ChaosOver { seed, faults } => {
            let kinds: Vec<String> =
                faults.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
            let all = count(faults.values().sum(), "fault");
            format!("chaos: {all} with seed {seed} ({})", kinds.join(", "))
        }
        Report::Note { message } => message.clone(),
        Report::Log { level, message, fields, .. } => {
            let named = fields.iter().map(|(name, value)| match value {
                serde_json::Value::String(text) => format!(" {name}={text}"),
                value => format!(" {name}={value}"),
            });
            format!("{level}: {message}{}", named.collect::<String>())
        }
        Report::Predicted { rows, output } => {
            let place = output.as_ref().map_or(String::new(), |output| format!(" in {output}"));
            format!("{}{place}", count(*rows, "prediction"))
        }
        Report::Imported { run_folder, weights_blake3 } => {
            format!("the model in {run_folder}, weights_blake3 {weights_blake3}")
        }
        Report::Exported { output, bytes } => {
            format!("the model in {output}, {}", count(*bytes, "byte"))
        }
        Report::Plotted { output, bytes } => {
            format!("the picture in {output}, {}", count(*bytes, "byte"))
        }
        Report::Reported { output, bytes } => {
            format!("the report in {output}, {}", count(*bytes, "byte"))
        }
        _ => String::new(),
    }
}

/// Where a person finds a worker: `node7, 10.0.0.7`.
pub fn machine(host: &str, address: Option<&str>) -> String {
    let host = (!host.is_empty()).then(|| peer_name(host));
    match (host, address) {
        (Some(host), Some(address)) => format!("{host}, {address}"),
        (Some(host), None) => host.into_owned(),
        (None, address) => address.unwrap_or("unknown").to_string(),
    }
}

/// What the same process was called before.
fn before(was: Option<u64>) -> String {
    was.map_or(String::new(), |worker| format!(", was worker {worker}"))
}

fn fault_text(fault: FaultKind, processes: &[u32], seconds: Option<f64>) -> String {
    let done = match fault {
        FaultKind::Kill | FaultKind::Coordinator => "killed",
        FaultKind::Stop => "stopped",
        FaultKind::Slow => "slowed down",
    };
    let whom = match fault {
        FaultKind::Coordinator => numbered("the coordinator, process", processes),
        _ if processes.len() == 1 => numbered("worker process", processes),
        _ => numbered("all workers, process", processes),
    };
    let lasting = seconds.map_or(String::new(), |seconds| format!(" for {seconds:.1} s"));
    format!("chaos: {done} {whom}{lasting}")
}

/// A result, in words.
pub fn result_lines(report: &Report) -> Vec<String> {
    match report {
        Report::Finished { .. } => finished_lines(report),
        Report::Evaluated { rows, left_out, values, loss_is_scaled, classes } => {
            let rows = match left_out {
                0 => count(*rows, "row"),
                _ => format!("{}, and {left_out} left out for a missing cell", count(*rows, "row")),
            };
            let name = |name| shown(name, *loss_is_scaled);
            let values = values.iter().map(|(of, value)| format!("{} {value}", name(of)));
            let tables = classes.iter().flat_map(classes::lines);
            std::iter::once(rows).chain(values).chain(tables).collect()
        }
        Report::Verified { first, last, hashes, .. } => vec![verified(*first, *last, *hashes)],
        _ => Vec::new(),
    }
}

fn finished_lines(report: &Report) -> Vec<String> {
    let Report::Finished {
        name,
        epochs,
        steps,
        seconds,
        rows_per_second,
        training,
        validation,
        test,
        loss_is_scaled,
        early_stopping,
        threshold,
        classes: tables_of_classes,
        weights_blake3,
        run_folder,
    } = report
    else {
        return Vec::new();
    };
    let (epochs, pace) = (count((*epochs).into(), "epoch"), thousands(*rows_per_second));
    let steps_done = format!("{steps} {}", nouns(*steps, "step"));
    let mut lines =
        vec![format!("{name}: {epochs}, {steps_done} in {seconds:.2} s ({pace} rows/s)")];
    lines.extend(early_stopping.as_ref().map(early_stop));
    let tables = [("training", training), ("validation", validation), ("test", test)];
    lines.extend(measures(&tables, *loss_is_scaled));
    lines.extend(threshold.as_ref().map(|chosen| chosen_threshold(chosen, !test.is_empty())));
    lines.extend(classes::lines_at_end(tables_of_classes));
    lines.push(format!("weights_blake3 {weights_blake3}"));
    lines.extend(run_folder.iter().map(|folder| format!("run folder {folder}")));
    lines
}

/// Which threshold was chosen, and whose figures are with it.
fn chosen_threshold(chosen: &Chosen, has_test: bool) -> String {
    let (value, f1) = (figure(chosen.value.into()), figure(chosen.validation_f1));
    let whose = match has_test {
        true => "; the row of test is with it, the others with 0.5",
        false => "; the figures above are with 0.5",
    };
    format!("threshold {value}, with the largest F1 on the validation table ({f1}){whose}")
}

/// How a run ended that was watched.
fn early_stop(found: &EarlyStop) -> String {
    let EarlyStop { epochs, stopped, metric, best_epoch, best_value, restored } = found;
    let end = match stopped {
        true => format!("stopped early after epoch {epochs}, "),
        false => String::new(),
    };
    match best_epoch.zip(*best_value) {
        None => format!("{end}no best epoch: {metric} was no number"),
        Some((epoch, value)) => {
            let kept = if *restored { ", whose weights are kept" } else { "" };
            format!("{end}best epoch {epoch} ({metric} {}){kept}", figure(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_with_their_nouns() {
        let joined = |threads| Report::WorkerJoined {
            worker: 1,
            host: "a".into(),
            address: None,
            was: None,
            pid: 5,
            threads,
        };
        assert_eq!(line_of(&joined(1)), "worker 1 joined: a, process 5, 1 thread");
        assert_eq!(line_of(&joined(2)), "worker 1 joined: a, process 5, 2 threads");
        let left = |workers| Report::WorkerLeft {
            worker: 1,
            host: "a".into(),
            reason: "so".into(),
            address: None,
            was: None,
            cause: "goodbye".into(),
            workers,
        };
        assert_eq!(line_of(&left(0)), "worker 1 (a) left: so; 0 workers remaining");
        assert_eq!(line_of(&left(1)), "worker 1 (a) left: so; 1 worker remaining");
        let killed = |processes: &[u32]| fault_text(FaultKind::Kill, processes, None);
        assert_eq!(killed(&[5]), "chaos: killed worker process 5");
        assert_eq!(killed(&[5, 6]), "chaos: killed all workers, processes 5, 6");
        let evaluated = |loss_is_scaled| Report::Evaluated {
            rows: 1,
            left_out: 0,
            values: [("loss".into(), 2.0), ("mae".into(), 0.5)].into(),
            loss_is_scaled,
            classes: Vec::new(),
        };
        assert_eq!(result_lines(&evaluated(false)), ["1 row", "loss 2", "mae 0.5"]);
        assert_eq!(result_lines(&evaluated(true)), ["1 row", "loss (scaled) 2", "mae 0.5"]);
    }

    #[test]
    fn how_a_run_that_was_watched_ended() {
        let mut found = EarlyStop {
            epochs: 12,
            stopped: true,
            metric: "validation_loss".into(),
            best_epoch: Some(2),
            best_value: Some(0.25),
            restored: true,
        };
        let text = "stopped early after epoch 12, best epoch 2 (validation_loss 0.2500), whose weights are kept";
        assert_eq!(early_stop(&found), text);
        assert_eq!(found.kept_epoch(), 2);
        (found.stopped, found.restored) = (false, false);
        assert_eq!(early_stop(&found), "best epoch 2 (validation_loss 0.2500)");
        assert_eq!(found.kept_epoch(), 12);
        (found.best_epoch, found.best_value) = (None, None);
        assert_eq!(early_stop(&found), "no best epoch: validation_loss was no number");
    }
}
