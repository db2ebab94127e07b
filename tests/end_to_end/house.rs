//! That the code is built as ARCHITECTURE.md draws it: crates depend one way, and no modules of a crate depend on each
//! other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// Folders of the crates; the root package's code is in `src`.
const CRATES: [&str; 14] = [
    "src",
    "api",
    "run",
    "status",
    "simulation",
    "coordinator",
    "worker",
    "reduce",
    "net",
    "model",
    "data",
    "parameters",
    "graph",
    "proto",
];

/// What the names of the library crates begin with.
const PREFIX: &str = "lockstep-";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn arrows<'a>(text: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arrows {
    let names = |list: &str| list.split(", ").map(str::to_string).collect::<BTreeSet<_>>();
    let mut arrows = Arrows::new();
    for (from, to) in text {
        for from in names(from) {
            arrows.entry(from).or_default().extend(names(to));
        }
    }
    arrows
}

#[test]
fn crates_depend_as_drawn() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap().replace('\n', " ");
    let drawn = text.split_once("Arrows, one way: ").expect("it draws arrows").1;
    let drawn = drawn.split_once(". ").unwrap().0.split("; ");
    let drawn = arrows(drawn.map(|arrow| arrow.trim_matches('`').split_once(" -> ").unwrap()));
    let mut found = Arrows::new();
    for name in CRATES {
        let folder = if name == "src" { root().to_path_buf() } else { root().join(name) };
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let wanted = manifest.split_once("\n[dependencies]\n").unwrap().1;
        let wanted = wanted.lines().take_while(|line| !line.starts_with('['));
        let wanted = wanted.filter_map(|line| line.strip_prefix(PREFIX)?.split_once(['.', ' ']));
        let wanted = wanted.map(|(name, _)| name.to_string());
        found.insert(name.to_string(), wanted.collect());
    }
    found.retain(|_, to| !to.is_empty());
    assert_eq!(found, drawn);
}

#[test]
fn no_modules_depend_on_each_other_in_a_circle() {
    for name in CRATES {
        let folder = if name == "src" { root().join(name) } else { root().join(name).join("src") };
        let arrows = modules(&folder);
        assert!(!arrows.is_empty(), "{name}");
        assert_eq!(circle(&arrows), None, "in {name}");
    }
}

/// Which of a crate's modules name which others, tests left out.
fn modules(folder: &Path) -> Arrows {
    let mut arrows = Arrows::new();
    for path in sources(folder) {
        let inside = path.strip_prefix(folder).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if matches!(module, "lib" | "main") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap().lines();
        let code: Vec<&str> = code.map(|line| line.split("//").next().unwrap()).collect();
        let found = arrows.entry(module.to_string()).or_default();
        found.extend(named_modules(&code.join("\n")));
    }
    let known: BTreeSet<String> = arrows.keys().cloned().collect();
    for (module, to) in &mut arrows {
        to.retain(|other| other != module && known.contains(other));
    }
    arrows
}

/// The names that follow on `crate::`: one, or those of a list in braces.
fn named_modules(code: &str) -> BTreeSet<String> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    let name = |text: &str| text.chars().take_while(|&letter| is_name(letter)).collect::<String>();
    let mut names = BTreeSet::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            // Names in inner lists are taken for modules' as well: at worst one has to be imported on a line of its own.
            Some(list) => {
                let list = list.split(';').next().unwrap();
                names.extend(list.split([',', '{']).map(|item| name(item.trim())));
            }
            None => _ = names.insert(name(rest)),
        }
    }
    names
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = Vec::new();
    for path in entries {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if name == "tests" {
            continue;
        } else if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Modules each of which leads to the next, and the last to the first, if there are such.
fn circle(arrows: &Arrows) -> Option<Vec<String>> {
    let mut left = arrows.clone();
    // Whatever leads nowhere is in no circle.
    loop {
        let ends: Vec<String> =
            left.iter().filter(|(_, to)| to.is_empty()).map(|(from, _)| from.clone()).collect();
        if ends.is_empty() {
            break;
        }
        for end in ends {
            left.remove(&end);
            left.values_mut().for_each(|to| _ = to.remove(&end));
        }
    }
    let mut path = vec![left.keys().next()?.clone()];
    loop {
        let next = left[path.last().unwrap()].first().unwrap().clone();
        if let Some(start) = path.iter().position(|module| *module == next) {
            return Some(path.split_off(start));
        }
        path.push(next);
    }
}

#[test]
fn a_circle_is_found() {
    let drawn = |text: &[(&'static str, &'static str)]| arrows(text.iter().copied());
    let mut line = drawn(&[("a", "b, c"), ("b", "c")]);
    line.insert("c".to_string(), BTreeSet::new());
    assert_eq!(circle(&line), None);
    let round = drawn(&[("a", "b"), ("b", "c"), ("c", "b")]);
    assert_eq!(circle(&round), Some(vec!["b".to_string(), "c".to_string()]));
    let named = named_modules("use crate::{one, two::{Three, Four}};\nuse crate::five::Six;");
    let wanted = ["five", "one", "two"].map(str::to_string);
    assert!(wanted.iter().all(|name| named.contains(name)), "{named:?}");
}

/// Both licenses want their text in every copy, and each crate is published by itself.
#[test]
fn every_crate_that_is_published_has_its_licenses() {
    for name in CRATES.into_iter().filter(|name| *name != "src") {
        let manifest = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        for license in ["LICENSE-APACHE", "LICENSE-MIT"] {
            let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
            let has = text(root().join(name).join(license)) == text(root().join(license));
            assert!(has || manifest.contains("\npublish = false\n"), "{name}: no {license}");
        }
    }
}
