//! The rule of the house: the port below, everything else above, and nothing below calls up.
//!
//! Each rule is a function of file names and texts, and is shown a breach below, so that no rule can rot into one that
//! always holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The port: what a reader of webSocketServer.php and RFC6455.php reads. A name that ends with `/` is a folder.
const PORT: [&str; 31] = [
    "address.rs",
    "bounds.rs",
    "client.rs",
    "counters.rs",
    "deadlines.rs",
    "elsewhere.rs",
    "error.rs",
    "forwarded.rs",
    "ids.rs",
    "json.rs",
    "limits.rs",
    "mail/",
    "own_host.rs",
    "newcomers.rs",
    "packet.rs",
    "pipe.rs",
    "places.rs",
    "printable.rs",
    "rate.rs",
    "raw.rs",
    "resource.rs",
    "resources/default.rs",
    "resources/mod.rs",
    "resources/php.rs",
    "resources/web.rs",
    "rfc6455/",
    "server/",
    "socket.rs",
    "tls.rs",
    "turns.rs",
    "web_socket_server/",
];
/// Files of the port that may name optional parts: the moments, and how a client is written to.
const MAY_NAME: [&str; 2] = ["web_socket_server/moments.rs", "mail/"];
/// Plain data between the port and the parts: the mailbox to other processes, and the limits of all parts.
const BETWEEN: [&str; 2] = ["elsewhere.rs", "limits.rs"];
/// Names in extras/ and program/ that name no part of their own: what holds the parts, and what PHP has too.
const CONTAINERS: [&str; 9] = ["mod", "keys", "parts", "shared", "switches", "wishes", "ini", "manual", "settings"];
/// What the port imports from above: the structs through which the parts are reached, as one field each.
const MAY_IMPORT: [&str; 3] =
    ["use crate::extras::keys::Keys;", "use crate::extras::parts::Parts;", "use crate::extras::shared::Extras;"];
const MAX_LINES: usize = 400;
const MAX_PORT_LINES: usize = 25;

type Sources = BTreeMap<String, String>;

/// All of src/, each file without its comments and its tests.
fn sources() -> Sources {
    fn walk(folder: &Path, all: &mut Vec<std::path::PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, all) } else { all.push(path) }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let is_test = |name: &str| name.ends_with("tests.rs") || name.contains("/tests/") || name.ends_with("properties.rs");
    let named = files.into_iter().filter_map(|path| {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        (!is_test(&name)).then(|| (name, without_tests(&fs::read_to_string(&path).unwrap())))
    });
    named.collect()
}

fn without_tests(text: &str) -> String {
    text.split("\n#[cfg(test)]").next().unwrap_or_default().to_owned()
}

fn is_in(name: &str, places: &[&str]) -> bool {
    places.iter().any(|place| name == *place || place.ends_with('/') && name.starts_with(place))
}

/// Lines of code of the port that name an optional part: a folder of extras/ or a file of program/ by its name, or a
/// part by any form of its word. What stands in quotes is for people and does not count.
fn naming(sources: &Sources) -> BTreeMap<String, Vec<String>> {
    const STEMS: [&str; 9] = ["rooms", "resum", "cluster", "backplane", "redis", "notice", "publish", "metric", "receipt"];
    let mut words = BTreeSet::new();
    for name in sources.keys() {
        let part = name.strip_prefix("extras/").or(name.strip_prefix("program/"));
        let word = part.and_then(|part| part.split(['/', '.']).next()).filter(|word| !CONTAINERS.contains(word));
        words.extend(word.map(str::to_owned));
    }
    let names = |line: &&str| {
        let code: String = line.split("//").next().unwrap_or_default().split('"').step_by(2).collect();
        let code = code.to_ascii_lowercase();
        let mut tokens = code.split(|character: char| !character.is_ascii_alphanumeric() && character != '_');
        tokens.any(|token| words.contains(token) || STEMS.iter().any(|stem| token.contains(stem) && token != "resume_unwind"))
    };
    let port = sources.iter().filter(|(name, _)| is_in(name, &PORT) && !is_in(name, &BETWEEN));
    let lines = port.map(|(name, text)| (name.clone(), text.lines().filter(names).map(str::to_owned).collect::<Vec<_>>()));
    lines.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// Files of more lines than one may have.
fn too_long(sources: &Sources) -> Vec<String> {
    sources.iter().filter(|(_, text)| text.lines().count() > MAX_LINES).map(|(name, _)| name.clone()).collect()
}

/// The methods of `impl Server` by file.
fn methods_of_server(sources: &Sources) -> BTreeMap<String, Vec<String>> {
    let mut methods = BTreeMap::new();
    for (name, text) in sources {
        let blocks = text.split("\nimpl Server {\n").skip(1).map(|rest| rest.split("\n}\n").next().unwrap_or_default());
        let declared = blocks.flat_map(str::lines).filter_map(|line| {
            let line = line.strip_prefix("    ").filter(|line| !line.starts_with([' ', '/', '#']))?;
            line.split_once("fn ").and_then(|(_, rest)| rest.split(['(', '<']).next()).map(str::to_owned)
        });
        let declared: Vec<String> = declared.collect();
        if !declared.is_empty() {
            methods.insert(name.clone(), declared);
        }
    }
    methods
}

/// Modules of the port that `use` something above them.
fn calls_up(sources: &Sources) -> Vec<String> {
    let port = sources.iter().filter(|(name, _)| is_in(name, &PORT) && !is_in(name, &MAY_NAME) && !is_in(name, &BETWEEN));
    port.flat_map(|(name, text)| {
        let is_up = |line: &&str| line.contains("crate::extras") || line.contains("crate::program");
        let uses =
            text.lines().filter(move |line| is_up(line) && !MAY_IMPORT.contains(line) && !line.trim_start().starts_with("//"));
        uses.map(move |line| format!("{name}: {line}"))
    })
    .collect()
}

/// The circles in which modules import each other; a parent and its own children are no circle.
fn circles(sources: &Sources) -> Vec<Vec<String>> {
    let module = |name: &str| name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    let modules: BTreeSet<String> = sources.keys().map(|name| module(name)).collect();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources {
        let from = module(name);
        for line in text.lines() {
            let Some(path) = line.trim_start().strip_prefix("use crate::") else { continue };
            let mut path: &str = path.split([';', '{', ' ']).next().unwrap_or_default().trim_end_matches("::");
            while !path.is_empty() && !modules.contains(path) {
                path = path.rsplit_once("::").map_or("", |(parent, _)| parent);
            }
            let related = path.starts_with(&format!("{from}::")) || from.starts_with(&format!("{path}::"));
            if !path.is_empty() && path != from && !related {
                edges.entry(from.clone()).or_default().insert(path.to_owned());
            }
        }
    }
    let reach = |start: &String| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![start.clone()]);
        while let Some(next) = open.pop() {
            for to in edges.get(&next).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&String, BTreeSet<String>> = modules.iter().map(|module| (module, reach(module))).collect();
    let mut circles = BTreeSet::new();
    for module in &modules {
        let circle: Vec<String> =
            modules.iter().filter(|other| reached[module].contains(*other) && reached[other].contains(module)).cloned().collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

#[test]
fn the_port_names_optional_parts_only_where_it_may() {
    let naming = naming(&sources());
    let (may, must_not): (BTreeMap<_, _>, BTreeMap<_, _>) = naming.into_iter().partition(|(name, _)| is_in(name, &MAY_NAME));
    assert!(must_not.is_empty(), "the port names optional parts: {must_not:#?}");
    let lines: usize = may.values().map(Vec::len).sum();
    assert!(lines <= MAX_PORT_LINES, "{lines} lines of the port name optional parts: {may:#?}");
}

#[test]
fn nothing_of_the_port_calls_up() {
    assert_eq!(calls_up(&sources()), Vec::<String>::new());
}

#[test]
fn no_file_is_too_long_to_read() {
    assert_eq!(too_long(&sources()), Vec::<String>::new(), "over {MAX_LINES} lines without their tests");
}

#[test]
fn what_applications_may_do_stays_in_few_places() {
    let methods = methods_of_server(&sources());
    assert!(methods.len() <= 5, "{:#?}", methods.keys());
    assert!(methods.values().map(Vec::len).sum::<usize>() <= 80, "{methods:#?}");
}

/// The README's reading order: no longer than an hour, and without a word of the optional parts.
#[test]
fn the_reading_order_takes_an_hour() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let order = readme.split("in this order:").nth(1).unwrap().split("Look up the rest").next().unwrap();
    let links = order.split("](src/").skip(1).map(|rest| rest.split(')').next().unwrap());
    let (sources, naming) = (sources(), naming(&sources()));
    let files: Vec<&str> = links.collect();
    let lines: usize = files.iter().map(|file| sources[*file].lines().count()).sum();
    assert!(files.len() > 10 && lines <= 2800, "{lines} lines: {files:?}");
    assert!(files.iter().all(|file| !naming.contains_key(*file)), "{naming:#?}");
}

/// Each rule finds a breach that is planted for it.
#[test]
fn each_rule_finds_a_planted_breach() {
    let with = |name: &str, text: &str| {
        let mut sources = sources();
        sources.entry(name.to_owned()).or_default().push_str(text);
        sources
    };
    let planted = "\nfn planted(server: &mut Server) { server.rooms(); }\n";
    assert!(naming(&with("socket.rs", planted)).contains_key("socket.rs"));
    assert!(!naming(&with("socket.rs", "\n// The rooms are elsewhere.\n")).contains_key("socket.rs"));
    assert_eq!(calls_up(&with("rate.rs", "\nuse crate::extras::rooms::Rooms;\n")), ["rate.rs: use crate::extras::rooms::Rooms;"]);
    assert!(too_long(&with("ids.rs", &"\n".repeat(MAX_LINES))).contains(&"ids.rs".to_owned()));
    let before = methods_of_server(&sources()).len();
    assert_eq!(methods_of_server(&with("ids.rs", "\nimpl Server {\n    pub fn planted(&self) {}\n}\n")).len(), before + 1);
    let circle = circles(&with("rate.rs", "\nuse crate::server::Server;\n"));
    assert!(circle.iter().any(|circle| circle.contains(&"rate".to_owned())), "{circle:?}");
}

/// What is below imports nothing from above in a way that comes back to it.
#[test]
fn modules_import_each_other_in_no_circle() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "{circles:#?}");
}
