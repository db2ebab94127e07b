//! How workers find and convince a coordinator, from what the command line and the environment say; and what a coordinator
//! tells them. Secrets go to terminals and private files, never to logs.

use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use data_encoding::HEXLOWER;
use lockstep_net::{JoinLine, Secret, Target, Trust};
use lockstep_run::advertised::advertised_addresses;
use lockstep_run::certificates::{self, OwnFiles};
use lockstep_run::error::{Error, Result};
use lockstep_run::report::{Report, report};
use lockstep_run::run_folder::{JOIN, make_identity, renew_secret};
use lockstep_run::train::{Admission, Advertised, Invitation, Listening};
use lockstep_worker::{Guide, GuideError};
use zeroize::Zeroizing;

use super::args::{Coordinator, CoordinatorTls, Token, Worker, WorkerTls};
use super::process;
use crate::report::SharedConsole;

/// By which a launcher tells its children the token of their cluster.
pub(super) const TOKEN_VARIABLE: &str = "LOCKSTEP_TOKEN";

/// The join line, where no argument says it.
const LINE_VARIABLE: &str = "LOCKSTEP_JOIN";

/// More than any join line has.
const LINE_BYTES_MAX: usize = 4098;

/// What a launcher sets for its children.
pub(super) fn token_for_children(token: &Secret) -> (&'static str, String) {
    (TOKEN_VARIABLE, HEXLOWER.encode(token.expose()))
}

fn token_of_parent() -> Option<Secret> {
    let text = std::env::var(TOKEN_VARIABLE).ok()?;
    Secret::from_bytes(&HEXLOWER.decode(text.as_bytes()).ok()?)
}

/// Whom a coordinator lets in.
///
/// # Errors
/// If it was given certificates that cannot be used.
pub(super) fn admission(arguments: &Coordinator, reporter: &SharedConsole) -> Result<Admission> {
    let token = arguments.child.child_of.and_then(|_| token_of_parent());
    process::refuse_core_dumps();
    let advertised = Advertised { found: advertised_addresses, given: arguments.advertise.clone() };
    let CoordinatorTls { tls_cert, tls_key, tls_client_ca } = &arguments.tls;
    Ok(match (token, own_files(tls_cert, tls_key)) {
        (Some(token), _) => Admission::Token(token),
        (None, _) if arguments.insecure => Admission::Anybody,
        (None, None) => Admission::ByAddress { identity: arguments.identity.clone(), advertised },
        (None, Some(files)) => {
            let own = files.load(&mut |message| report(reporter, &Report::Warning { message }))?;
            let authorities = tls_client_ca.as_deref().map(certificates::authorities);
            Admission::ByCertificate(own, authorities.transpose()?, advertised)
        }
    })
}

fn own_files(certificate: &Option<PathBuf>, key: &Option<PathBuf>) -> Option<OwnFiles> {
    let (certificate, key) = certificate.clone().zip(key.clone())?;
    Some(OwnFiles { certificate, key })
}

/// Where a worker looks for its coordinator. A join line among the arguments is wiped from what others can read of them.
///
/// # Errors
/// If nothing says so, the line is damaged, or certificates cannot be used.
pub(super) fn guide(arguments: &Worker, reporter: &SharedConsole) -> Result<Arc<dyn Guide>> {
    process::refuse_core_dumps();
    let files = WorkerFiles::of(&arguments.tls);
    if let Some(files) = &files {
        files.trust(None, &mut |message| report(reporter, &Report::Warning { message }))?;
    }
    match (&arguments.join_file, files) {
        (Some(path), files) if path.as_os_str() != "-" => {
            Ok(Arc::new(JoinFile { path: path.clone(), files }))
        }
        (_, Some(files)) => Ok(Arc::new(certified(arguments, files)?)),
        (_, None) => Ok(Arc::new(target(arguments)?)),
    }
}

/// What an argument, standard input or the environment says that a worker joins with; and what said it.
enum Told<'a> {
    Line(&'static str, Zeroizing<String>),
    Address(&'a String),
}

fn told(arguments: &Worker) -> Result<Told<'_>> {
    if let Some(line) = &arguments.line {
        process::wipe_argument(line);
        return Ok(Told::Line("the join line", Zeroizing::new(line.clone())));
    }
    if arguments.join_file.is_some() {
        return Ok(Told::Line("standard input", first_line()?));
    }
    if let Some(address) = &arguments.coordinator {
        return Ok(Told::Address(address));
    }
    line_of_environment().map(|line| Told::Line(LINE_VARIABLE, line)).ok_or_else(|| {
        Error::Arguments(
            "found no coordinator, wanted the join line that it printed, in quotes; or --join-file, or for one on this machine \
             --coordinator"
                .to_string(),
        )
    })
}

/// What the line in the environment says, if there is one.
///
/// # Errors
/// If it is damaged.
pub(super) fn target_of_environment() -> Result<Option<Target>> {
    line_of_environment().map(|line| parsed(LINE_VARIABLE, &line)).transpose()
}

fn line_of_environment() -> Option<Zeroizing<String>> {
    std::env::var(LINE_VARIABLE).ok().map(Zeroizing::new)
}

fn parsed(what: &str, line: &str) -> Result<Target> {
    let line = JoinLine::parse(line);
    line.map(Target::from).map_err(|error| Error::Arguments(format!("{what}: {error}")))
}

fn target(arguments: &Worker) -> Result<Target> {
    match told(arguments)? {
        Told::Line(what, line) => parsed(what, &line),
        Told::Address(address) => {
            let trust = match arguments.insecure {
                true => Trust::Insecure,
                false => Trust::Loopback(arguments.child.child_of.and_then(|_| token_of_parent())),
            };
            Ok(Target { addresses: vec![address.clone()], trust })
        }
    }
}

/// The same of a coordinator that is known by its certificate.
fn certified(arguments: &Worker, files: WorkerFiles) -> Result<Certified> {
    let (what, line) = match told(arguments)? {
        Told::Line(what, line) => (what, line),
        Told::Address(address) => ("--coordinator", Zeroizing::new(address.clone())),
    };
    let line = JoinLine::parse_certified(&line);
    let (addresses, secret) = line.map_err(|error| Error::Arguments(format!("{what}: {error}")))?;
    Ok(Certified { addresses, secret, files })
}

/// The files by which a worker and its coordinator know each other: read before every try, for certificates are renewed.
#[derive(Clone, Debug)]
struct WorkerFiles {
    authorities: PathBuf,
    own: Option<OwnFiles>,
}

impl WorkerFiles {
    fn of(arguments: &WorkerTls) -> Option<WorkerFiles> {
        let WorkerTls { tls_ca, tls_cert, tls_key } = arguments;
        Some(WorkerFiles { authorities: tls_ca.clone()?, own: own_files(tls_cert, tls_key) })
    }

    fn trust(&self, secret: Option<Secret>, warn: &mut dyn FnMut(String)) -> Result<Trust> {
        let own = self.own.as_ref().map(|own| own.load(warn)).transpose()?;
        Ok(Trust::Certified {
            authorities: certificates::authorities(&self.authorities)?,
            own,
            secret,
        })
    }

    /// Once they have been good; they may be in the middle of being renewed.
    fn target(
        &self,
        addresses: Vec<String>,
        secret: Option<Secret>,
    ) -> std::result::Result<Target, GuideError> {
        let trust = self.trust(secret, &mut drop);
        let trust = trust.map_err(|error| GuideError::NotYet(error.to_string()))?;
        Ok(Target { addresses, trust })
    }
}

/// A coordinator that is known by its certificate.
#[derive(Debug)]
struct Certified {
    addresses: Vec<String>,
    secret: Option<Secret>,
    files: WorkerFiles,
}

impl Guide for Certified {
    fn target(&self) -> std::result::Result<Target, GuideError> {
        self.files.target(self.addresses.clone(), self.secret.clone())
    }

    fn shown(&self) -> String {
        self.addresses.join(", ")
    }
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
pub(super) struct JoinFile {
    path: PathBuf,
    /// Where the coordinator is known by its certificate.
    files: Option<WorkerFiles>,
}

impl JoinFile {
    /// That of a run folder.
    pub(super) fn of_run(run: &Path) -> JoinFile {
        JoinFile { path: run.join(JOIN), files: None }
    }

    /// One that somebody named.
    pub(super) fn at(path: &Path) -> JoinFile {
        JoinFile { path: path.to_path_buf(), files: None }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The line, to be told to a worker.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn line(&self) -> Result<Zeroizing<String>> {
        let line = self.read().map_err(|error| Error::file(&self.path, "read it", &error))?;
        Ok(Zeroizing::new(line.trim().to_string()))
    }

    fn read(&self) -> std::io::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(String::new());
        let file = std::fs::File::open(&self.path)?;
        file.take(LINE_BYTES_MAX as u64).read_to_string(&mut line)?;
        Ok(line)
    }
}

impl Guide for JoinFile {
    fn target(&self) -> std::result::Result<Target, GuideError> {
        let path = self.path.display();
        let line = self.read().map_err(|error| match error.kind() {
            ErrorKind::NotFound => GuideError::NotYet(format!(
                "there is no file {path}: the coordinator writes it when it begins to listen"
            )),
            _ => GuideError::Wrong(format!("{path}: cannot read the join line ({error})")),
        })?;
        let wrong = |error| GuideError::Wrong(format!("{path}: {error}"));
        match &self.files {
            None => JoinLine::parse(&line).map(Target::from).map_err(wrong),
            Some(files) => {
                let (addresses, secret) = JoinLine::parse_certified(&line).map_err(wrong)?;
                files.target(addresses, secret)
            }
        }
    }

    fn shown(&self) -> String {
        let line = self.read().ok().and_then(|line| JoinLine::parse_certified(&line).ok());
        match line {
            Some((addresses, _)) => addresses.join(", "),
            None => format!("the address in {}", self.path.display()),
        }
    }
}

/// Tells people how workers may come.
pub(super) fn tell(listening: &Listening, reporter: &SharedConsole) {
    let Listening { address, invitation, .. } = listening;
    let console = reporter.lock().unwrap_or_else(PoisonError::into_inner);
    let is_on_a_terminal = console.is_on_a_terminal();
    drop(console);
    let message = match invitation {
        Some(Invitation { line, needs, .. }) if is_on_a_terminal => {
            format!(
                "workers on other machines join with\n\n  lockstep worker '{}'{needs}\n",
                **line
            )
        }
        Some(Invitation { file, needs, .. }) => {
            let and = if needs.is_empty() { "" } else { " and" };
            format!(
                "workers on other machines join with the line in {}{and}{needs}",
                file.display()
            )
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

/// Makes a key and a secret, or gives a run another secret.
///
/// # Errors
/// If files are there that would be lost, or none that are needed, or the run's coordinator is running.
pub(super) fn token(token: Token, reporter: &SharedConsole) -> Result<()> {
    process::refuse_core_dumps();
    let Token { folder, new, address, .. } = token;
    let message = match new {
        true => {
            make_identity(&folder, address)?;
            let folder = folder.display();
            format!(
                "made {folder}/identity, for the coordinator's --identity, and {folder}/{JOIN}, for the workers' --join-file: \
                 whoever has the first can act as the coordinator, whoever has the second can join"
            )
        }
        false => {
            renew_secret(&folder)?;
            "the run has a new secret: its next coordinator writes a new join line".to_string()
        }
    };
    report(reporter, &Report::Note { message });
    Ok(())
}
