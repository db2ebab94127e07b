//! Certificates of somebody's own authority in place of the join line's key, and of its secret: who comes in, with the weights of
//! any other run, and what is said of everything that can be wrong, by both sides.

use std::os::unix::fs::PermissionsExt as _;

use lockstep_net::{JoinLine, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd as date,
};

use crate::faults::{HASH, folder};
use crate::folder::Folder;
use crate::process::{Ended, Process};

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Its own certificate goes into a file.
    fn new(folder: &Folder, file: &str, name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        folder.write(file, &params.self_signed(&key).unwrap().pem());
        Authority { issuer: Issuer::new(params, key) }
    }

    /// A certificate for these names in the years named, in `NAME.pem` and `NAME.key`.
    fn sign(&self, folder: &Folder, name: &str, names: &[&str], years: (i32, i32)) {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date(years.0, 1, 1);
        params.not_after = date(years.1, 1, 1);
        let key = KeyPair::generate().unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        folder.write(&format!("{name}.pem"), &signed.pem());
        let file = format!("{name}.key");
        folder.write(&file, &key.serialize_pem());
        mode(folder, &file, 0o600);
    }
}

fn mode(folder: &Folder, file: &str, mode: u32) {
    let permissions = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.path().join(file), permissions).unwrap();
}

const GOOD: (i32, i32) = (2020, 2090);

/// A folder with a job, an authority and what it has signed, and two others, of which one has the same name.
fn signed() -> Folder {
    let folder = folder();
    let ours = Authority::new(&folder, "ca.pem", "ours");
    Authority::new(&folder, "again.pem", "ours");
    let theirs = Authority::new(&folder, "theirs.pem", "theirs");
    ours.sign(&folder, "head", &["localhost", "127.0.0.1"], GOOD);
    ours.sign(&folder, "name", &["localhost"], GOOD);
    ours.sign(&folder, "old", &["localhost"], (2010, 2011));
    ours.sign(&folder, "early", &["localhost"], (2089, 2090));
    ours.sign(&folder, "worker", &["node1"], GOOD);
    theirs.sign(&folder, "stranger", &["node1"], GOOD);
    folder
}

/// A coordinator with a certificate, and its port.
fn coordinator(folder: &Folder, name: &str, arguments: &[&str]) -> (Process, String) {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let own = ["--tls-cert", &certificate, "--tls-key", &key, "--resume"];
    let coordinator = folder.coordinator(&[&own[..], arguments].concat());
    let port = coordinator.address().rsplit_once(':').unwrap().1.to_string();
    coordinator.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    (coordinator, port)
}

fn worker(folder: &Folder, arguments: &[&str]) -> Ended {
    let all = ["worker", "--threads", "1", "--wait", "0.5"];
    folder.run(&[&all[..], arguments].concat())
}

#[test]
fn a_certificate_in_place_of_the_pinned_key() {
    let folder = signed();
    let (head, port) = coordinator(&folder, "name", &[]);
    let line = JoinLine::parse(&folder.read("run/join")).unwrap();
    let at = |host: &str| vec![format!("{host}:{port}")];
    let by_name = JoinLine { addresses: at("localhost"), ..line.clone() };
    let other = JoinLine { secret: Secret::random().unwrap(), ..by_name.clone() };
    let [line, by_name, other] = [line, by_name, other].map(|line| line.to_line().to_string());
    let plain = format!("localhost:{port}");
    for (arguments, exit, wanted) in [
        (
            &[&by_name[..]][..],
            6,
            "shows a certificate instead of the join line's key: if that is a coordinator",
        ),
        (
            &[&by_name, "--tls-ca", "theirs.pem"],
            6,
            "is not signed by an authority that is trusted here",
        ),
        (
            &[&by_name, "--tls-ca", "again.pem"],
            6,
            "is not signed by an authority that is trusted here",
        ),
        (
            &[&line, "--tls-ca", "ca.pem"],
            6,
            "its certificate is for localhost, wanted 127.0.0.1: dial a name",
        ),
        (
            &[&other, "--tls-ca", "ca.pem"],
            6,
            "the join line's secret is not this run's, or not any more",
        ),
        (&[&plain, "--tls-ca", "ca.pem"], 6, "nobody joins this run without its join line"),
        (&["--coordinator", &plain, "--tls-ca", "ca.pem"], 6, "nobody joins this run without its"),
        (&["--coordinator", &plain], 5, "something behind TLS listens there"),
        (&[&by_name, "--tls-ca", "nowhere.pem"], 3, "nowhere.pem: cannot read the certificates of"),
        (&[&by_name, "--tls-ca", "head.key"], 3, "head.key: found no certificate, wanted PEM"),
    ] {
        worker(&folder, arguments).expect_with(exit, wanted);
    }
    // The first address that leads there and has a certificate for its name is taken.
    let both = line.replacen('#', &format!(",localhost:{port}#"), 1);
    folder.write("line", &both);
    worker(&folder, &["--join-file", "line", "--tls-ca", "ca.pem"]).expect(0);
    head.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

#[test]
fn a_worker_with_a_certificate_needs_no_secret() {
    let folder = signed();
    let (head, port) = coordinator(&folder, "head", &["--tls-client-ca", "ca.pem"]);
    assert_eq!(folder.read("run/join").trim(), format!("127.0.0.1:{port}"));
    assert!(!folder.path().join("run/identity").exists());
    let theirs = Authority::new(&folder, "another.pem", "ours");
    theirs.sign(&folder, "again", &["node1"], GOOD);
    let ours = ["--join-file", "run/join", "--tls-ca", "ca.pem"];
    let with = |name: &str| {
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
        worker(&folder, &[&ours[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat())
    };
    worker(&folder, &ours)
        .expect_with(6, "workers need a certificate: give --tls-cert and --tls-key");
    head.report("warning", |warning| {
        let message = warning["message"].as_str().unwrap();
        message == "refused a worker (127.0.0.1): its certificate is missing: it showed none"
    });
    for (name, wanted) in [
        ("stranger", "no authority that it trusts has signed this worker's certificate"),
        ("again", "no authority that it trusts has signed this worker's certificate"),
        ("old", "has expired or is not valid yet by its clock: renew the certificate, or set the"),
        ("early", "has expired or is not valid yet by its clock"),
    ] {
        let ended = with(name);
        ended.expect_with(6, wanted);
        assert!(
            ended.stderr.contains("the coordinator refused this worker: it says that"),
            "{ended}"
        );
    }
    mode(&folder, "worker.key", 0o640);
    with("worker")
        .expect_with(0, "worker.key: others on this machine can read the private key (mode 640)");
    head.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}

/// Both times are said, for only then one knows which clock is wrong.
#[test]
fn a_certificate_whose_time_is_over_or_has_not_come() {
    let folder = signed();
    for (name, wanted) in [
        ("old", "expired at 2011-01-01T00:00:00Z, and this machine's clock says 20"),
        ("early", "is valid from 2089-01-01T00:00:00Z on, and this machine's clock says 20"),
    ] {
        let (head, port) = coordinator(&folder, name, &[]);
        let line = folder.read("run/join").replacen("127.0.0.1", "localhost", 1);
        let ended = worker(&folder, &[line.trim(), "--tls-ca", "ca.pem"]);
        let whole =
            format!("the coordinator at localhost:{port} is not trusted: its certificate {wanted}");
        ended.expect_with(6, &whole);
        drop(head);
    }
}

#[test]
fn files_that_cannot_be_used_are_told_before_anything_else() {
    let folder = signed();
    let certificate = folder.read("head.pem");
    folder.write("cut.pem", &certificate[..certificate.len() - 40]);
    let encrypted = folder.read("head.key").replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    folder.write("locked.key", &encrypted);
    let start = ["coordinator", "job.toml", "--out", "run", "--listen", "127.0.0.1:0"];
    for (arguments, exit, wanted) in [
        (&["--tls-cert", "head.pem"][..], 2, "--tls-key <FILE>"),
        (&["--tls-client-ca", "ca.pem"], 2, "--tls-cert <FILE>"),
        (
            &["--tls-cert", "head.pem", "--tls-key", "head.key", "--insecure"],
            2,
            "cannot be used with",
        ),
        (
            &["--tls-cert", "cut.pem", "--tls-key", "head.key"],
            3,
            "cut.pem: found a part without its `END` line",
        ),
        (
            &["--tls-cert", "head.key", "--tls-key", "head.key"],
            3,
            "head.key: found no certificate, wanted PEM",
        ),
        (
            &["--tls-cert", "head.pem", "--tls-key", "name.key"],
            3,
            "name.key: it does not fit the certificate, wanted the key",
        ),
        (
            &["--tls-cert", "head.pem", "--tls-key", "locked.key"],
            3,
            "locked.key: found no private key",
        ),
        (
            &["--tls-cert", "head.pem", "--tls-key", "nowhere"],
            3,
            "nowhere: cannot read the private key",
        ),
        (
            &["--tls-cert", "head.pem", "--tls-key", "head.key", "--tls-client-ca", "cut.pem"],
            3,
            "cut.pem: found a part without its `END` line",
        ),
    ] {
        folder.run(&[&start[..], arguments].concat()).expect_with(exit, wanted);
    }
    assert!(!folder.path().join("run").exists());
    // A worker that wants a certificate meets a coordinator that has none.
    let other = ["--log-format", "json", "coordinator", "job.toml", "--out", "run"];
    let head = folder.start(&[&other[..], &["--listen", "0.0.0.0:0"]].concat());
    let port = head.address().rsplit_once(':').unwrap().1.to_string();
    head.report("note", |note| note["message"].as_str().unwrap().contains("join with"));
    let line = JoinLine::parse(&folder.read("run/join")).unwrap();
    let line = JoinLine { addresses: vec![format!("localhost:{port}")], ..line };
    let line = line.to_line().to_string();
    worker(&folder, &[&line, "--tls-ca", "ca.pem"])
        .expect_with(6, &format!("what listens at localhost:{port} has no certificate"));
    worker(&folder, &[&line]).expect(0);
    head.end().expect(0);
    assert_eq!(folder.hash(), HASH);
}
