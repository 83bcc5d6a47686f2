//! The docs against the program: what they quote exists, what they list is complete.

mod reading;

use std::fs;
use std::path::{Path, PathBuf};

use phpws::settings::{self, Invocation, SETTINGS, Setting};
use phpws::{Limits, internet};
use reading::{blocks, dialogs, docs, files, flat, prose, quoted, read, root, slug, sources, table, words};

// ---- settings

#[test]
fn the_settings_table_is_the_programs_own() {
    let expected: Vec<Vec<String>> = SETTINGS.iter().map(operations_row).collect();
    let documented = table("docs/operations.md", &["Flag", "Variable"]);
    for row in &expected {
        assert!(documented.contains(row), "docs/operations.md lacks this row:\n| {} |", row.join(" | "));
    }
    for row in &documented {
        assert!(expected.contains(row), "docs/operations.md has a row that is no setting:\n| {} |", row.join(" | "));
    }
    assert_eq!(documented, expected, "the rows are in another order");
}

fn operations_row(setting: &Setting) -> Vec<String> {
    let flag = format!("`--{}`", format!("{} {}", setting.name, setting.hint).trim_end());
    let short = if setting.short.is_empty() { String::new() } else { format!(", `-{}`", setting.short) };
    let other_key = !setting.php.is_empty() && setting.php != setting.name;
    let php = if other_key { format!(", `{}`", setting.php) } else { String::new() };
    let default = if setting.default.is_empty() { "none".into() } else { format!("`{}`", setting.default) };
    vec![flag + &short, format!("`{}`", setting.variable()), format!("`{}`{php}", setting.name), default, setting.help.into()]
}

#[test]
fn help_says_what_operations_says() {
    let help = words(&settings::help());
    for setting in SETTINGS {
        let hint = if setting.hint.is_empty() { "[on|off]" } else { setting.hint };
        let default = if setting.default.is_empty() { String::new() } else { format!(" [{}]", setting.default) };
        let line = format!("--{} {hint} {}{default}", setting.name, setting.help);
        assert!(help.contains(&line), "--help lacks: {line}");
    }
    for row in table("docs/operations.md", &["Flag", "What it does"]) {
        let line = format!("{} {}", quoted(&row[0])[0], row[1]);
        assert!(help.contains(&line), "--help lacks: {line}");
    }
}

#[test]
fn the_configuration_files_in_the_docs_are_read() {
    let blocks = blocks("docs/operations.md", "ini");
    let ours: Vec<&String> = blocks.iter().filter(|text| text.contains("[websocketserver]")).collect();
    assert!(!ours.is_empty());
    for text in ours {
        settings::parse_file(text, "docs/operations.md", &|_| None).unwrap();
    }
}

#[test]
fn each_field_of_limits_is_documented_with_its_default() {
    let source = read("src/limits.rs");
    let body = source.split_once("pub struct Limits {").unwrap().1.split_once("\n}").unwrap().0;
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    let rows = table("docs/limits.md", &["Field", "Default"]);
    let mut documented = 0;
    for (field, _) in fields {
        let row = rows.iter().find(|row| row[0] == format!("`{field}`")).unwrap_or_else(|| panic!("limits.md lacks {field}"));
        let singular = field.replace('_', "-").replace("proxies", "proxy").replace("origins", "origin");
        let setting = SETTINGS.iter().find(|setting| setting.name == singular).unwrap_or_else(|| panic!("no setting {singular}"));
        let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
        assert!(row[1].starts_with(&default), "limits.md: the default of {field} is {default}");
        documented += 1;
    }
    assert_eq!(documented, rows.len(), "limits.md has a field that is not there");
}

#[test]
fn each_setting_stands_in_security_with_its_default_and_its_strict_value() {
    let strict = internet::strict(65_536, Limits::default().max_message, false);
    let to_name: Vec<&str> = internet::TO_NAME.iter().map(|(name, _)| *name).collect();
    let rows = table("docs/security.md", &["Setting", "Default", "PHP", "With `--internet`"]);
    let others: Vec<String> = table("docs/security.md", &["For", "Settings"]).iter().flat_map(|row| quoted(&row[1])).collect();
    for setting in SETTINGS {
        let flag = format!("--{}", setting.name);
        let Some(row) = rows.iter().find(|row| row[0] == format!("`{flag}`")) else {
            assert!(others.contains(&flag), "docs/security.md: do strangers meet {flag}?");
            continue;
        };
        assert!(!others.contains(&flag), "docs/security.md has {flag} twice");
        let default = if setting.default.is_empty() { "none".into() } else { format!("`{}`", setting.default) };
        assert_eq!(row[1], default, "docs/security.md: the default of {flag}");
        let value = strict.iter().find(|(name, _)| *name == setting.name).map(|(_, value)| value.as_str());
        let expected = match (setting.name, value) {
            ("max-clients", Some("49152")) => "three quarters of the descriptors".to_owned(),
            ("publish", Some("off")) => "`token` with tokens, else `off`".to_owned(),
            (_, Some(value)) => format!("`{value}`"),
            (name, None) if to_name.contains(&name) => "to be named".to_owned(),
            (_, None) => "the same".to_owned(),
        };
        assert_eq!(row[3], expected, "docs/security.md: {flag} with --internet");
    }
    assert_eq!(rows.len() + others.len(), SETTINGS.len(), "docs/security.md has a row that is no setting, or one twice");
}

#[test]
fn each_default_that_is_shown_is_the_one_that_counts() {
    let told = |flags: &[String]| match settings::from_args(flags, |_| None) {
        Ok(Invocation::Run(settings)) => format!("{settings:?}"),
        other => panic!("{flags:?}: {other:?}"),
    };
    let nothing = told(&[]);
    for setting in SETTINGS.iter().filter(|setting| !setting.default.is_empty()) {
        let flag = format!("--{}={}", setting.name, setting.default);
        assert_eq!(told(std::slice::from_ref(&flag)), nothing, "{flag} is not the default");
    }
}

#[test]
fn each_fixed_limit_has_the_value_of_its_constant() {
    let source = sources(Path::new("src"));
    for row in table("docs/limits.md", &["Limit", "Value"]) {
        let name = &quoted(&row[3])[0];
        let definitions: Vec<&str> =
            source.split(&format!("const {name}: ")).skip(1).map(|rest| rest.split(';').next().unwrap()).collect();
        assert!(!definitions.is_empty(), "limits.md: no constant {name}");
        let is_shown = |definition: &&&str| constant(definition) == Some(shown(&row[1]));
        assert!(
            definitions.iter().any(|definition| is_shown(&definition)),
            "limits.md: {name} is {definitions:?}, not {}",
            row[1]
        );
    }
}

/// What a page shows of a limit as a number: bytes, characters, seconds.
fn shown(text: &str) -> f64 {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let unit = [("", 1.0), ("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("s", 1.0), ("ms", 0.001)]
        .into_iter()
        .find(|(name, _)| *name == unit);
    number.replace(',', "").parse::<f64>().unwrap() * unit.unwrap_or_else(|| panic!("limits.md: {text}")).1
}

/// The number of a constant from its definition, such as `u64 = 16 * 1024` or `Duration = Duration::from_secs(3)`.
fn constant(definition: &str) -> Option<f64> {
    let (_, value) = definition.split_once(" = ")?;
    let (value, unit) = match value.strip_suffix(')').and_then(|call| call.strip_prefix("Duration::from_")?.split_once('(')) {
        Some(("millis", number)) => (number, 0.001),
        Some((_, number)) => (number, 1.0),
        None => (value, 1.0),
    };
    let factors: Option<Vec<f64>> = value.split(" * ").map(|factor| factor.replace('_', "").parse().ok()).collect();
    Some(factors?.iter().product::<f64>() * unit)
}

// ---- porting

#[test]
fn each_rust_name_in_porting_is_defined_in_the_files_beside_it() {
    for row in table("docs/porting.md", &["PHP", "Rust", "File"]) {
        let source: String = row[2].split(", ").map(|file| sources(Path::new(file))).collect();
        for path in quoted(&row[1]) {
            for name in path.split("::") {
                assert!(defines(&source, name), "porting.md: {name} of `{path}` is not in {}", row[2]);
            }
        }
    }
}

#[test]
fn each_php_name_in_porting_leads_to_its_item() {
    let source = sources(Path::new("src"));
    for row in table("docs/porting.md", &["PHP", "Rust", "File"]) {
        let paths = quoted(&row[1]);
        let rust: Vec<&str> = paths.iter().filter_map(|path| path.rsplit("::").next()).collect();
        for php in quoted(&row[0]) {
            let php = php.trim_start_matches('$');
            let named = if php.ends_with(".php") { source.contains(php) } else { has_alias(&source, php) || rust.contains(&php) };
            assert!(named, "porting.md: nothing in src is an alias of {php}");
        }
    }
}

#[test]
fn each_alias_stands_in_porting() {
    let php: Vec<String> = table("docs/porting.md", &["PHP", "Rust", "File"])
        .iter()
        .flat_map(|row| quoted(&row[0]).into_iter().map(|name| name.trim_start_matches('$').to_owned()).collect::<Vec<_>>())
        .collect();
    for rest in sources(Path::new("src")).split("doc(alias = \"").skip(1) {
        let alias = rest.split('"').next().unwrap();
        let file = format!("{alias}.php");
        assert!(php.iter().any(|name| name == alias || *name == file), "porting.md lacks {alias}");
    }
}

fn has_alias(source: &str, name: &str) -> bool {
    source.contains(&format!("doc(alias = \"{name}\")"))
}

/// Whether `name` is an item, or a field, of these sources.
fn defines(source: &str, name: &str) -> bool {
    let keywords = ["fn", "struct", "enum", "trait", "const", "mod"];
    keywords.iter().any(|keyword| has_word(source, &format!("{keyword} {name}"))) || has_word(source, &format!(" {name}:"))
}

fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let after = text[at + word.len()..].chars().next();
        after.is_none_or(|next| !next.is_alphanumeric() && next != '_')
    })
}

// ---- protocol

#[test]
fn the_json_in_the_docs_is_json() {
    let mut count = 0;
    for doc in docs() {
        let messages = dialogs(&doc).into_iter().flatten().map(|(_, text)| text).filter(|text| text.starts_with(['{', '[']));
        let quotes = quoted(&prose(&doc)).into_iter().filter(|text| text.starts_with("{\"") && !text.contains('…'));
        for text in messages.chain(quotes).chain(blocks(&doc, "json")) {
            serde_json::from_str::<serde_json::Value>(&text).unwrap_or_else(|error| panic!("{doc}: {error}: {text}"));
            count += 1;
        }
    }
    assert!(count > 30, "only {count} messages were found");
}

#[test]
fn in_the_dialogs_next_comes_before_the_answer() {
    for doc in docs() {
        for dialog in dialogs(&doc) {
            for pair in dialog.windows(2) {
                let [(before, said), (after, answer)] = pair else { continue };
                if (*before, *after) == ('>', '<') {
                    assert!(answer.starts_with(r#"{"opcode":"next","fyi":""#), "{doc}: {said} is answered by {answer}");
                }
            }
        }
    }
}

#[test]
fn what_the_server_says_in_the_docs_stands_in_the_sources() {
    let source = sources(Path::new("src"));
    for doc in docs() {
        let sent = dialogs(&doc).into_iter().flatten().filter(|(from, _)| *from == '<').map(|(_, text)| text);
        let quotes = quoted(&prose(&doc)).into_iter().filter(|text| text.starts_with(r#"{"opcode":"close""#));
        for text in sent.chain(quotes).filter(|text| !text.contains("\"why\"")) {
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let opcode = value["opcode"].as_str().unwrap();
            let known = source.contains(&format!("\"opcode\":\"{opcode}\"")) || source.contains(&format!("\"{opcode}\" =>"));
            assert!(known, "{doc}: the server sends no {opcode}");
            let error = value["error"].as_str().unwrap_or_default().trim_end_matches("192.0.2.7");
            assert!(source.contains(error), "{doc}: the server sends no error '{error}'");
        }
    }
}

#[test]
fn each_refusal_in_protocol_stands_in_the_sources() {
    let source = sources(Path::new("src"));
    let rows = table("docs/protocol.md", &["Status", "When", "Body"]);
    for row in &rows {
        assert!(source.contains(&format!("\"{}\"", row[0])), "no status {}", row[0]);
        for body in quoted(&row[2]) {
            assert_pieces("protocol.md", &source, &body);
        }
    }
    for rest in source.split("status: \"").skip(1) {
        let status = rest.split('"').next().unwrap();
        assert!(rows.iter().any(|row| row[0] == status), "protocol.md lacks the status {status}");
    }
}

#[test]
fn each_close_code_in_protocol_is_one_of_ours() {
    let source = sources(Path::new("src"));
    for row in table("docs/protocol.md", &["Code", "When"]) {
        assert!(source.contains(&format!("CloseCode({})", row[0])), "no close code {}", row[0]);
    }
}

#[test]
fn each_log_line_in_the_docs_stands_in_the_sources() {
    let source = sources(Path::new("src"));
    let mut count = 0;
    for doc in docs() {
        for line in blocks(&doc, "log").iter().flat_map(|block| block.lines()) {
            assert_pieces(&doc, &source, line);
            count += 1;
        }
    }
    assert!(count > 40, "only {count} lines were found");
}

/// Every piece of `text` between placeholders in angle brackets, dashes, commas and colons stands in `source`.
fn assert_pieces(doc: &str, source: &str, text: &str) {
    for piece in text.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, after)| after)) {
        for part in piece.split(" - ").flat_map(|part| part.split(": ")).flat_map(|part| part.split(", ")).map(str::trim) {
            assert!(source.contains(part), "{doc}: '{part}' of '{text}' is not in src");
        }
    }
}

// ---- code, links, files

#[test]
fn the_rust_code_in_embedding_is_the_code_of_the_examples() {
    let examples = flat(&sources(Path::new("examples")));
    for block in blocks("docs/embedding.md", "rust") {
        assert!(examples.contains(&flat(&block)), "docs/embedding.md: no example has this:\n{block}");
    }
}

#[test]
fn each_example_stands_in_embedding() {
    let text = read("docs/embedding.md");
    for file in files(Path::new("examples")).iter().filter_map(|path| path.file_name()?.to_str().map(str::to_owned)) {
        assert!(text.contains(&format!("(../examples/{file})")), "docs/embedding.md lacks {file}");
    }
}

#[test]
fn links_lead_somewhere() {
    for doc in docs() {
        let text = read(&doc);
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => PathBuf::from(&doc),
                file => Path::new(&doc).parent().unwrap().join(file),
            };
            assert!(root().join(&target).exists(), "{doc}: {link} leads nowhere");
            if !anchor.is_empty() {
                let target = fs::read_to_string(root().join(&target)).unwrap();
                let headings = target.lines().filter(|line| line.starts_with('#')).map(slug);
                assert!(headings.into_iter().any(|heading| heading == anchor), "{doc}: {link} has no such heading");
            }
        }
    }
}

#[test]
fn the_files_that_are_named_exist() {
    for doc in docs() {
        let text = read(&doc);
        let separators = |at: char| at.is_whitespace() || "`()[],;:'\"|#".contains(at);
        for word in text.split(separators).map(|word| word.trim_end_matches('.')) {
            let ours = ["src/", "docs/", "examples/", "clients/", "tests/"].iter().any(|folder| word.starts_with(folder));
            let beside = root().join(&doc).parent().unwrap().join(word);
            assert!(!ours || root().join(word).exists() || beside.exists(), "{doc}: there is no {word}");
        }
    }
}

#[test]
fn the_readme_names_the_rust_that_is_needed() {
    let manifest = read("Cargo.toml");
    let version = manifest.split_once("rust-version = \"").unwrap().1.split('"').next().unwrap();
    assert!(read("README.md").contains(&format!("Rust {version} or later")), "README.md: Rust {version} is needed");
}

#[test]
fn make_help_has_a_line_for_each_target() {
    let said = std::process::Command::new("make").args(["-s", "help"]).current_dir(root()).output().unwrap();
    let help = String::from_utf8(said.stdout).unwrap();
    let targets = read("Makefile");
    let targets: Vec<&str> = targets.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap().split(' ').collect();
    for target in &targets {
        let line = help.lines().find(|line| line.split_whitespace().next() == Some(target));
        assert!(
            line.is_some_and(|line| line.len() > 25),
            "make help says nothing of {target}: write a line that begins with two # above it"
        );
    }
    assert_eq!(help.lines().count(), targets.len(), "make help has a target that is not in .PHONY");
}
