//! A real Slurm with two nodes on this machine: a run that is preempted, preempted again and warned of its time limit, and
//! that ends in the hash of an undisturbed one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::failpoints::SLOW;
use crate::faults::long_folder;
use crate::folder::Folder;
use crate::process::poll;
use crate::tools::{free_ports, skip};

/// The daemons of a cluster; killed when dropped.
struct Slurm {
    folder: PathBuf,
    daemons: Vec<Child>,
}

fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists())
}

impl Slurm {
    fn start(folder: &Path) -> Option<Slurm> {
        let programs = ["munged", "slurmctld", "slurmd", "sbatch"];
        if !programs.iter().all(|program| has(program)) || !nix::unistd::Uid::effective().is_root()
        {
            skip("a Slurm (that takes root, slurmctld, slurmd, slurm-client and munge)");
            return None;
        }
        let folder = folder.join("slurm");
        for part in ["state", "spool-node1", "spool-node2"] {
            std::fs::create_dir_all(folder.join(part)).unwrap();
        }
        let mut slurm = Slurm { folder, daemons: Vec::new() };
        slurm.write("munge.key", &"lockstep test key ".repeat(8));
        use std::os::unix::fs::PermissionsExt as _;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(slurm.folder.join("munge.key"), private).unwrap();
        slurm.write("slurm.conf", &slurm.configuration());
        let at = |name: &str| slurm.folder.join(name).display().to_string();
        let munge = [
            "--foreground".to_string(),
            "--force".to_string(),
            format!("--key-file={}", at("munge.key")),
            format!("--socket={}", at("munge.sock")),
            format!("--pid-file={}", at("munged.pid")),
            format!("--log-file={}", at("munged.log")),
            format!("--seed-file={}", at("munged.seed")),
        ];
        let (socket, configuration) = (slurm.folder.join("munge.sock"), at("slurm.conf"));
        slurm.daemon("munged", &munge);
        assert!(poll(|| socket.exists()), "{}", slurm.logs());
        let file = ["-D".to_string(), "-f".to_string(), configuration];
        slurm.daemon("slurmctld", &[&file[..], &["-i".to_string()]].concat());
        for node in ["node1", "node2"] {
            slurm.daemon("slurmd", &[&file[..], &["-N".to_string(), node.to_string()]].concat());
        }
        let are_idle = || slurm.tool("sinfo", &["-h", "-p", "low", "-o", "%D %t"]) == "2 idle\n";
        assert!(poll(are_idle), "{}", slurm.logs());
        Some(slurm)
    }

    fn configuration(&self) -> String {
        let folder = self.folder.display();
        let host = nix::unistd::gethostname().unwrap().into_string().unwrap();
        let host = host.split('.').next().unwrap();
        let [controller, first, second] = free_ports();
        format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/munge\nAuthInfo=socket={folder}/munge.sock\nCredType=cred/munge\n\
             StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool-%n\n\
             SlurmctldPidFile={folder}/controller.pid\nSlurmdPidFile={folder}/%n.pid\n\
             SlurmctldLogFile={folder}/controller.log\nSlurmdLogFile={folder}/%n.log\n\
             SlurmctldPort={controller}\nMessageTimeout=60\nKillWait=30\nMpiDefault=none\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSchedulerType=sched/builtin\n\
             SelectType=select/linear\nPreemptType=preempt/partition_prio\nPreemptMode=REQUEUE\n\
             ReturnToService=2\nAccountingStorageType=accounting_storage/none\n\
             JobAcctGatherType=jobacct_gather/none\n\
             NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs=1\n\
             NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs=1\n\
             PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=30\n\
             PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF\n"
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn daemon(&mut self, program: &str, arguments: &[String]) {
        let log = std::fs::File::create(self.folder.join(format!("{program}.out"))).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        self.daemons.push(command.spawn().unwrap());
    }

    /// What one of Slurm's commands writes.
    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.parent().unwrap());
        command.env("SLURM_CONF", self.folder.join("slurm.conf"));
        // Batch scripts get the submitter's environment.
        command.env_remove("RUST_BACKTRACE").env_remove("LOCKSTEP_LOG_FORMAT");
        command.env("FAILPOINTS", SLOW);
        let path = std::env::var("PATH").unwrap();
        let ours = Path::new(env!("CARGO_BIN_EXE_lockstep")).parent().unwrap();
        command.env("PATH", format!("{}:{path}", ours.display()));
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Submits a job and returns its number.
    fn submit(&self, arguments: &[&str]) -> String {
        let said = self.tool("sbatch", &[&["--parsable"], arguments].concat());
        assert!(said.trim().parse::<u32>().is_ok(), "{said}\n{}", self.logs());
        said.trim().to_string()
    }

    /// The state of a job; nothing when it is over.
    fn state(&self, job: &str) -> String {
        self.tool("squeue", &["-h", "-j", job, "-o", "%T"]).trim().to_string()
    }

    fn wait_for(&self, job: &str, state: &str) {
        assert!(poll(|| self.state(job) == state), "{job} not {state}\n{}", self.logs());
    }

    /// Slurm lets a job wait two minutes before it is started again.
    fn start_again(&self, job: &str) {
        self.wait_for(job, "PENDING");
        self.tool("scontrol", &["update", &format!("jobid={job}"), "StartTime=now"]);
        self.wait_for(job, "RUNNING");
    }

    fn logs(&self) -> String {
        let mut all = String::new();
        for name in ["controller.log", "node1.log", "node2.log", "munged.out", "slurmd.out"] {
            let text = std::fs::read_to_string(self.folder.join(name)).unwrap_or_default();
            all.push_str(&format!("== {name}\n{text}\n"));
        }
        all
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for job in self.tool("squeue", &["-h", "-o", "%i"]).lines() {
            self.tool("scancel", &["--signal=KILL", "--full", job]);
        }
        for daemon in self.daemons.iter_mut().rev() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

/// How many lines of the run's log say that.
fn count(folder: &Folder, job: &str, fragment: &str) -> usize {
    let log = std::fs::read_to_string(folder.path().join(format!("faults-{job}.log")));
    log.unwrap_or_default().matches(fragment).count()
}

#[test]
fn a_preempted_run_ends_as_if_nothing_had_happened() {
    let folder = long_folder();
    let Some(slurm) = Slurm::start(folder.path()) else { return };
    let epochs = "train.epochs=600";
    let slow = ["--workers", "2", "--threads", "1", "--set", epochs, "--out", "local"];
    folder.run(&[&["--quiet", "local", "job.toml"], &slow[..]].concat()).expect(0);
    let script =
        ["slurm", "job.toml", "-N", "2", "-c", "1", "-p", "low", "--out", "run", "--set", epochs];
    folder.write("job.sbatch", &folder.run(&script).stdout);
    let job = slurm.submit(&["job.sbatch"]);
    let log = || folder.read(&format!("faults-{job}.log"));
    let is_training = |times_continued: usize| {
        let is_on = || {
            let log = std::fs::read_to_string(folder.path().join(format!("faults-{job}.log")));
            let log = log.unwrap_or_default();
            let mut parts = log.split("continuing after step ").skip(times_continued);
            parts.next().is_some_and(|part| part.contains(": loss "))
        };
        assert!(poll(is_on), "{}\n{}", log(), slurm.logs());
    };
    is_training(0);
    for preemption in 1..=2 {
        let urgent = slurm.submit(&["-p", "high", "-N", "2", "--wrap", "true"]);
        assert!(poll(|| slurm.state(&urgent).is_empty()), "{}", slurm.logs());
        slurm.start_again(&job);
        is_training(preemption);
    }
    // As Slurm does it before the time limit.
    slurm.tool("scancel", &["--signal=USR1", "--batch", &job]);
    slurm.start_again(&job);
    let is_over = || slurm.state(&job).is_empty();
    assert!(poll(is_over), "{}\n{}", log(), slurm.logs());
    assert_eq!(count(&folder, &job, "continuing after step "), 3, "{}", log());
    assert_eq!(folder.hash(), folder.hash_of("local"));
    // A job that is cancelled stays out.
    let script = script.map(|text| if text == "run" { "cancelled" } else { text });
    folder.write("cancelled.sbatch", &folder.run(&script).stdout);
    let job = slurm.submit(&["cancelled.sbatch"]);
    assert!(poll(|| count(&folder, &job, ": loss ") > 0), "{}", slurm.logs());
    slurm.tool("scancel", &[&job]);
    assert!(poll(|| slurm.state(&job).is_empty()), "{}", slurm.logs());
}
