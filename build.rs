//! Finds out which commit the program is built from, for `lockstep --version`. Says nothing where nothing is known: the
//! program builds all the same, from an archive, a published crate, or without git.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LOCKSTEP_COMMIT");
    let target = std::env::var("TARGET").unwrap_or_default();
    println!("cargo::rustc-env=LOCKSTEP_TARGET={target}");
    if let Some(commit) = of_environment().or_else(of_crate).or_else(of_git) {
        println!("cargo::rustc-env=LOCKSTEP_BUILT_FROM={commit}");
    }
}

/// As whoever builds from an archive may say it: `34454bc`, or with the commit's day, `34454bc 2026-11-28`.
fn of_environment() -> Option<String> {
    let text = std::env::var("LOCKSTEP_COMMIT").ok()?;
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '-' | '.' | '+');
    (!text.is_empty() && text.chars().all(is_fine)).then_some(text)
}

/// As cargo writes it into a published crate.
fn of_crate() -> Option<String> {
    let text = std::fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = text.split_once("\"sha1\"")?;
    let commit: String = rest.split('"').nth(1)?.chars().take(10).collect();
    commit.chars().all(|c| c.is_ascii_hexdigit()).then_some(commit)
}

/// The commit that is checked out here, unless "here" is inside a repository of something else.
fn of_git() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = std::env::var("CARGO_MANIFEST_DIR").ok()?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    // Both change with what is checked out; where one is missing, cargo would ask every time.
    for name in ["HEAD", "logs/HEAD"] {
        let file = git(&["rev-parse", "--git-path", name])?;
        if Path::new(&file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    git(&["show", "-s", "--abbrev=10", "--format=%h %cs", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}
