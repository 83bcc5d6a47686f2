//! What stands on the pages, piece by piece: tables, blocks of code, dialogs, quotes.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The pages, relative to the project.
pub fn docs() -> Vec<String> {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut docs: Vec<String> = pages.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    docs.extend(["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benches/README.md"].map(str::to_owned));
    docs.extend(["clients/php/README.md", "clients/web/README.md"].map(str::to_owned));
    docs.extend(["benchmarks", "capacity", "cluster", "micro"].map(|page| format!("benches/results/{page}.md")));
    docs
}

pub fn files(path: &Path) -> Vec<PathBuf> {
    let path = root().join(path);
    if path.is_file() {
        return vec![path];
    }
    let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    entries.flat_map(|entry| files(&entry.unwrap().path())).collect()
}

/// A source file, or all of a folder.
pub fn sources(path: &Path) -> String {
    files(path).iter().map(|file| fs::read_to_string(file).unwrap()).collect()
}

/// The rows of all tables on a page whose header begins with these cells.
pub fn table(doc: &str, header: &[&str]) -> Vec<Vec<String>> {
    let text = read(doc);
    let mut rows = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")) else {
            inside &= line.starts_with("|-");
            continue;
        };
        let cells: Vec<String> = line.split(" | ").map(|cell| cell.trim().to_owned()).collect();
        match inside {
            true => rows.push(cells),
            false => inside = cells.iter().zip(header).filter(|(cell, name)| cell == name).count() == header.len(),
        }
    }
    assert!(!rows.is_empty(), "{doc} has no table {header:?}");
    rows
}

/// What stands between single backticks.
pub fn quoted(text: &str) -> Vec<String> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// A page without its blocks of code.
pub fn prose(doc: &str) -> String {
    let text = read(doc);
    let parts: Vec<&str> = text.split("```").step_by(2).collect();
    parts.concat()
}

/// The blocks of code of one kind.
pub fn blocks(doc: &str, kind: &str) -> Vec<String> {
    let text = read(doc);
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n'));
    blocks.filter(|(name, _)| *name == kind).map(|(_, block)| block.to_owned()).collect()
}

/// The example exchanges of a page: who says what, with chunks joined.
pub fn dialogs(doc: &str) -> Vec<Vec<(char, String)>> {
    blocks(doc, "dialog").iter().map(|block| dialog(doc, block)).collect()
}

pub fn dialog(doc: &str, block: &str) -> Vec<(char, String)> {
    let mut said = Vec::new();
    let mut chunks: Option<String> = None;
    for line in block.lines() {
        match (line.split_at(2), &mut chunks) {
            (("> ", "bufferON"), _) => chunks = Some(String::new()),
            (("> ", "bufferOFF"), Some(text)) => said.push(('>', std::mem::take(text))),
            (("> ", text), Some(chunks)) => chunks.push_str(text),
            (("> ", text), None) => said.push(('>', text.to_owned())),
            (("< ", text), _) => said.push(('<', text.to_owned())),
            _ => panic!("{doc}: '{line}' does not say who speaks"),
        }
    }
    said
}

/// The words of a text, one blank between them.
pub fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Lines without their indentation and empty ones.
pub fn flat(code: &str) -> String {
    code.lines().map(str::trim).filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

/// The anchor that a heading gets.
pub fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|at| at.is_alphanumeric() || matches!(at, ' ' | '-' | '_'));
    kept.map(|at| if at == ' ' { '-' } else { at }).collect()
}
