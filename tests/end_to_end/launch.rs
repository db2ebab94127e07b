//! One command on several machines: as tasks of an allocation, and over ssh. Stopped, started again elsewhere, and one
//! weights hash.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::failpoints::SLOW;
use crate::faults::{HASH, LONG_HASH, folder, long_folder};
use crate::folder::Folder;
use crate::process::{Process, lockstep, poll, run};
use crate::tools::{free_ports, skip};

/// A task as srun starts it.
fn task(folder: &Folder, rank: usize, tasks: usize, arguments: &[&str]) -> Process {
    let all = ["--log-format", "json", "launch", "job.toml", "--out", "run", "--threads", "1"];
    let mut command = lockstep(
        folder.path(),
        &[&all[..], &["--resume", "--advertise", "127.0.0.1:0"], arguments].concat(),
    );
    command.env("SLURM_PROCID", rank.to_string());
    command.env("SLURM_STEP_NUM_TASKS", tasks.to_string());
    command.env("FAILPOINTS", SLOW);
    Process::start(command)
}

#[test]
fn the_tasks_of_an_allocation_find_each_other() {
    let folder = folder();
    let all = [2, 1, 0].map(|rank| task(&folder, rank, 3, &[]));
    for task in all {
        task.end().expect(0);
    }
    assert_eq!(folder.hash(), HASH);
}

/// Warned of a time limit, killed by a preemption, and each time put back into the queue: another coordinator, on another port.
#[test]
fn a_requeued_allocation_goes_on() {
    let folder = long_folder();
    for signal in [Signal::SIGUSR1, Signal::SIGTERM, Signal::SIGKILL] {
        let all = [0, 1, 2].map(|rank| task(&folder, rank, 3, &[]));
        all[0].report("progress", |progress| progress["step"].as_u64() >= Some(20));
        for task in &all {
            task.signal(signal);
        }
        for task in all {
            let ended = task.end();
            let wanted = if signal == Signal::SIGKILL { None } else { Some(130) };
            assert_eq!(ended.status.code(), wanted, "{ended}");
        }
    }
    // The line of a coordinator that is gone is there, and nobody minds.
    let late = task(&folder, 1, 2, &[]);
    late.line("nothing listens there");
    let first = task(&folder, 0, 2, &[]);
    first.report("note", |note| note["message"].as_str().unwrap().starts_with("continuing after"));
    first.end().expect(0);
    late.end().expect(0);
    assert_eq!(folder.hash(), LONG_HASH);
}

#[test]
fn where_there_is_nothing_to_launch_on() {
    let folder = folder();
    let launch = ["launch", "job.toml", "--out", "run"];
    folder.run(&launch).expect_with(2, "found no allocation: wanted to be one of several tasks");
    let mut command = lockstep(folder.path(), &launch);
    command.env("PMI_RANK", "3").env("PMI_SIZE", "3");
    run(command).expect_with(2, "PMI: found PMI_RANK=\"3\" and PMI_SIZE=\"3\"");
    for host in ["-oProxyCommand=x", "", "a b"] {
        let hosts = format!("a,{host}");
        folder
            .run(&[&launch[..], &[&format!("--hosts={hosts}")]].concat())
            .expect_with(2, "wanted HOST or USER@HOST");
    }
    let many = ["--set", "cluster.workers_min=3", "--hosts", "a,b"];
    folder
        .run(&[&launch[..], &many].concat())
        .expect_with(2, "found 2 hosts, wanted at least the job's cluster.workers_min, 3");
    assert!(!folder.path().join("run").exists());
}

/// An ssh server on loopback, with a key that it lets in.
struct Sshd {
    server: Child,
    folder: PathBuf,
    port: u16,
}

const SSHD: &str = "/usr/sbin/sshd";

impl Sshd {
    fn start(folder: &Path) -> Option<Sshd> {
        if !Path::new(SSHD).exists() {
            skip("sshd (openssh-server)");
            return None;
        }
        let folder = folder.join("ssh");
        std::fs::create_dir(&folder).unwrap();
        for name in ["host", "key"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.join(name));
            assert!(keygen.status().unwrap().success());
        }
        // It wants this folder, which a system without a running server may not have.
        let _ = std::fs::create_dir_all("/run/sshd");
        let [port] = free_ports();
        let text = folder.display();
        let config = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {text}/host\nAuthorizedKeysFile {text}/key.pub\nStrictModes no\n\
             UsePAM no\nPidFile none\nPermitRootLogin yes\nPasswordAuthentication no\n"
        );
        std::fs::write(folder.join("config"), config).unwrap();
        let mut server = Command::new(SSHD);
        server.args(["-D", "-e", "-f"]).arg(folder.join("config"));
        server.stdin(Stdio::null()).stderr(std::fs::File::create(folder.join("log")).unwrap());
        let sshd = Sshd { server: server.spawn().unwrap(), folder, port };
        assert!(poll(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
        Some(sshd)
    }

    fn command(&self) -> String {
        let folder = self.folder.display();
        format!(
            "ssh -p {} -i {folder}/key -F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
             -o LogLevel=ERROR",
            self.port
        )
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The processes of a program.
fn processes_of(program: &str) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let has = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).split('\0').next() == Some(program)
    };
    numbers.filter(has).collect()
}

#[test]
fn workers_over_ssh_are_started_replaced_and_ended() {
    let folder = long_folder();
    let Some(sshd) = Sshd::start(folder.path()) else { return };
    // By its own name, its processes are told from those of tests beside this one.
    let program = folder.path().join("it's lockstep");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lockstep"), &program).unwrap();
    let (program, ssh) = (program.to_str().unwrap(), sshd.command());
    #[rustfmt::skip]
    let launch = [
        "--log-format", "json", "launch", "job.toml", "--out", "run", "--threads", "1",
        "--hosts", "127.0.0.1,localhost", "--ssh", &ssh, "--program", program,
        "--advertise", "127.0.0.1:0",
    ];
    let launcher = folder.start(&launch);
    launcher.report("progress", |_| true);
    let workers = processes_of(program);
    assert_eq!(workers.len(), 2, "{workers:?}");
    let line = folder.read("run/join");
    let secret = line.trim().split_once("#lk1-").unwrap().1;
    for pid in &workers {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&arguments).contains(secret));
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(workers[0]), Signal::SIGKILL).unwrap();
    launcher.report("warning", |warning| {
        let message = warning["message"].as_str().unwrap();
        message.starts_with("the worker on ") && message.ends_with("starting it again in 1 s")
    });
    let ended = launcher.end();
    ended.expect(0);
    assert!(ended.stderr.contains("\"from\":\"localhost\""), "{ended}");
    assert!(!ended.to_string().contains(secret), "{ended}");
    assert_eq!(folder.hash(), LONG_HASH);
    assert!(poll(|| processes_of(program).is_empty()));
    // Whatever happens to the launcher, nobody is left behind.
    let other = launch.map(|text| if text == "run" { "other" } else { text });
    let killed = folder.start(&[&other[..], &["--set", "train.epochs=100000"]].concat());
    killed.report("progress", |_| true);
    killed.signal(Signal::SIGKILL);
    killed.end();
    assert!(poll(|| processes_of(program).is_empty()));
}

#[test]
fn what_ssh_says_is_shown_and_a_program_that_is_not_there_is_not_tried_again() {
    let folder = folder();
    let Some(sshd) = Sshd::start(folder.path()) else { return };
    let launch = ["launch", "job.toml", "--out", "run", "--advertise", "127.0.0.1:0"];
    let ssh = sshd.command();
    let ssh = ["--hosts", "127.0.0.1", "--ssh", &ssh, "--program", "/nowhere/lockstep"];
    let ended = folder.run(&[&launch[..], &ssh].concat());
    ended.expect_with(5, "0 workers are left and the run needs 1");
    assert!(ended.stderr.contains("/nowhere/lockstep"), "{ended}");
    assert!(ended.stderr.contains("the worker on 127.0.0.1 ended early (exit status: 127)"));
}

/// What a shell makes of the batch script is tried with a Slurm of three commands.
#[test]
fn a_batch_script_puts_itself_back_into_the_queue_when_its_time_is_up() {
    let folder = long_folder();
    let slurm = ["slurm", "job.toml", "--nodes", "2", "-c", "1", "--time", "00:30:00"];
    let more = ["--partition", "short", "--out", "run", "--set", "name=two words"];
    let script = folder.run(&[&slurm[..], &more[..4]].concat());
    script.expect(0);
    for wanted in [
        "#SBATCH --job-name=faults\n",
        "#SBATCH --nodes=2\n",
        "#SBATCH --cpus-per-task=1\n",
        "#SBATCH --partition=short\n",
        "#SBATCH --time=00:30:00\n",
        "#SBATCH --requeue\n",
        "#SBATCH --signal=B:USR1@120\n",
    ] {
        assert!(script.stdout.contains(wanted), "no {wanted} in\n{script}");
    }
    folder.run(&[&slurm[..], &more].concat()).expect_with(3, "name");
    folder
        .run(&["slurm", "job.toml", "--nodes", "2", "--partition", "a\nb"])
        .expect_with(2, "wanted letters, digits");
    folder.write("job.sbatch", &script.stdout);
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let program = env!("CARGO_BIN_EXE_lockstep");
    // Two tasks that get its signals, as with srun; the loopback stands for both machines' network.
    let srun = "#!/bin/bash\n\
        while [[ $1 == --* ]]; do shift; done\n\
        for rank in 0 1; do\n\
          SLURM_PROCID=$rank SLURM_STEP_NUM_TASKS=2 \"$@\" --advertise 127.0.0.1:0 & tasks[$rank]=$!\n\
        done\n\
        trap 'kill -USR1 \"${tasks[@]}\"' USR1\n\
        code=0\n\
        for task in \"${tasks[@]}\"; do\n\
          while :; do wait $task; found=$?; kill -0 $task 2>/dev/null || break; done\n\
          ((found > code)) && code=$found\n\
        done\n\
        exit $code\n";
    let scontrol = "#!/bin/sh\necho \"$@\" >> requeued\n";
    let squeue = "#!/bin/sh\necho RUNNING\n";
    for (name, text) in [("srun", srun), ("scontrol", scontrol), ("squeue", squeue)] {
        let path = format!("bin/{name}");
        folder.write(&path, text);
        std::fs::set_permissions(
            folder.path().join(path),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
    }
    std::os::unix::fs::symlink(program, folder.path().join("bin/lockstep")).unwrap();
    let batch = || {
        let mut bash = Command::new("bash");
        let path = std::env::var("PATH").unwrap();
        bash.arg("job.sbatch").current_dir(folder.path()).env_remove("RUST_BACKTRACE");
        bash.env("PATH", format!("{}/bin:{path}", folder.path().display()));
        bash.env("SLURM_JOB_ID", "42").env("SLURM_CPUS_PER_TASK", "1");
        bash.env("LOCKSTEP_LOG_FORMAT", "json");
        Process::start(bash)
    };
    let first = batch();
    first.report("progress", |_| true);
    first.signal(Signal::SIGUSR1);
    first.end().expect(130);
    assert_eq!(folder.read("requeued"), "requeue 42\n");
    let second = batch();
    second.report("progress", |_| true);
    second.end().expect(0);
    assert_eq!(folder.read("requeued"), "requeue 42\n");
    assert_eq!(folder.hash(), LONG_HASH);
}
