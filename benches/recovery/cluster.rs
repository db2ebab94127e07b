//! A cluster of real processes that can be hit: coordinator and workers, and when each step was committed.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::Result;

/// No step of any bench here takes as long.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);

pub(crate) struct Job {
    pub(crate) widths: &'static [usize],
    pub(crate) batch: usize,
    pub(crate) epochs: usize,
}

pub(crate) struct Cluster {
    folder: TempDir,
    address: String,
    coordinator: Child,
    readers: Vec<JoinHandle<()>>,
    heard: Receiver<(Instant, serde_json::Value)>,
    workers: Vec<Child>,
    /// The worker that was hit and is to be healed.
    hit: Option<Child>,
    /// When each step was committed: the coordinator tells of every epoch, and each has one step.
    commits: Vec<Instant>,
    /// The newest step.
    newest: u64,
}

impl Cluster {
    /// A coordinator and workers of one thread each.
    pub(crate) fn start(job: &Job, workers: usize) -> Result<Cluster> {
        let folder = tempfile::tempdir()?;
        write_job(job, folder.path())?;
        let (coordinator, heard, reader) = coordinator(&folder, "127.0.0.1:0", workers)?;
        let mut cluster = Cluster {
            folder,
            address: String::new(),
            coordinator,
            readers: vec![reader],
            heard,
            workers: Vec::new(),
            hit: None,
            commits: Vec::new(),
            newest: 0,
        };
        while cluster.address.is_empty() {
            let (_, report) = cluster.heard.recv_timeout(STEP_TIME_MAX)?;
            cluster.address = report["address"].as_str().unwrap_or_default().to_string();
        }
        for _ in 0..workers {
            let worker = worker(&cluster.address)?;
            cluster.workers.push(worker);
        }
        Ok(cluster)
    }

    /// What the newest line of the journal says of who did what.
    pub(crate) fn newest_plan(&self) -> Result<String> {
        let journal = std::fs::read_to_string(self.folder.path().join("run/journal.jsonl"))?;
        let line = journal.lines().rev().nth(1).ok_or("nothing is journaled")?;
        let line: serde_json::Value = serde_json::from_str(line)?;
        Ok(line["plan"].to_string())
    }

    pub(crate) fn pids(&self) -> Vec<Pid> {
        self.workers.iter().map(pid).collect()
    }

    /// Waits until so many more steps are made.
    pub(crate) fn wait_for_steps(&mut self, steps: usize) -> Result<()> {
        let wanted = self.commits.len() + steps;
        while self.commits.len() < wanted {
            let heard = self.heard.recv_timeout(STEP_TIME_MAX)?;
            self.note(heard);
        }
        Ok(())
    }

    pub(crate) fn steps_made(&mut self) -> usize {
        while let Ok(heard) = self.heard.try_recv() {
            self.note(heard);
        }
        self.commits.len()
    }

    /// Steps in a time.
    pub(crate) fn steps_in(&mut self, time: Duration) -> Result<usize> {
        let before = self.steps_made();
        let started = Instant::now();
        while let Some(left) = time.checked_sub(started.elapsed()) {
            match self.heard.recv_timeout(left) {
                Ok(heard) => self.note(heard),
                Err(RecvTimeoutError::Timeout) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.commits.len() - before)
    }

    /// Seconds of the middle one of the newest steps.
    pub(crate) fn median_step(&self, steps: usize) -> f64 {
        let newest = &self.commits[self.commits.len() - steps..];
        let mut times: Vec<f64> =
            newest.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    /// The time from an instant to the first step that was committed after it.
    pub(crate) fn next_step_after(&mut self, at: Instant) -> Result<Duration> {
        loop {
            let heard = self.heard.recv_timeout(STEP_TIME_MAX)?;
            self.note(heard);
            if let Some(commit) = self.commits.last().filter(|&&commit| commit > at) {
                return Ok(*commit - at);
            }
        }
    }

    /// Hits the first worker.
    pub(crate) fn signal_worker(&mut self, signal: Signal) -> Result<Instant> {
        self.steps_made();
        let first = pid(self.workers.first().ok_or("no worker is left")?);
        let at = Instant::now();
        kill(first, signal)?;
        self.hit = Some(self.workers.remove(0));
        Ok(at)
    }

    /// A worker that was stopped goes on, one that is gone is replaced.
    pub(crate) fn heal(&mut self) -> Result<()> {
        let Some(mut worker) = self.hit.take() else { return Ok(()) };
        kill(pid(&worker), Signal::SIGCONT)?;
        std::thread::sleep(Duration::from_millis(20));
        if worker.try_wait()?.is_some() {
            worker = self::worker(&self.address)?;
        }
        self.workers.push(worker);
        Ok(())
    }

    pub(crate) fn kill_coordinator(&mut self) -> Result<Instant> {
        self.steps_made();
        let at = Instant::now();
        self.coordinator.kill()?;
        self.coordinator.wait()?;
        Ok(at)
    }

    pub(crate) fn start_coordinator(&mut self) -> Result<()> {
        let (coordinator, heard, reader) = coordinator(&self.folder, &self.address, 1)?;
        self.coordinator = coordinator;
        self.heard = heard;
        self.readers.push(reader);
        Ok(())
    }

    fn note(&mut self, (at, report): (Instant, serde_json::Value)) {
        // Steps that are made again after a restart were counted before.
        if report["event"] == "epoch" && report["epoch"].as_u64() > Some(self.newest) {
            self.newest = report["epoch"].as_u64().unwrap_or_default();
            self.commits.push(at);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.workers.iter_mut().chain(&mut self.hit).chain([&mut self.coordinator]) {
            // One that has ended already is no loss.
            let _ = child.kill();
            let _ = child.wait();
        }
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process ids are small"))
}

type Started = (Child, Receiver<(Instant, serde_json::Value)>, JoinHandle<()>);

/// The coordinator, and every report and step of it as it comes.
fn coordinator(folder: &TempDir, address: &str, workers: usize) -> Result<Started> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["--log-format", "json", "coordinator", "job.toml", "--out", "run", "--resume"])
        .args(["--listen", address, "--workers-start", &workers.to_string()])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
    let (tell, heard) = channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(std::result::Result::ok) {
            if let Ok(report) = serde_json::from_str(&line) {
                let _ = tell.send((Instant::now(), report));
            }
        }
    });
    Ok((child, heard, reader))
}

fn worker(address: &str) -> Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    command.args(["--quiet", "worker", "--threads", "1", "--coordinator", address]);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// A job on made-up rows; their values do not matter to the time.
fn write_job(job: &Job, folder: &std::path::Path) -> Result<()> {
    let (inputs, classes) = (job.widths[0], job.widths[job.widths.len() - 1]);
    let mut table = String::new();
    for column in 0..inputs {
        write!(table, "x{column},")?;
    }
    table += "y\n";
    for row in 0..job.batch {
        for column in 0..inputs {
            write!(table, "{},", (row * 31 + column * 17) % 97)?;
        }
        writeln!(table, "{}", row % classes)?;
    }
    std::fs::write(folder.join("train.csv"), table)?;
    let mut layers = String::new();
    for units in &job.widths[1..job.widths.len() - 1] {
        writeln!(layers, "  {{ type = \"dense\", units = {units}, activation = \"relu\" }},")?;
    }
    let job = format!(
        "[data]\ntrain = \"train.csv\"\ntarget = \"y\"\nscale = \"standard\"\n[model]\nloss = \"cross_entropy\"\n\
         layers = [\n{layers}  {{ type = \"dense\", units = {classes}, activation = \"softmax\" }},\n]\n\
         [train]\noptimizer = \"adam\"\nepochs = {}\nbatch_size = {}\n[checkpoint]\nevery_seconds = 1\n",
        job.epochs, job.batch
    );
    std::fs::write(folder.join("job.toml"), job)?;
    Ok(())
}
