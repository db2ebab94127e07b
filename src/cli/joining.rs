//! How workers find and convince a coordinator, from what the command line and the environment say; and what a coordinator
//! tells them. Secrets go to terminals and private files, never to logs.

use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use data_encoding::HEXLOWER;
use lockstep_net::{JoinLine, Secret, Target, Trust};
use lockstep_run::error::{Error, Result};
use lockstep_run::report::{Report, report};
use lockstep_run::run_folder::{JOIN, renew_secret};
use lockstep_run::train::{Admission, Listening};
use lockstep_worker::{Guide, GuideError};
use zeroize::Zeroizing;

use super::args::{Coordinator, Worker};
use super::process;
use crate::report::SharedConsole;

/// By which a launcher tells its children the token of their cluster.
pub(super) const TOKEN_VARIABLE: &str = "LOCKSTEP_TOKEN";

/// The join line, where no argument says it.
const LINE_VARIABLE: &str = "LOCKSTEP_JOIN";

/// More than any join line has.
const LINE_BYTES_MAX: usize = 4098;

/// Most addresses that are found out for a join line.
const FOUND_MAX: usize = 4;

/// What a launcher sets for its children.
pub(super) fn token_for_children(token: &Secret) -> (&'static str, String) {
    (TOKEN_VARIABLE, HEXLOWER.encode(token.expose()))
}

fn token_of_parent() -> Option<Secret> {
    let text = std::env::var(TOKEN_VARIABLE).ok()?;
    Secret::from_bytes(&HEXLOWER.decode(text.as_bytes()).ok()?)
}

/// Whom a coordinator lets in.
pub(super) fn admission(arguments: &Coordinator) -> Admission {
    let token = arguments.child.child_of.and_then(|_| token_of_parent());
    process::refuse_core_dumps();
    match token {
        Some(token) => Admission::Token(token),
        None if arguments.insecure => Admission::Anybody,
        None => Admission::ByAddress { advertise: advertised, given: arguments.advertise.clone() },
    }
}

/// Where a worker looks for its coordinator. A join line among the arguments is wiped from what others can read of them.
///
/// # Errors
/// If nothing says so, or the line is damaged.
pub(super) fn guide(arguments: &Worker) -> Result<Arc<dyn Guide>> {
    process::refuse_core_dumps();
    match &arguments.join_file {
        Some(path) if path.as_os_str() != "-" => Ok(Arc::new(JoinFile(path.clone()))),
        _ => Ok(Arc::new(target(arguments)?)),
    }
}

fn target(arguments: &Worker) -> Result<Target> {
    if let Some(line) = &arguments.line {
        process::wipe_argument(line);
        return join("the join line", line);
    }
    if arguments.join_file.is_some() {
        return join("standard input", &first_line()?);
    }
    let trust = || match arguments.insecure {
        true => Trust::Insecure,
        false => Trust::Loopback(arguments.child.child_of.and_then(|_| token_of_parent())),
    };
    match (&arguments.coordinator, std::env::var(LINE_VARIABLE)) {
        (Some(address), _) => Ok(Target { addresses: vec![address.clone()], trust: trust() }),
        (None, Ok(line)) => join(LINE_VARIABLE, &line),
        (None, Err(_)) => Err(Error::Arguments(
            "found no coordinator, wanted the join line that it printed, in quotes; or --join-file, or for one on this machine \
             --coordinator"
                .to_string(),
        )),
    }
}

fn join(what: &str, line: &str) -> Result<Target> {
    let line = JoinLine::parse(line);
    line.map(Target::from).map_err(|error| Error::Arguments(format!("{what}: {error}")))
}

/// The first line of standard input.
fn first_line() -> Result<Zeroizing<String>> {
    let failed = |error| Error::file("standard input", "read the join line", &error);
    let mut line = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX));
    let mut byte = [0];
    // Byte by byte: what follows is not this function's.
    while line.len() < LINE_BYTES_MAX && std::io::stdin().read(&mut byte).map_err(failed)? == 1 {
        match byte[0] {
            b'\n' => break,
            byte => line.push(byte),
        }
    }
    Ok(Zeroizing::new(String::from_utf8_lossy(&line).into_owned()))
}

/// A file with the join line, read before every try: a coordinator that is started again elsewhere writes another address.
#[derive(Debug)]
pub(super) struct JoinFile(PathBuf);

impl JoinFile {
    /// That of a run folder.
    pub(super) fn of_run(run: &Path) -> JoinFile {
        JoinFile(run.join(JOIN))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// The line, to be told to a worker.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn line(&self) -> Result<Zeroizing<String>> {
        let line = self.read().map_err(|error| Error::file(&self.0, "read it", &error))?;
        Ok(Zeroizing::new(line.trim().to_string()))
    }

    fn read(&self) -> std::io::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(String::new());
        let file = std::fs::File::open(&self.0)?;
        file.take(LINE_BYTES_MAX as u64).read_to_string(&mut line)?;
        Ok(line)
    }
}

impl Guide for JoinFile {
    fn target(&self) -> std::result::Result<Target, GuideError> {
        let path = self.0.display();
        let line = self.read().map_err(|error| match error.kind() {
            ErrorKind::NotFound => GuideError::NotYet(format!(
                "there is no file {path}: the coordinator writes it when it begins to listen"
            )),
            _ => GuideError::Wrong(format!("{path}: cannot read the join line ({error})")),
        })?;
        let line = JoinLine::parse(&line);
        line.map(Target::from).map_err(|error| GuideError::Wrong(format!("{path}: {error}")))
    }

    fn shown(&self) -> String {
        let line = self.read().ok().and_then(|line| JoinLine::parse(&line).ok());
        match line {
            Some(line) => line.addresses.join(", "),
            None => format!("the address in {}", self.0.display()),
        }
    }
}

/// Tells people how workers may come.
pub(super) fn tell(listening: &Listening, reporter: &SharedConsole) {
    let Listening { address, join } = listening;
    let console = reporter.lock().unwrap_or_else(PoisonError::into_inner);
    let is_on_a_terminal = console.is_on_a_terminal();
    drop(console);
    let message = match join {
        Some((line, _)) if is_on_a_terminal => {
            format!(
                "workers on other machines join with\n\n  lockstep worker '{}'\n",
                *line.to_line()
            )
        }
        Some((_, file)) => {
            format!("workers on other machines join with the line in {}", file.display())
        }
        None if address.ip().is_loopback() => only_here(*address),
        None => format!(
            "whoever can reach {address} can join, read the training table and spoil the run: nothing is encrypted"
        ),
    };
    report(reporter, &Report::Note { message });
}

/// That workers elsewhere cannot come, and how they could.
fn only_here(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        "only this machine can reach {ip}: for workers on other machines, listen on all of this machine's addresses with \
         --listen 0.0.0.0:{port}"
    )
}

/// What workers are told: what the user has given, or the address that is listened on; of all addresses, those of this
/// machine that others may reach.
fn advertised(address: SocketAddr, given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        let with_port = |given: &String| match given.strip_suffix(":0") {
            Some(host) => format!("{host}:{}", address.port()),
            None => given.clone(),
        };
        return given.iter().map(with_port).collect();
    }
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let takes = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => address.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let mut found: Vec<IpAddr> = process::own_addresses().into_iter().filter(takes).collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.dedup();
    found.truncate(FOUND_MAX);
    match found.is_empty() {
        true => vec![format!("{}:{}", lockstep_run::host_name(), address.port())],
        false => {
            found.into_iter().map(|ip| SocketAddr::new(ip, address.port()).to_string()).collect()
        }
    }
}

/// Gives a run a new secret.
///
/// # Errors
/// If it has no identity, or its coordinator is running.
pub(super) fn rotate(run: &Path, reporter: &SharedConsole) -> Result<()> {
    renew_secret(run)?;
    let message = "the run has a new secret: its next coordinator writes a new join line";
    report(reporter, &Report::Note { message: message.to_string() });
    Ok(())
}
